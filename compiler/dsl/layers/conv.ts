/** Convolutions over 1 to 3 spatial axes. */

import { ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import {
  anyOf,
  parameter as argument,
  choice,
  count,
  flag,
  type OptionsOf,
  option,
  type Settings,
} from "../../schema.js";
import type { Context } from "../context.js";
import { convolution, convTranspose, type Size, sizes as sizesOf } from "../functional.js";
import { scaledUniform } from "../init.js";
import { Module, parameter, type Variable } from "../module.js";
import { pad } from "../resize.js";
import { amounts, biasInit, byFanIn, defineLayer, expectSize, sizes, weightInit } from "./define.js";

const padding = anyOf(amounts, choice("same", "valid"));
const common = {
  stride: option(sizes, 1, "Step of the window"),
  dilation: option(sizes, 1, "Distance of the window's elements"),
  groups: option(count, 1, "Groups of channels that know nothing of one another"),
  bias: option(flag, true, "Add a bias to each channel"),
  ...weightInit(byFanIn),
  ...biasInit(byFanIn),
};
const convOptions = {
  padding: option(padding, 0, 'Elements before and after each axis; "same" keeps the size, "valid" adds none'),
  paddingMode: option(
    choice("constant", "reflect", "replicate", "circular"),
    "constant",
    "What stands around the image; a constant is 0",
  ),
  ...common,
};
const transposeOptions = {
  padding: option(amounts, 0, "Elements that are cut off on both sides of each axis"),
  outputPadding: option(amounts, 0, "Elements more behind each axis"),
  ...common,
};
export type ConvLayerOptions = OptionsOf<typeof convOptions>;
export type ConvTransposeLayerOptions = OptionsOf<typeof transposeOptions>;

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
  readonly groups: number;
  readonly #settings: Settings<typeof convOptions>;

  constructor(axes: number, input: number, output: number, kernel: Size, settings: Settings<typeof convOptions>) {
    super();
    const { bias, groups } = settings;
    checkGroups(groups, input, output);
    const window = sizesOf(kernel, axes, "kernel size");
    const standard = scaledUniform(window.reduce((n, k) => n * k, input / groups));
    this.weight = parameter([output, input / groups, ...window], settings.weightInit ?? standard);
    this.bias = bias ? parameter([output], settings.biasInit ?? standard) : undefined;
    this.groups = groups;
    this.#in = input;
    this.#settings = settings;
  }

  forward(ctx: Context, x: Value): Value {
    expectSize(x, 1, this.#in, "input channels");
    const [weight, bias] = [ctx.value(this.weight), this.bias && ctx.value(this.bias)];
    const { padding, paddingMode, stride, dilation, groups } = this.#settings;
    if (paddingMode === "constant" || padding === "valid")
      return convolution(x, weight, bias, { stride, padding, dilation, groups });
    if (padding === "same") throw new ModelError(`give the padding as numbers with paddingMode "${paddingMode}"`);
    const pads = sizesOf(padding, weight.type.shape.length - 2, "padding").map((p) => [p, p] as const);
    return convolution(pad(x, pads, paddingMode), weight, bias, { stride, dilation, groups });
  }
}

/** x [N, in, …] → [N, out, …]; weight [in, out/groups, …kernel]. */
export class ConvTransposeLayer extends Module {
  readonly weight: Variable;
  readonly bias: Variable | undefined;
  readonly #in: number;
  readonly groups: number;
  readonly #settings: Settings<typeof transposeOptions>;

  constructor(axes: number, input: number, output: number, kernel: Size, settings: Settings<typeof transposeOptions>) {
    super();
    const { bias, groups } = settings;
    checkGroups(groups, input, output);
    const window = sizesOf(kernel, axes, "kernel size");
    // PyTorch takes axis 1 of the weight for "in" here as well.
    const standard = scaledUniform(window.reduce((n, k) => n * k, output / groups));
    this.weight = parameter([input, output / groups, ...window], settings.weightInit ?? standard);
    this.bias = bias ? parameter([output], settings.biasInit ?? standard) : undefined;
    this.groups = groups;
    this.#in = input;
    this.#settings = settings;
  }

  forward(ctx: Context, x: Value): Value {
    expectSize(x, 1, this.#in, "input channels");
    const { stride, padding, outputPadding, dilation, groups } = this.#settings;
    const own = { stride, padding, outputPadding, dilation, groups };
    return convTranspose(x, ctx.value(this.weight), this.bias && ctx.value(this.bias), own);
  }
}

const parameters = [
  argument("input", count, "Channels of x"),
  argument("output", count, "Channels of the result"),
  argument("kernel", sizes, "Size of the window"),
] as const;
const convOf = (axes: number) =>
  defineLayer({
    name: `Conv${axes}d`,
    summary: `Convolution over ${axes} axes: x [N, in, …] → [N, out, …]; weight [out, in/groups, …kernel]`,
    parameters,
    options: convOptions,
    make: (settings, input: number, output: number, kernel: Size) =>
      new ConvLayer(axes, input, output, kernel, settings),
  });
export const Conv1d = convOf(1);
export const Conv2d = convOf(2);
export const Conv3d = convOf(3);

const convTransposeOf = (axes: number) =>
  defineLayer({
    name: `ConvTranspose${axes}d`,
    summary: `Transposed convolution over ${axes} axes: x [N, in, …] → [N, out, …]; weight [in, out/groups, …kernel]`,
    parameters,
    options: transposeOptions,
    make: (settings, input: number, output: number, kernel: Size) =>
      new ConvTransposeLayer(axes, input, output, kernel, settings),
  });
export const ConvTranspose1d = convTransposeOf(1);
export const ConvTranspose2d = convTransposeOf(2);
export const ConvTranspose3d = convTransposeOf(3);
