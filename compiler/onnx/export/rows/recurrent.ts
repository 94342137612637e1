/** Recurrent layers of one direction. */

import type { Value } from "../../../../ir/graph.js";
import { tensorFrom } from "../../../../ir/tensor.js";
import { flag, int, type Ref, string, strings } from "../draft.js";
import type { Emitter } from "../emitter.js";
import type { Row, SomeRows } from "./row.js";

/** Blocks of the first axis, of one gate each, in ONNX's order. */
function reordered(e: Emitter, x: Ref, from: string, to: string): Ref {
  if (from === to) return x;
  const parts = e.ops("Split", [x], { axis: int(0), num_outputs: int(from.length) }, from.length);
  return e.op(
    "Concat",
    [...to].map((gate) => parts[from.indexOf(gate)]!),
    { axis: int(0) },
  );
}

interface Layer {
  readonly op: "LSTM" | "GRU" | "RNN";
  /** Order of the gates in the node, and in ONNX. */
  readonly gates: string;
  readonly order: string;
  /** x, input weight, state weight, then the initial states. */
  readonly operands: readonly [Value, Value, Value, ...Value[]];
  readonly inputBias: Value | undefined;
  readonly stateBias: Value | undefined;
  readonly lengths: Value | undefined;
  readonly reverse: boolean;
  readonly attrs: Parameters<Emitter["op"]>[2];
}

/** States of all steps, then the last ones. ONNX has an axis of directions, which has size 1 here. */
function layer(
  e: Emitter,
  { op, gates, order, operands, inputBias, stateBias, lengths, reverse, attrs }: Layer,
): readonly Ref[] {
  const [x, w, r, ...states] = operands;
  const front = e.ints([0]);
  const single = (v: Ref) => e.op("Unsqueeze", [v, front]);
  const weight = (v: Value) => single(reordered(e, e.ref(v), gates, order));
  const hidden = r.type.shape[1] as number;
  const rows = gates.length * hidden;
  const half = (v: Value | undefined) =>
    v
      ? reordered(e, e.ref(v), gates, order)
      : e.constant(tensorFrom(x.type.dtype, [rows], new Array<number>(rows).fill(0)));
  const bias =
    inputBias || stateBias ? single(e.op("Concat", [half(inputBias), half(stateBias)], { axis: int(0) })) : undefined;
  const sizes = lengths && e.cast(e.ref(lengths), lengths.type.dtype, "i32");
  const [all, ...last] = e.ops(
    op,
    [e.ref(x), weight(w), weight(r), bias, sizes, ...states.map((s) => single(e.ref(s)))],
    { hidden_size: int(hidden), ...(reverse ? { direction: string("reverse") } : {}), ...attrs },
    1 + states.length,
  );
  return [e.op("Squeeze", [all!, e.ints([1])]), ...last.map((s) => e.op("Squeeze", [s, front]))];
}

const lstm: Row<"lstm"> = (e, { operands, attrs }) => {
  const [x, w, r, h, c, bias, lengths] = operands as [Value, Value, Value, Value, Value, Value?, Value?];
  return layer(e, {
    op: "LSTM",
    gates: attrs.gates,
    order: "iofg",
    operands: [x, w, r, h, c],
    inputBias: bias,
    stateBias: undefined,
    lengths,
    reverse: attrs.reverse,
    attrs: {},
  });
};

const gru: Row<"gru"> = (e, { operands, attrs }) => {
  const [x, w, r, h, inputBias, stateBias, lengths] = operands as [Value, Value, Value, Value, Value?, Value?, Value?];
  return layer(e, {
    op: "GRU",
    gates: attrs.gates,
    order: "zrn",
    operands: [x, w, r, h],
    inputBias,
    stateBias,
    lengths,
    reverse: attrs.reverse,
    attrs: { linear_before_reset: flag(attrs.resetAfter) },
  });
};

const rnn: Row<"rnn"> = (e, { operands, attrs }) => {
  const [x, w, r, h, bias, lengths] = operands as [Value, Value, Value, Value, Value?, Value?];
  return layer(e, {
    op: "RNN",
    gates: "h",
    order: "h",
    operands: [x, w, r, h],
    inputBias: bias,
    stateBias: undefined,
    lengths,
    reverse: attrs.reverse,
    attrs: attrs.activation === "relu" ? { activations: strings(["Relu"]) } : {},
  });
};

export const recurrent = { lstm, gru, rnn } satisfies SomeRows;
