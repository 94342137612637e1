/** Linear and bilinear layers. */

import { linear } from "../../../ir/einsum.js";
import type { Value } from "../../../ir/graph.js";
import { parameter as argument, count, flag, type OptionsOf, option, type Settings } from "../../schema.js";
import type { Context } from "../context.js";
import { bilinear } from "../f/product.js";
import { scaledUniform } from "../init.js";
import { Module, parameter, type Variable } from "../module.js";
import { biasInit, byFanIn, defineLayer, expectSize, weightInit } from "./define.js";

const linearOptions = {
  bias: option(flag, true, "Add a bias"),
  ...weightInit(byFanIn),
  ...biasInit(byFanIn),
};
export type LinearOptions = OptionsOf<typeof linearOptions>;

/** x [..., in] → x · weightᵀ + bias [..., out]; weight [out, in]. */
export class LinearLayer extends Module {
  readonly weight: Variable;
  readonly bias: Variable | undefined;
  readonly #in: number;

  constructor(inFeatures: number, outFeatures: number, settings: Settings<typeof linearOptions>) {
    super();
    const standard = scaledUniform(inFeatures);
    const { bias, weightInit = standard, biasInit = standard } = settings;
    this.#in = inFeatures;
    this.weight = parameter([outFeatures, inFeatures], weightInit);
    this.bias = bias ? parameter([outFeatures], biasInit) : undefined;
  }

  forward(ctx: Context, x: Value): Value {
    expectSize(x, -1, this.#in, "input features");
    return linear(x, ctx.value(this.weight), this.bias && ctx.value(this.bias));
  }
}
export const Linear = defineLayer({
  name: "Linear",
  summary: "x [..., in] → x · weightᵀ + bias [..., out]; weight [out, in]",
  parameters: [
    argument("inFeatures", count, "Size of x's last axis"),
    argument("outFeatures", count, "Of the result's"),
  ],
  options: linearOptions,
  make: (settings, inFeatures: number, outFeatures: number) => new LinearLayer(inFeatures, outFeatures, settings),
});

/** a [..., in1], b [..., in2] → a · weight · b + bias [..., out]; weight [out, in1, in2]. */
export class BilinearLayer extends Module<readonly [a: Value, b: Value]> {
  readonly weight: Variable;
  readonly bias: Variable | undefined;
  readonly #in: readonly [number, number];

  constructor(in1: number, in2: number, outFeatures: number, settings: Settings<typeof linearOptions>) {
    super();
    const standard = scaledUniform(in1);
    const { bias, weightInit = standard, biasInit = standard } = settings;
    this.#in = [in1, in2];
    this.weight = parameter([outFeatures, in1, in2], weightInit);
    this.bias = bias ? parameter([outFeatures], biasInit) : undefined;
  }

  forward(ctx: Context, a: Value, b: Value): Value {
    expectSize(a, -1, this.#in[0], "features of the first input");
    expectSize(b, -1, this.#in[1], "features of the second input");
    return bilinear(a, b, ctx.value(this.weight), this.bias && ctx.value(this.bias));
  }
}
export const Bilinear = defineLayer({
  name: "Bilinear",
  summary: "a [..., in1] and b [..., in2] → a · weight · b + bias [..., out]; weight [out, in1, in2]",
  parameters: [
    argument("in1", count, "Size of a's last axis"),
    argument("in2", count, "Size of b's last axis"),
    argument("outFeatures", count, "Of the result's"),
  ],
  options: linearOptions,
  make: (settings, in1: number, in2: number, outFeatures: number) => new BilinearLayer(in1, in2, outFeatures, settings),
});
