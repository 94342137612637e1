/** RNN, LSTM and GRU over sequences: several layers, one or both directions, PyTorch's names and gate orders. */

import { concatenate, permute, rankOf, sizeOf, stack, takeAt } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { full } from "../../../ir/ops/constant.js";
import { add } from "../../../ir/ops/elementwise.js";
import { gru, lstm, rnn } from "../../../ir/ops/recurrent.js";
import { aBoolean, aNumber, atLeast, type Checks, checked, oneOf } from "../../options.js";
import type { Context } from "../context.js";
import { scaledUniform } from "../init.js";
import { Module, parameter, type Variable } from "../module.js";
import { DropoutLayer, expectSize } from "./basic.js";

export interface RecurrentOptions {
  readonly layers?: number;
  readonly bidirectional?: boolean;
  /** x is [batch, steps, features] and not [steps, batch, features]. */
  readonly batchFirst?: boolean;
  readonly bias?: boolean;
  /** Dropped between layers, while training. */
  readonly dropout?: number;
}

const recurrentChecks: Checks<RecurrentOptions> = {
  layers: atLeast(1),
  bidirectional: aBoolean,
  batchFirst: aBoolean,
  bias: aBoolean,
  dropout: aNumber,
};

export interface RecurrentOutput {
  /** States of the last layer at all steps, both directions side by side; axes as those of x. */
  readonly output: Value;
  /** Last states of all layers and directions: [layers · directions, batch, hidden]. */
  readonly hidden: Value;
}
export interface LSTMOutput extends RecurrentOutput {
  /** Last cells, as `hidden`. */
  readonly cell: Value;
}

/** Weights of one layer and direction. */
interface Weights {
  readonly input: Value;
  readonly state: Value;
  readonly inputBias: Value | undefined;
  readonly stateBias: Value | undefined;
}

/** All states, and what remains at the end: the last state and, for an LSTM, the last cell. */
interface Direction {
  readonly states: Value;
  readonly last: readonly Value[];
}

abstract class RecurrentModule<O extends RecurrentOutput> extends Module<readonly [x: Value, ...initial: Value[]], O> {
  readonly #variables = new Map<string, Variable>();
  readonly #dropout: DropoutLayer | undefined;
  readonly #options: Required<RecurrentOptions>;
  readonly #input: number;
  readonly #hidden: number;
  readonly #stateCount: number;

  constructor(gates: number, stateCount: number, input: number, hidden: number, options: RecurrentOptions) {
    super();
    const all = { layers: 1, bidirectional: false, batchFirst: false, bias: true, dropout: 0, ...options };
    this.#options = all;
    this.#input = input;
    this.#hidden = hidden;
    this.#stateCount = stateCount;
    this.#dropout = all.dropout > 0 ? new DropoutLayer(all.dropout, false) : undefined;
    const init = scaledUniform(hidden);
    for (const { layer, suffix } of this.#places()) {
      const features = layer === 0 ? input : hidden * (all.bidirectional ? 2 : 1);
      this.#variables.set(`weight_ih_${suffix}`, parameter([gates * hidden, features], init));
      this.#variables.set(`weight_hh_${suffix}`, parameter([gates * hidden, hidden], init));
      if (!all.bias) continue;
      this.#variables.set(`bias_ih_${suffix}`, parameter([gates * hidden], init));
      this.#variables.set(`bias_hh_${suffix}`, parameter([gates * hidden], init));
    }
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return this.#dropout === undefined ? this.#variables : [...this.#variables, ["dropout", this.#dropout]];
  }

  protected abstract direction(x: Value, w: Weights, initial: readonly Value[], reverse: boolean): Direction;
  protected abstract result(output: Value, last: readonly Value[]): O;

  #places(): readonly { readonly layer: number; readonly suffix: string; readonly reverse: boolean }[] {
    return Array.from({ length: this.#options.layers }, (_, layer) => [
      { layer, suffix: `l${layer}`, reverse: false },
      ...(this.#options.bidirectional ? [{ layer, suffix: `l${layer}_reverse`, reverse: true }] : []),
    ]).flat();
  }

  #weights(ctx: Context, suffix: string): Weights {
    const get = (name: string) => {
      const v = this.#variables.get(`${name}_${suffix}`);
      return v && ctx.value(v);
    };
    return { input: get("weight_ih")!, state: get("weight_hh")!, inputBias: get("bias_ih"), stateBias: get("bias_hh") };
  }

  forward(ctx: Context, x: Value, ...initial: readonly Value[]): O {
    if (rankOf(x) !== 3) throw new ModelError(`expected a sequence of rank 3, but got ${typeText(x.type)}`);
    expectSize(x, -1, this.#input, "input features");
    if (initial.length !== 0 && initial.length !== this.#stateCount) {
      throw new ModelError(`expected ${this.#stateCount} initial states or none, but got ${initial.length}`);
    }
    const { batchFirst, bidirectional, layers } = this.#options;
    const width = bidirectional ? 2 : 1;
    const places = this.#places();
    const sequence = batchFirst ? permute(x, [1, 0, 2]) : x;
    const zero = full(x.type.dtype, [sizeOf(sequence, 1), this.#hidden], 0);
    const start = (place: number) =>
      Array.from({ length: this.#stateCount }, (_, s) => (initial[s] ? takeAt(initial[s], 0, place) : zero));
    const last: (readonly Value[])[] = [];
    let value = sequence;
    for (let layer = 0; layer < layers; layer++) {
      const made = places.slice(layer * width, (layer + 1) * width).map(({ suffix, reverse }, d) => {
        return this.direction(value, this.#weights(ctx, suffix), start(layer * width + d), reverse);
      });
      last.push(...made.map((m) => m.last));
      value = concatenate(
        made.map((m) => m.states),
        -1,
      );
      if (layer < layers - 1 && this.#dropout !== undefined) value = this.#dropout.apply(ctx, value);
    }
    const stacked = Array.from({ length: this.#stateCount }, (_, s) => stack(last.map((l) => l[s]!)));
    return this.result(batchFirst ? permute(value, [1, 0, 2]) : value, stacked);
  }
}

/** Both biases as one, where only their sum counts. */
const totalBias = ({ inputBias, stateBias }: Weights): readonly Value[] =>
  inputBias === undefined || stateBias === undefined ? [] : [add([inputBias, stateBias])];

export interface RNNOptions extends RecurrentOptions {
  readonly nonlinearity?: "tanh" | "relu";
}

export class RNNModule extends RecurrentModule<RecurrentOutput> {
  readonly #activation: "tanh" | "relu";

  constructor(input: number, hidden: number, options: RNNOptions) {
    super(1, 1, input, hidden, options);
    this.#activation = options.nonlinearity ?? "tanh";
  }

  protected direction(x: Value, w: Weights, [h]: readonly Value[], reverse: boolean): Direction {
    const results = rnn([x, w.input, w.state, h!, ...totalBias(w)], { activation: this.#activation, reverse });
    return { states: results[0]!, last: results.slice(1) };
  }
  protected result(output: Value, [hidden]: readonly Value[]): RecurrentOutput {
    return { output, hidden: hidden! };
  }
}
/** `apply(ctx, x)` or `apply(ctx, x, h0)` with h0 [layers · directions, batch, hidden]. */
export const RNN = (input: number, hidden: number, options?: RNNOptions): RNNModule =>
  new RNNModule(input, hidden, checked("RNN", options, { ...recurrentChecks, nonlinearity: oneOf("tanh", "relu") }));

export class LSTMModule extends RecurrentModule<LSTMOutput> {
  constructor(input: number, hidden: number, options: RecurrentOptions) {
    super(4, 2, input, hidden, options);
  }

  protected direction(x: Value, w: Weights, [h, c]: readonly Value[], reverse: boolean): Direction {
    const results = lstm([x, w.input, w.state, h!, c!, ...totalBias(w)], { gates: "ifgo", reverse });
    return { states: results[0]!, last: results.slice(1) };
  }
  protected result(output: Value, [hidden, cell]: readonly Value[]): LSTMOutput {
    return { output, hidden: hidden!, cell: cell! };
  }
}
/** `apply(ctx, x)` or `apply(ctx, x, h0, c0)`. */
export const LSTM = (input: number, hidden: number, options?: RecurrentOptions): LSTMModule =>
  new LSTMModule(input, hidden, checked("LSTM", options, recurrentChecks));

export class GRUModule extends RecurrentModule<RecurrentOutput> {
  constructor(input: number, hidden: number, options: RecurrentOptions) {
    super(3, 1, input, hidden, options);
  }

  protected direction(x: Value, w: Weights, [h]: readonly Value[], reverse: boolean): Direction {
    const biases = w.inputBias === undefined || w.stateBias === undefined ? [] : [w.inputBias, w.stateBias];
    const results = gru([x, w.input, w.state, h!, ...biases], { gates: "rzn", resetAfter: true, reverse });
    return { states: results[0]!, last: results.slice(1) };
  }
  protected result(output: Value, [hidden]: readonly Value[]): RecurrentOutput {
    return { output, hidden: hidden! };
  }
}
/** `apply(ctx, x)` or `apply(ctx, x, h0)`. */
export const GRU = (input: number, hidden: number, options?: RecurrentOptions): GRUModule =>
  new GRUModule(input, hidden, checked("GRU", options, recurrentChecks));

/** The last row of an axis: the state after the whole sequence. */
export const lastStep = (x: Value, axis: number): Value => takeAt(x, axis, -1);
