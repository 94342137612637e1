/**
 * Recurrent layers over a whole sequence, one direction each. Composites over `scan`: the products with the inputs are made at
 * once for all steps, the scan has those with the state.
 */

import { asType, concatenate, np, rankOf, reshapeTo, sizeOf, split, where } from "../build.js";
import { scanOp } from "../control-build.js";
import { dimAdd, dimDiffers } from "../dim.js";
import { linear } from "../einsum.js";
import { ModelError } from "../errors.js";
import { typeText, type Value } from "../graph.js";
import { requireDType } from "../infer.js";
import { type Accuracy, type CompositeOp, defineMultiComposite } from "../op.js";
import { exactly, f32, i64, of, sampleWith } from "../sample.js";
import { toNumbers } from "../tensor.js";
import { relu } from "./activation.js";
import { iota } from "./constant.js";
import { add, mul, sigmoid, sub, tanh } from "./elementwise.js";
import { gather, gatherND } from "./indexing.js";

const accuracy: Accuracy = { rtol: 1e-5, atol: 1e-5 };

interface Parts {
  readonly x: Value;
  readonly inputWeight: Value;
  readonly stateWeight: Value;
  readonly bias: readonly (Value | undefined)[];
  readonly states: readonly Value[];
  readonly lengths: Value | undefined;
}

/** Checks that sizes fit for `gates` gates; says which part does not. */
function checkParts(op: string, gates: number, parts: Parts): void {
  const { x, inputWeight, stateWeight, bias, states, lengths } = parts;
  requireDType(x.type, "float");
  if (rankOf(x) !== 3) throw new ModelError(`${op} takes [steps, batch, features], but got ${typeText(x.type)}`);
  const hidden = stateWeight.type.shape[1];
  if (rankOf(stateWeight) !== 2 || typeof hidden !== "number") {
    throw new ModelError(
      `the state's weight must be [${gates} · hidden, hidden], but is ${typeText(stateWeight.type)}`,
    );
  }
  const expectShape = (v: Value | undefined, shape: Value["type"]["shape"], what: string) => {
    if (v === undefined) return;
    if (rankOf(v) !== shape.length || v.type.shape.some((d, a) => dimDiffers(d, shape[a]!))) {
      throw new ModelError(
        `the ${what} is ${typeText(v.type)}, which does not fit ${typeText(x.type)} and ${hidden} hidden units`,
      );
    }
  };
  expectShape(inputWeight, [gates * hidden, sizeOf(x, 2)], "input's weight");
  expectShape(stateWeight, [gates * hidden, hidden], "state's weight");
  for (const b of bias) expectShape(b, [gates * hidden], "bias");
  for (const s of states) expectShape(s, [sizeOf(x, 1), hidden], "initial state");
  if (lengths === undefined) return;
  requireDType(lengths.type, "int", "lengths");
  expectShape(lengths, [sizeOf(x, 1)], "list of lengths");
}

/** States after a step, from those before it and the row of the products with the input; the first are its output. */
type Step = (states: readonly Value[], row: Value) => readonly Value[];

interface Steps {
  readonly x: Value;
  /** Products of the inputs, and biases: [steps, batch, …]. */
  readonly rowsOf: (x: Value) => Value;
  readonly initial: readonly Value[];
  readonly lengths: Value | undefined;
  readonly reverse: boolean;
  readonly step: Step;
  /** States stay finite whatever their number of steps. */
  readonly isBounded: boolean;
  /** States of 0 stay 0 where rows are 0. */
  readonly rests: boolean;
}

/**
 * The steps of a direction: all outputs, and the last states. With lengths [batch], steps from a sequence's length on leave its
 * states as they are and give zeros, so the reverse direction starts at each sequence's own end.
 */
function runSteps({ x, rowsOf, initial, lengths, reverse, step, isBounded, rests }: Steps): readonly Value[] {
  if (lengths === undefined) {
    const { states, last } = scanned(rowsOf(x), initial, reverse, step);
    return [states[0]!, ...last];
  }
  const { live, within } = liveSteps(x, lengths);
  // Not even a NaN behind the end reaches the gradients of weights.
  const rows = rowsOf(where(live, x, 0));
  // Where states can run on behind the end, or rest until it, without being seen, nothing is chosen in each step.
  if (reverse ? rests && initial.every(isZero) : isBounded) {
    const { states, last } = scanned(reverse ? where(live, rows, 0) : rows, initial, reverse, step);
    const ends = reverse ? last : states.map((s, i) => atEnd(s, within, initial[i]!));
    return [where(live, states[0]!, 0), ...ends];
  }
  const { states, last } = scanned(
    rows,
    initial,
    reverse,
    (before, row, alive) => step(before, row).map((s, i) => where(alive!, s, before[i]!)),
    live,
  );
  return [where(live, states[0]!, 0), ...last];
}

/** All states of all steps, and the last ones. */
function scanned(
  rows: Value,
  initial: readonly Value[],
  reverse: boolean,
  step: (states: readonly Value[], row: Value, live?: Value) => readonly Value[],
  live?: Value,
): { readonly states: readonly Value[]; readonly last: readonly Value[] } {
  const inputs = live === undefined ? [rows] : [rows, live];
  const made = scanOp({ carried: initial, inputs, reverse }, (states, [row, alive]) => {
    const next = step(states, row!, alive);
    // All states are scanned out for the gradient, which starts each step from them.
    return { carried: next, scanned: next };
  });
  return { states: made.scanned, last: made.carried };
}

/** Which steps of [steps, batch, …] lie within the lengths, bool [steps, batch, 1], and the lengths themselves. */
function liveSteps(x: Value, lengths: Value): { readonly live: Value; readonly within: Value } {
  const [steps, batch] = x.type.shape;
  // Taken by index, so that a length beyond the steps is refused as an index out of range is.
  const within = gather([iota([], { dtype: "i32", shape: [dimAdd(steps!, 1)], axis: 0 }), asType(lengths, "i64")], {
    axis: 0,
  });
  const live = np.lt(iota([], { dtype: "i32", shape: [steps!, batch!], axis: 0 }), within);
  return { live: reshapeTo(live, [steps!, batch!, 1]), within };
}

/** The states [steps, batch, hidden] at each sequence's last step; the first state where it has none. */
function atEnd(states: Value, lengths: Value, initial: Value): Value {
  const batch = sizeOf(states, 1);
  const column = (v: Value) => reshapeTo(v, [batch, 1]);
  const places = concatenate(
    [column(np.max(np.sub(lengths, 1), 0)), iota([], { dtype: "i32", shape: [batch, 1], axis: 0 })],
    1,
  );
  return where(column(np.gt(lengths, 0)), gatherND([states, places], { batchDims: 0 }), initial);
}

/** Whether the value is a constant of zeros, broadcast or not. */
function isZero({ def }: Value): boolean {
  if (def.op === "broadcast") return isZero(def.operands[0]!);
  return def.op === "constant" && toNumbers(def.attrs.value).every((v) => v === 0);
}

/** Gates of [batch, gates · hidden] by letter. */
function gatesOf(v: Value, order: string): Readonly<Record<string, Value>> {
  return Object.fromEntries(split(v, -1, order.length).map((part, i) => [order[i]!, part]));
}

const hiddenGates = (order: string, letters: string): void => {
  if ([...order].sort().join("") !== [...letters].sort().join("")) {
    throw new ModelError(`the order of gates must be a permutation of "${letters}", not "${order}"`);
  }
};

const commonDocs = { reverse: "from the last step to the first; results stay in the order of the inputs" } as const;
const sequenceDoc =
  "x [steps, batch, features]. With lengths [batch], of 0 to steps, each sequence ends at its length: later steps leave its states as they are and give zeros. Results: all states [steps, batch, hidden]";

type RnnAttrs = { readonly activation: "tanh" | "relu"; readonly reverse: boolean };

export const rnn: CompositeOp<"rnn", RnnAttrs, "many"> = defineMultiComposite<"rnn", RnnAttrs>({
  name: "rnn",
  operands: ["x", "inputWeight", "stateWeight", "initialState", "bias?", "lengths?"],
  summary: `h' = activation(W·x + R·h + bias). ${sequenceDoc} and the last one.`,
  attrs: { activation: "`tanh` or `relu`", ...commonDocs },
  decompose: ([x, w, r, h0, bias, lengths], { activation, reverse }) => {
    checkParts("rnn", 1, { x: x!, inputWeight: w!, stateWeight: r!, bias: [bias], states: [h0!], lengths });
    const step: Step = ([h], row) => {
      const sum = add([row, linear(h!, r!)]);
      return [activation === "tanh" ? tanh([sum]) : relu([sum])];
    };
    const isBounded = activation === "tanh";
    const rowsOf = (v: Value) => linear(v, w!, bias);
    return runSteps({ x: x!, rowsOf, initial: [h0!], lengths, reverse, step, isBounded, rests: true });
  },
  accuracy,
  samples: [
    sampleWith({ activation: "tanh", reverse: false }, f32(3, 2, 4), f32(5, 4), f32(5, 5), f32(2, 5), f32(5)),
    sampleWith({ activation: "tanh", reverse: true }, f32(4, 1, 2), f32(3, 2), f32(3, 3), f32(1, 3)),
    ...[false, true].map((reverse) =>
      sampleWith(
        { activation: "tanh" as const, reverse },
        f32(4, 3, 2),
        f32(5, 2),
        f32(5, 5),
        f32(3, 5),
        f32(5),
        exactly([4, 2, 0], i64(3)),
      ),
    ),
  ],
});

/** State and cell after one step, from the sums that go into the gates. */
export function lstmStep(sums: Value, c: Value, order: string): readonly [state: Value, cell: Value] {
  const { i, f, g, o } = gatesOf(sums, order);
  const cell = add([mul([sigmoid([f!]), c]), mul([sigmoid([i!]), tanh([g!])])]);
  return [mul([sigmoid([o!]), tanh([cell])]), cell];
}

type LstmAttrs = { readonly gates: string; readonly reverse: boolean };

export const lstm: CompositeOp<"lstm", LstmAttrs, "many"> = defineMultiComposite<"lstm", LstmAttrs>({
  name: "lstm",
  operands: ["x", "inputWeight", "stateWeight", "initialState", "initialCell", "bias?", "lengths?"],
  summary: `i, f, o = σ(W·x + R·h + bias) and g = tanh(…) of their own rows; c' = f·c + i·g, h' = o·tanh(c'). ${sequenceDoc}, the last one, and the last cell. https://doi.org/10.1162/neco.1997.9.8.1735`,
  attrs: { gates: "order of the gates in the rows of the weights: `ifgo` (PyTorch), `iofg` (ONNX) …", ...commonDocs },
  decompose: ([x, w, r, h0, c0, bias, lengths], { gates, reverse }) => {
    hiddenGates(gates, "ifgo");
    checkParts("lstm", 4, { x: x!, inputWeight: w!, stateWeight: r!, bias: [bias], states: [h0!, c0!], lengths });
    const step: Step = ([h, c], row) => lstmStep(add([row, linear(h!, r!)]), c!, gates);
    const rowsOf = (v: Value) => linear(v, w!, bias);
    return runSteps({ x: x!, rowsOf, initial: [h0!, c0!], lengths, reverse, step, isBounded: true, rests: true });
  },
  accuracy,
  samples: [
    sampleWith({ gates: "ifgo", reverse: false }, f32(3, 2, 4), f32(20, 4), f32(20, 5), f32(2, 5), f32(2, 5), f32(20)),
    sampleWith({ gates: "iofg", reverse: true }, f32(4, 1, 2), f32(12, 2), f32(12, 3), f32(1, 3), f32(1, 3)),
    ...[false, true].map((reverse) =>
      sampleWith(
        { gates: "ifgo", reverse },
        f32(4, 3, 2),
        f32(12, 2),
        f32(12, 3),
        f32(3, 3),
        f32(3, 3),
        f32(12),
        exactly([1, 4, 3], of("i32", 3)),
      ),
    ),
  ],
});

type GruAttrs = { readonly gates: string; readonly resetAfter: boolean; readonly reverse: boolean };

export const gru: CompositeOp<"gru", GruAttrs, "many"> = defineMultiComposite<"gru", GruAttrs>({
  name: "gru",
  operands: ["x", "inputWeight", "stateWeight", "initialState", "inputBias?", "stateBias?", "lengths?"],
  summary: `r, z = σ(W·x + R·h + biases) of their own rows; n = tanh(W·x + bias + r·(R·h + stateBias)), or with the reset before the product tanh(W·x + R·(r·h) + biases); h' = (1 − z)·n + z·h. ${sequenceDoc} and the last one. https://arxiv.org/abs/1406.1078`,
  attrs: {
    gates: "order of the gates in the rows of the weights: `rzn` (PyTorch), `zrn` (ONNX) …",
    resetAfter: "the reset gate acts after the product with the state (PyTorch; ONNX: linear_before_reset)",
    ...commonDocs,
  },
  decompose: ([x, w, r, h0, inputBias, stateBias, lengths], { gates, resetAfter, reverse }) => {
    hiddenGates(gates, "rzn");
    const bias = [inputBias, stateBias];
    checkParts("gru", 3, { x: x!, inputWeight: w!, stateWeight: r!, bias, states: [h0!], lengths });
    const next = resetAfter ? afterProduct : beforeProduct;
    const step: Step = ([h], row) => [next(gatesOf(row, gates), h!, r!, stateBias, gates)];
    const rowsOf = (v: Value) => linear(v, w!, inputBias);
    const rests = stateBias === undefined;
    return runSteps({ x: x!, rowsOf, initial: [h0!], lengths, reverse, step, isBounded: true, rests });
  },
  accuracy,
  samples: [
    sampleWith(
      { gates: "rzn", resetAfter: true, reverse: false },
      f32(3, 2, 4),
      f32(15, 4),
      f32(15, 5),
      f32(2, 5),
      f32(15),
      f32(15),
    ),
    sampleWith(
      { gates: "zrn", resetAfter: false, reverse: true },
      f32(4, 1, 2),
      f32(9, 2),
      f32(9, 3),
      f32(1, 3),
      f32(9),
      f32(9),
    ),
    sampleWith({ gates: "rzn", resetAfter: true, reverse: false }, f32(2, 2, 3), f32(6, 3), f32(6, 2), f32(2, 2)),
    ...[false, true].map((reverse) =>
      sampleWith(
        { gates: "rzn", resetAfter: !reverse, reverse },
        f32(4, 3, 2),
        f32(9, 2),
        f32(9, 3),
        f32(3, 3),
        f32(9),
        f32(9),
        exactly([2, 4, 1], i64(3)),
      ),
    ),
  ],
});

type Gates = Readonly<Record<string, Value>>;

/** (1 − z)·n + z·h */
const blend = (z: Value, n: Value, h: Value): Value => add([n, mul([z, sub([h, n])])]);

/** State after one step with PyTorch's order of gates, from the product with the input. */
export const gruStep = (
  sums: Value,
  h: Value,
  stateWeight: Value,
  stateBias: Value | undefined,
  resetAfter = true,
): Value => (resetAfter ? afterProduct : beforeProduct)(gatesOf(sums, "rzn"), h, stateWeight, stateBias, "rzn");

function afterProduct(own: Gates, h: Value, r: Value, bias: Value | undefined, order: string): Value {
  const state = gatesOf(linear(h, r, bias), order);
  const reset = sigmoid([add([own.r!, state.r!])]);
  const update = sigmoid([add([own.z!, state.z!])]);
  return blend(update, tanh([add([own.n!, mul([reset, state.n!])])]), h);
}

function beforeProduct(own: Gates, h: Value, r: Value, bias: Value | undefined, order: string): Value {
  const rows = Object.fromEntries(split(r, 0, 3).map((part, i) => [order[i]!, part]));
  const biases: Partial<Gates> =
    bias === undefined ? {} : Object.fromEntries(split(bias, 0, 3).map((part, i) => [order[i]!, part]));
  const gate = (letter: "r" | "z") => sigmoid([add([own[letter]!, linear(h, rows[letter]!, biases[letter])])]);
  const update = gate("z");
  const fresh = tanh([add([own.n!, linear(mul([gate("r"), h]), rows.n!, biases.n)])]);
  return blend(update, fresh, h);
}
