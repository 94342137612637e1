/**
 * Recurrent layers as functions, with PyTorch's weights and order of gates. Sequences are [steps, batch, features]; weights
 * [gates · hidden, features] and [gates · hidden, hidden].
 */

import { np } from "../../../ir/build.js";
import { linear } from "../../../ir/einsum.js";
import type { Value } from "../../../ir/graph.js";
import { relu } from "../../../ir/ops/activation.js";
import { add, tanh } from "../../../ir/ops/elementwise.js";
import * as ops from "../../../ir/ops/recurrent.js";

export interface SequenceOptions {
  /** From the last step to the first. Default false. */
  readonly reverse?: boolean;
}

const both = (a: Value | undefined, b: Value | undefined): readonly Value[] =>
  a === undefined ? (b === undefined ? [] : [b]) : [b === undefined ? a : np.add(a, b)];

/** h' = tanh(W·x + R·h + biases) over a sequence: all states, and the last one. */
export const rnn = (
  x: Value,
  h0: Value,
  weightIh: Value,
  weightHh: Value,
  biasIh?: Value,
  biasHh?: Value,
  { reverse = false, nonlinearity = "tanh" }: SequenceOptions & { readonly nonlinearity?: "tanh" | "relu" } = {},
): readonly [states: Value, last: Value] =>
  ops.rnn([x, weightIh, weightHh, h0, ...both(biasIh, biasHh)], { activation: nonlinearity, reverse }) as readonly [
    Value,
    Value,
  ];

/** LSTM over a sequence (gates i, f, g, o): all states, the last one, and the last cell. */
export const lstm = (
  x: Value,
  [h0, c0]: readonly [h0: Value, c0: Value],
  weightIh: Value,
  weightHh: Value,
  biasIh?: Value,
  biasHh?: Value,
  { reverse = false }: SequenceOptions = {},
): readonly [states: Value, last: Value, cell: Value] =>
  ops.lstm([x, weightIh, weightHh, h0, c0, ...both(biasIh, biasHh)], { gates: "ifgo", reverse }) as readonly [
    Value,
    Value,
    Value,
  ];

/** GRU over a sequence (gates r, z, n; the reset after the product): all states, and the last one. */
export const gru = (
  x: Value,
  h0: Value,
  weightIh: Value,
  weightHh: Value,
  biasIh?: Value,
  biasHh?: Value,
  { reverse = false }: SequenceOptions = {},
): readonly [states: Value, last: Value] => {
  const biases = biasIh === undefined ? [] : biasHh === undefined ? [biasIh] : [biasIh, biasHh];
  return ops.gru([x, weightIh, weightHh, h0, ...biases], { gates: "rzn", resetAfter: true, reverse }) as readonly [
    Value,
    Value,
  ];
};

/** One step of an RNN: x [batch, features], h [batch, hidden]. */
export const rnnCell = (
  x: Value,
  h: Value,
  weightIh: Value,
  weightHh: Value,
  biasIh?: Value,
  biasHh?: Value,
  { nonlinearity = "tanh" }: { readonly nonlinearity?: "tanh" | "relu" } = {},
): Value => {
  const total = add([linear(x, weightIh, biasIh), linear(h, weightHh, biasHh)]);
  return nonlinearity === "tanh" ? tanh([total]) : relu([total]);
};

/** One step of an LSTM: the next state and cell. */
export const lstmCell = (
  x: Value,
  [h, c]: readonly [h: Value, c: Value],
  weightIh: Value,
  weightHh: Value,
  biasIh?: Value,
  biasHh?: Value,
): readonly [h: Value, c: Value] =>
  ops.lstmStep(add([linear(x, weightIh, biasIh), linear(h, weightHh, biasHh)]), c, "ifgo");

/** One step of a GRU: the next state. */
export const gruCell = (x: Value, h: Value, weightIh: Value, weightHh: Value, biasIh?: Value, biasHh?: Value): Value =>
  ops.gruStep(linear(x, weightIh, biasIh), h, weightHh, biasHh);
