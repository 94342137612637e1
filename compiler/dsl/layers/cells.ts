/** One step of recurrent layers, for decoders and loops of one's own (`scan`). */

import { np, rankOf } from "../../../ir/build.js";
import { linear } from "../../../ir/einsum.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { relu } from "../../../ir/ops/activation.js";
import { tanh } from "../../../ir/ops/elementwise.js";
import { gruStep, lstmStep } from "../../../ir/ops/recurrent.js";
import { aBoolean, type Checks, checked, oneOf } from "../../options.js";
import type { Context } from "../context.js";
import { scaledUniform } from "../init.js";
import { Module, parameter, type Variable } from "../module.js";
import { expectSize } from "./basic.js";

export interface CellOptions {
  readonly bias?: boolean;
}
const cellChecks: Checks<CellOptions> = { bias: aBoolean };

abstract class Cell<I extends readonly unknown[], O> extends Module<I, O> {
  readonly weight_ih: Variable;
  readonly weight_hh: Variable;
  readonly bias_ih: Variable | undefined;
  readonly bias_hh: Variable | undefined;
  readonly #input: number;
  readonly #hidden: number;

  constructor(gates: number, input: number, hidden: number, { bias = true }: CellOptions) {
    super();
    const init = scaledUniform(hidden);
    this.#input = input;
    this.#hidden = hidden;
    this.weight_ih = parameter([gates * hidden, input], init);
    this.weight_hh = parameter([gates * hidden, hidden], init);
    this.bias_ih = bias ? parameter([gates * hidden], init) : undefined;
    this.bias_hh = bias ? parameter([gates * hidden], init) : undefined;
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

  constructor(input: number, hidden: number, options: CellOptions & { readonly nonlinearity?: "tanh" | "relu" }) {
    super(1, input, hidden, options);
    this.#relu = options.nonlinearity === "relu";
  }

  forward(ctx: Context, x: Value, h: Value): Value {
    const sums = np.add(this.fromInput(ctx, x), this.fromState(ctx, h));
    return this.#relu ? relu([sums]) : tanh([sums]);
  }
}
/** `apply(ctx, x, h)` → the next state [batch, hidden]. */
export const RNNCell = (
  input: number,
  hidden: number,
  options?: CellOptions & { readonly nonlinearity?: "tanh" | "relu" },
): RNNCellModule =>
  new RNNCellModule(input, hidden, checked("RNNCell", options, { ...cellChecks, nonlinearity: oneOf("tanh", "relu") }));

export class LSTMCellModule extends Cell<
  readonly [x: Value, h: Value, c: Value],
  readonly [hidden: Value, cell: Value]
> {
  constructor(input: number, hidden: number, options: CellOptions) {
    super(4, input, hidden, options);
  }

  forward(ctx: Context, x: Value, h: Value, c: Value): readonly [hidden: Value, cell: Value] {
    return lstmStep(np.add(this.fromInput(ctx, x), this.fromState(ctx, h)), c, "ifgo");
  }
}
/** `apply(ctx, x, h, c)` → the next state and cell. */
export const LSTMCell = (input: number, hidden: number, options?: CellOptions): LSTMCellModule =>
  new LSTMCellModule(input, hidden, checked("LSTMCell", options, cellChecks));

export class GRUCellModule extends Cell<readonly [x: Value, h: Value], Value> {
  constructor(input: number, hidden: number, options: CellOptions) {
    super(3, input, hidden, options);
  }

  forward(ctx: Context, x: Value, h: Value): Value {
    const bias = this.bias_hh && ctx.value(this.bias_hh);
    return gruStep(this.fromInput(ctx, x), h, ctx.value(this.weight_hh), bias);
  }
}
/** `apply(ctx, x, h)` → the next state [batch, hidden]. */
export const GRUCell = (input: number, hidden: number, options?: CellOptions): GRUCellModule =>
  new GRUCellModule(input, hidden, checked("GRUCell", options, cellChecks));
