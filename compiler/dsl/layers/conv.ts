/** Convolutions over 1 to 3 spatial axes. */

import { ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { aBoolean, aFunction, anything, aString, atLeast, type Checks, checked } from "../../options.js";
import type { Context } from "../context.js";
import {
  type ConvOptions,
  type ConvTransposeOptions,
  convolution,
  convTranspose,
  type Size,
  sizes,
} from "../functional.js";
import { type Initializer, scaledUniform } from "../init.js";
import { Module, parameter, type Variable } from "../module.js";
import { type PadMode, pad } from "../resize.js";
import { expectSize } from "./basic.js";

interface LayerOptions {
  readonly bias?: boolean;
  readonly init?: Initializer;
}
export type ConvLayerOptions = ConvOptions &
  LayerOptions & {
    /** What stands around the image. Default "constant": zeros. */
    readonly paddingMode?: PadMode;
  };
export type ConvTransposeLayerOptions = ConvTransposeOptions & LayerOptions;

function checkGroups(groups: number, input: number, output: number): void {
  if (input % groups !== 0 || output % groups !== 0) {
    throw new ModelError(`${input} input and ${output} output channels do not divide into ${groups} groups`);
  }
}

/** x [N, in, …] → [N, out, …]; weight [out, in/groups, …kernel]. */
export class ConvLayer extends Module {
  readonly weight: Variable;
  readonly bias: Variable | undefined;
  readonly #in: number;
  readonly #options: ConvLayerOptions;

  constructor(axes: number, input: number, output: number, kernel: Size, options: ConvLayerOptions) {
    super();
    const { bias = true, init, groups = 1 } = options;
    checkGroups(groups, input, output);
    const window = sizes(kernel, axes, "kernel size");
    const fanIn = window.reduce((n, k) => n * k, input / groups);
    this.weight = parameter([output, input / groups, ...window], init ?? scaledUniform(fanIn));
    this.bias = bias ? parameter([output], scaledUniform(fanIn)) : undefined;
    this.#in = input;
    this.#options = options;
  }

  forward(ctx: Context, x: Value): Value {
    expectSize(x, 1, this.#in, "input channels");
    const [weight, bias] = [ctx.value(this.weight), this.bias && ctx.value(this.bias)];
    const { padding = 0, paddingMode = "constant" } = this.#options;
    if (paddingMode === "constant" || padding === "valid") return convolution(x, weight, bias, this.#options);
    if (padding === "same") throw new ModelError(`give the padding as numbers with paddingMode "${paddingMode}"`);
    const pads = sizes(padding, weight.type.shape.length - 2, "padding").map((p) => [p, p] as const);
    return convolution(pad(x, pads, paddingMode), weight, bias, { ...this.#options, padding: 0 });
  }
}

/** x [N, in, …] → [N, out, …]; weight [in, out/groups, …kernel]. */
export class ConvTransposeLayer extends Module {
  readonly weight: Variable;
  readonly bias: Variable | undefined;
  readonly #in: number;
  readonly #options: ConvTransposeOptions;

  constructor(axes: number, input: number, output: number, kernel: Size, options: ConvTransposeLayerOptions) {
    super();
    const { bias = true, init, groups = 1 } = options;
    checkGroups(groups, input, output);
    const window = sizes(kernel, axes, "kernel size");
    // PyTorch takes axis 1 of the weight for "in" here as well.
    const fanIn = window.reduce((n, k) => n * k, output / groups);
    this.weight = parameter([input, output / groups, ...window], init ?? scaledUniform(fanIn));
    this.bias = bias ? parameter([output], scaledUniform(fanIn)) : undefined;
    this.#in = input;
    this.#options = options;
  }

  forward(ctx: Context, x: Value): Value {
    expectSize(x, 1, this.#in, "input channels");
    return convTranspose(x, ctx.value(this.weight), this.bias && ctx.value(this.bias), this.#options);
  }
}

const layerChecks: Checks<LayerOptions> = { bias: aBoolean, init: aFunction };
const convChecks: Checks<ConvLayerOptions> = {
  ...layerChecks,
  stride: anything,
  padding: anything,
  dilation: anything,
  groups: atLeast(1),
  paddingMode: aString,
};
const transposeChecks: Checks<ConvTransposeLayerOptions> = {
  ...layerChecks,
  stride: anything,
  padding: anything,
  outputPadding: anything,
  dilation: anything,
  groups: atLeast(1),
};

type ConvOf = (input: number, output: number, kernel: Size, options?: ConvLayerOptions) => ConvLayer;
const convOf =
  (axes: number): ConvOf =>
  (input, output, kernel, options) =>
    new ConvLayer(axes, input, output, kernel, checked(`Conv${axes}d`, options, convChecks));
export const Conv1d: ConvOf = convOf(1);
export const Conv2d: ConvOf = convOf(2);
export const Conv3d: ConvOf = convOf(3);

type ConvTransposeOf = (
  input: number,
  output: number,
  kernel: Size,
  options?: ConvTransposeLayerOptions,
) => ConvTransposeLayer;
const convTransposeOf =
  (axes: number): ConvTransposeOf =>
  (input, output, kernel, options) =>
    new ConvTransposeLayer(axes, input, output, kernel, checked(`ConvTranspose${axes}d`, options, transposeChecks));
export const ConvTranspose1d: ConvTransposeOf = convTransposeOf(1);
export const ConvTranspose2d: ConvTransposeOf = convTransposeOf(2);
export const ConvTranspose3d: ConvTransposeOf = convTransposeOf(3);
