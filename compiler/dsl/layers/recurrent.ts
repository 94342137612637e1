/** RNN, LSTM and GRU over sequences: several layers, one or both directions, PyTorch's names and gate orders. */

import { concatenate, permute, rankOf, sizeOf, stack, takeAt } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { isValue } from "../../../ir/op.js";
import { full } from "../../../ir/ops/constant.js";
import { add } from "../../../ir/ops/elementwise.js";
import { gru, lstm, rnn } from "../../../ir/ops/recurrent.js";
import { aValue } from "../../options.js";
import { parameter as argument, count, flag, type OptionsOf, option, type Settings, share } from "../../schema.js";
import type { Context } from "../context.js";
import { type Initializer, scaledUniform } from "../init.js";
import { Module, parameter, type Variable } from "../module.js";
import { defineLayer, expectSize, inputsOf } from "./define.js";
import { DropoutLayer } from "./dropout.js";
import { cellOptions, nonlinearityOption, resetOption } from "./recurrent-options.js";

const recurrentOptions = {
  layers: option(count, 1, "How many are stacked"),
  bidirectional: option(flag, false, "A second direction, from the end of each sequence to its start"),
  batchFirst: option(flag, false, "x is [batch, steps, features], not [steps, batch, features]"),
  dropout: option(share, 0, "Dropped between the layers while training"),
  ...cellOptions,
};
const rnnOptions = { ...recurrentOptions, ...nonlinearityOption };
const gruOptions = { ...recurrentOptions, ...resetOption };
export type RecurrentOptions = OptionsOf<typeof recurrentOptions>;
export type RNNOptions = OptionsOf<typeof rnnOptions>;
export type GRUOptions = OptionsOf<typeof gruOptions>;
type RecurrentSettings = Settings<typeof recurrentOptions>;

export interface RecurrentInputs {
  /** First states of all layers and directions: [layers · directions, batch, hidden]. Default: zeros. */
  readonly hidden?: Value;
  /** First cells of an LSTM, as `hidden`. */
  readonly cell?: Value;
  /**
   * Steps of each sequence, i32 or i64 [batch], of 0 to the steps of x: as PyTorch's packed sequences. What is behind a sequence's
   * end touches no state, its output is 0, and the reverse direction starts at the end.
   */
  readonly lengths?: Value;
}

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

/** What goes into one layer and direction. */
interface Part {
  readonly x: Value;
  readonly inputWeight: Value;
  readonly stateWeight: Value;
  readonly inputBias: Value | undefined;
  readonly stateBias: Value | undefined;
  readonly initial: readonly Value[];
  readonly lengths: Value | undefined;
  readonly reverse: boolean;
}

type Arguments = readonly [x: Value, ...rest: readonly (Value | RecurrentInputs)[]];

export abstract class RecurrentModule<O extends RecurrentOutput> extends Module<Arguments, O> {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly settings: RecurrentSettings;
  readonly #variables = new Map<string, Variable>();
  readonly #dropout: DropoutLayer | undefined;
  readonly #states: readonly ("hidden" | "cell")[];

  constructor(
    gates: number,
    states: readonly ("hidden" | "cell")[],
    input: number,
    hidden: number,
    settings: RecurrentSettings,
  ) {
    super();
    this.settings = settings;
    this.inputSize = input;
    this.hiddenSize = hidden;
    this.#states = states;
    this.#dropout = settings.dropout > 0 ? new DropoutLayer(settings.dropout) : undefined;
    const uniform = scaledUniform(hidden);
    for (const { layer, suffix } of this.places()) {
      const features = layer === 0 ? input : hidden * (settings.bidirectional ? 2 : 1);
      const add = (name: string, shape: readonly number[], init: Initializer | undefined) =>
        this.#variables.set(`${name}_${suffix}`, parameter(shape, init ?? uniform));
      add("weight_ih", [gates * hidden, features], settings.weightInit);
      add("weight_hh", [gates * hidden, hidden], settings.recurrentInit);
      if (settings.bias !== false) add("bias_ih", [gates * hidden], settings.biasInit);
      if (settings.bias === true) add("bias_hh", [gates * hidden], settings.biasInit);
    }
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return this.#dropout === undefined ? this.#variables : [...this.#variables, ["dropout", this.#dropout]];
  }

  /** Its variables by name. */
  ownVariables(): ReadonlyMap<string, Variable> {
    return this.#variables;
  }

  /** All outputs [steps, batch, hidden], and the last states. */
  protected abstract direction(part: Part): readonly Value[];
  protected abstract result(output: Value, last: readonly Value[]): O;

  /** Layers and directions in order; the suffix ends the names of their variables. */
  places(): readonly { readonly layer: number; readonly suffix: string; readonly reverse: boolean }[] {
    return Array.from({ length: this.settings.layers }, (_, layer) => [
      { layer, suffix: `l${layer}`, reverse: false },
      ...(this.settings.bidirectional ? [{ layer, suffix: `l${layer}_reverse`, reverse: true }] : []),
    ]).flat();
  }

  #inputs(rest: readonly (Value | RecurrentInputs)[]): RecurrentInputs {
    const [first] = rest;
    const wanted = this.#states;
    if (first !== undefined && !isValue(first)) {
      if (rest.length > 1) throw new ModelError("states and lengths are given in one object behind x");
      inputsOf<object>(first, Object.fromEntries([...wanted, "lengths"].map((name) => [name, aValue])));
      const given = wanted.filter((name) => first[name] !== undefined);
      if (given.length !== 0 && given.length !== wanted.length)
        throw new ModelError(`expected first states ${wanted.join(" and ")}, or none, but got ${given}`);
      return first;
    }
    if (rest.length !== 0 && rest.length !== wanted.length)
      throw new ModelError(`expected ${wanted.length} initial states or none, but got ${rest.length}`);
    return Object.fromEntries(wanted.map((name, i) => [name, rest[i]]));
  }

  forward(ctx: Context, x: Value, ...rest: readonly (Value | RecurrentInputs)[]): O {
    if (rankOf(x) !== 3) throw new ModelError(`expected a sequence of rank 3, but got ${typeText(x.type)}`);
    expectSize(x, -1, this.inputSize, "input features");
    const inputs = this.#inputs(rest);
    const { batchFirst, bidirectional, layers } = this.settings;
    const width = bidirectional ? 2 : 1;
    const places = this.places();
    const sequence = batchFirst ? permute(x, [1, 0, 2]) : x;
    const zero = full(x.type.dtype, [sizeOf(sequence, 1), this.hiddenSize], 0);
    const start = (place: number) =>
      this.#states.map((name) => {
        const given = inputs[name];
        if (given === undefined) return zero;
        if (rankOf(given) !== 3)
          throw new ModelError(`expected states [layers · directions, batch, hidden], but got ${typeText(given.type)}`);
        expectSize(given, 0, places.length, "layers · directions");
        return takeAt(given, 0, place);
      });
    const value = (name: string) => {
      const v = this.#variables.get(name);
      return v && ctx.value(v);
    };
    const last: (readonly Value[])[] = [];
    let current = sequence;
    for (let layer = 0; layer < layers; layer++) {
      const made = places.slice(layer * width, (layer + 1) * width).map(({ suffix, reverse }, d) =>
        this.direction({
          x: current,
          inputWeight: value(`weight_ih_${suffix}`)!,
          stateWeight: value(`weight_hh_${suffix}`)!,
          inputBias: value(`bias_ih_${suffix}`),
          stateBias: value(`bias_hh_${suffix}`),
          initial: start(layer * width + d),
          lengths: inputs.lengths,
          reverse,
        }),
      );
      last.push(...made.map((m) => m.slice(1)));
      current = concatenate(
        made.map((m) => m[0]!),
        -1,
      );
      if (layer < layers - 1 && this.#dropout !== undefined) current = this.#dropout(ctx, current);
    }
    const stacked = this.#states.map((_, s) => stack(last.map((l) => l[s]!)));
    return this.result(batchFirst ? permute(current, [1, 0, 2]) : current, stacked);
  }
}

/** Optional operands behind the states: biases, then lengths, in whose front zeros stand for biases that are not there. */
function behindStates(biases: readonly (Value | undefined)[], { inputWeight, lengths }: Part): readonly Value[] {
  const none = () => full(inputWeight.type.dtype, [sizeOf(inputWeight, 0)], 0);
  const given = biases.findLastIndex((b) => b !== undefined) + 1;
  const all = lengths === undefined ? biases.slice(0, given) : biases;
  return [...all.map((b) => b ?? none()), ...(lengths === undefined ? [] : [lengths])];
}

/** Both biases as one, where only their sum counts. */
const totalBias = ({ inputBias: a, stateBias: b }: Part): Value | undefined =>
  a === undefined || b === undefined ? (a ?? b) : add([a, b]);

export class RNNModule extends RecurrentModule<RecurrentOutput> {
  readonly #activation: "tanh" | "relu";

  constructor(input: number, hidden: number, settings: Settings<typeof rnnOptions>) {
    super(1, ["hidden"], input, hidden, settings);
    this.#activation = settings.nonlinearity;
  }

  protected direction(part: Part): readonly Value[] {
    const { x, inputWeight, stateWeight, initial, reverse } = part;
    const operands = [x, inputWeight, stateWeight, ...initial, ...behindStates([totalBias(part)], part)];
    return rnn(operands, { activation: this.#activation, reverse });
  }
  protected result(output: Value, [hidden]: readonly Value[]): RecurrentOutput {
    return { output, hidden: hidden! };
  }
}
/** `layer(ctx, x)`, `layer(ctx, x, h0)` or `layer(ctx, x, { hidden, lengths })`; h0 is [layers · directions, batch, hidden]. */
export const RNN = defineLayer({
  name: "RNN",
  summary: "h' = tanh(W·x + R·h + biases) over sequences → { output, hidden }",
  parameters: [argument("input", count, "Features of x"), argument("hidden", count, "Features of the state")],
  options: rnnOptions,
  make: (settings, input: number, hidden: number) => new RNNModule(input, hidden, settings),
});

export class LSTMModule extends RecurrentModule<LSTMOutput> {
  constructor(input: number, hidden: number, settings: RecurrentSettings) {
    super(4, ["hidden", "cell"], input, hidden, settings);
  }

  protected direction(part: Part): readonly Value[] {
    const { x, inputWeight, stateWeight, initial, reverse } = part;
    const operands = [x, inputWeight, stateWeight, ...initial, ...behindStates([totalBias(part)], part)];
    return lstm(operands, { gates: "ifgo", reverse });
  }
  protected result(output: Value, [hidden, cell]: readonly Value[]): LSTMOutput {
    return { output, hidden: hidden!, cell: cell! };
  }
}
/** `layer(ctx, x)`, `layer(ctx, x, h0, c0)` or `layer(ctx, x, { hidden, cell, lengths })`. */
export const LSTM = defineLayer({
  name: "LSTM",
  summary: "Long short-term memory over sequences → { output, hidden, cell }; gates in PyTorch's order i, f, g, o",
  parameters: [argument("input", count, "Features of x"), argument("hidden", count, "Features of the state")],
  options: recurrentOptions,
  make: (settings, input: number, hidden: number) => new LSTMModule(input, hidden, settings),
});

export class GRUModule extends RecurrentModule<RecurrentOutput> {
  readonly resetAfter: boolean;

  constructor(input: number, hidden: number, settings: Settings<typeof gruOptions>) {
    super(3, ["hidden"], input, hidden, settings);
    this.resetAfter = settings.resetAfter;
  }

  protected direction(part: Part): readonly Value[] {
    const { x, inputWeight, stateWeight, initial, inputBias, stateBias, reverse } = part;
    const operands = [x, inputWeight, stateWeight, ...initial, ...behindStates([inputBias, stateBias], part)];
    return gru(operands, { gates: "rzn", resetAfter: this.resetAfter, reverse });
  }
  protected result(output: Value, [hidden]: readonly Value[]): RecurrentOutput {
    return { output, hidden: hidden! };
  }
}
/** `layer(ctx, x)`, `layer(ctx, x, h0)` or `layer(ctx, x, { hidden, lengths })`. */
export const GRU = defineLayer({
  name: "GRU",
  summary: "Gated recurrent unit over sequences → { output, hidden }; gates in PyTorch's order r, z, n",
  parameters: [argument("input", count, "Features of x"), argument("hidden", count, "Features of the state")],
  options: gruOptions,
  make: (settings, input: number, hidden: number) => new GRUModule(input, hidden, settings),
});

/** The last row of an axis: the state after the whole sequence, where no lengths are given. */
export const lastStep = (x: Value, axis: number): Value => takeAt(x, axis, -1);
