/** One step of recurrent layers, for decoders and loops of one's own (`scan`). */

import { np, rankOf } from "../../../ir/build.js";
import { linear } from "../../../ir/einsum.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { relu } from "../../../ir/ops/activation.js";
import { tanh } from "../../../ir/ops/elementwise.js";
import { gruStep, lstmStep } from "../../../ir/ops/recurrent.js";
import { parameter as argument, count, type Settings } from "../../schema.js";
import type { Context } from "../context.js";
import { scaledUniform } from "../init.js";
import { Module, parameter, type Variable } from "../module.js";
import { defineLayer, expectSize } from "./define.js";
import { cellOptions, nonlinearityOption, resetOption } from "./recurrent-options.js";

type CellSettings = Settings<typeof cellOptions>;
const rnnOptions = { ...cellOptions, ...nonlinearityOption };
const gruOptions = { ...cellOptions, ...resetOption };

abstract class Cell<I extends readonly unknown[], O> extends Module<I, O> {
  readonly weight_ih: Variable;
  readonly weight_hh: Variable;
  readonly bias_ih: Variable | undefined;
  readonly bias_hh: Variable | undefined;
  readonly #input: number;
  readonly #hidden: number;

  constructor(gates: number, input: number, hidden: number, settings: CellSettings) {
    super();
    const uniform = scaledUniform(hidden);
    const { bias, weightInit = uniform, recurrentInit = uniform, biasInit = uniform } = settings;
    this.#input = input;
    this.#hidden = hidden;
    this.weight_ih = parameter([gates * hidden, input], weightInit);
    this.weight_hh = parameter([gates * hidden, hidden], recurrentInit);
    this.bias_ih = bias !== false ? parameter([gates * hidden], biasInit) : undefined;
    this.bias_hh = bias === true ? parameter([gates * hidden], biasInit) : undefined;
  }

  protected fromInput(ctx: Context, x: Value): Value {
    if (rankOf(x) !== 2) throw new ModelError(`a cell takes [batch, features], but got ${typeText(x.type)}`);
    expectSize(x, -1, this.#input, "input features");
    return linear(x, ctx.value(this.weight_ih), this.bias_ih && ctx.value(this.bias_ih));
  }

  protected fromState(ctx: Context, h: Value): Value {
    expectSize(h, -1, this.#hidden, "state features");
    return linear(h, ctx.value(this.weight_hh), this.bias_hh && ctx.value(this.bias_hh));
  }
}

export class RNNCellModule extends Cell<readonly [x: Value, h: Value], Value> {
  readonly #relu: boolean;

  constructor(input: number, hidden: number, settings: Settings<typeof rnnOptions>) {
    super(1, input, hidden, settings);
    this.#relu = settings.nonlinearity === "relu";
  }

  forward(ctx: Context, x: Value, h: Value): Value {
    const sums = np.add(this.fromInput(ctx, x), this.fromState(ctx, h));
    return this.#relu ? relu([sums]) : tanh([sums]);
  }
}
/** `layer(ctx, x, h)` → the next state [batch, hidden]. */
export const RNNCell = defineLayer({
  name: "RNNCell",
  summary: "One step of an RNN: `layer(ctx, x, h)` → the next state [batch, hidden]",
  parameters: [argument("input", count, "Features of x"), argument("hidden", count, "Features of the state")],
  options: rnnOptions,
  make: (settings, input: number, hidden: number) => new RNNCellModule(input, hidden, settings),
});

export class LSTMCellModule extends Cell<
  readonly [x: Value, h: Value, c: Value],
  readonly [hidden: Value, cell: Value]
> {
  constructor(input: number, hidden: number, settings: CellSettings) {
    super(4, input, hidden, settings);
  }

  forward(ctx: Context, x: Value, h: Value, c: Value): readonly [hidden: Value, cell: Value] {
    return lstmStep(np.add(this.fromInput(ctx, x), this.fromState(ctx, h)), c, "ifgo");
  }
}
/** `layer(ctx, x, h, c)` → the next state and cell. */
export const LSTMCell = defineLayer({
  name: "LSTMCell",
  summary: "One step of an LSTM: `layer(ctx, x, h, c)` → [state, cell]",
  parameters: [argument("input", count, "Features of x"), argument("hidden", count, "Features of the state")],
  options: cellOptions,
  make: (settings, input: number, hidden: number) => new LSTMCellModule(input, hidden, settings),
});

export class GRUCellModule extends Cell<readonly [x: Value, h: Value], Value> {
  readonly #resetAfter: boolean;

  constructor(input: number, hidden: number, settings: Settings<typeof gruOptions>) {
    super(3, input, hidden, settings);
    this.#resetAfter = settings.resetAfter;
  }

  forward(ctx: Context, x: Value, h: Value): Value {
    const bias = this.bias_hh && ctx.value(this.bias_hh);
    return gruStep(this.fromInput(ctx, x), h, ctx.value(this.weight_hh), bias, this.#resetAfter);
  }
}
/** `layer(ctx, x, h)` → the next state. */
export const GRUCell = defineLayer({
  name: "GRUCell",
  summary: "One step of a GRU: `layer(ctx, x, h)` → the next state",
  parameters: [argument("input", count, "Features of x"), argument("hidden", count, "Features of the state")],
  options: gruOptions,
  make: (settings, input: number, hidden: number) => new GRUCellModule(input, hidden, settings),
});
