/** Padding and resizing of the spatial axes of [N, C, …]. */

import { rankOf } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText } from "../../../ir/graph.js";
import {
  parameter as argument,
  choice,
  flag,
  further,
  type Kind,
  list,
  number,
  type OptionsOf,
  option,
  optional,
  pair,
  positional,
} from "../../schema.js";
import type { Size } from "../functional.js";
import { interpolate, type PadMode, type Pads, pad } from "../resize.js";
import { defineLayer, type FunctionLayer, functionLayer, sizes } from "./define.js";

const whole: Kind<number> = { expected: "an integer", fits: Number.isSafeInteger };
const padModes = choice("constant", "reflect", "replicate", "circular");

export const Pad = positional(
  "nn.Pad",
  'Pads of the last axes, first to last: `Pad([[1, 1], [2, 2]], "reflect")`; negative ones cut off',
  [
    argument("pads", list(pair(whole)), "[before, after] of each axis"),
    further("mode", padModes, 'What stands there. Default: "constant"'),
    further("value", number, "The constant. Default: 0"),
  ],
  (pads: Pads, mode?: PadMode, value?: number): FunctionLayer => functionLayer((x) => pad(x, pads, mode, value)),
);

/** One number for all sides, or [before, after] of each axis from the last to the first as PyTorch writes it. */
type Padding = number | readonly number[];
const padding: Kind<Padding> = {
  expected: "an integer, or a list of two for each axis from the last to the first",
  fits: (v) => Number.isSafeInteger(v) || (Array.isArray(v) && v.every(Number.isSafeInteger)),
};
const paddingArgument = argument(
  "padding",
  padding,
  "Of all sides, or [left, right, top, bottom, front, back] as PyTorch",
);

function padLayer(axes: number, padding: Padding, mode: PadMode, value = 0): FunctionLayer {
  const sides = typeof padding === "number" ? new Array<number>(2 * axes).fill(padding) : padding;
  if (sides.length !== 2 * axes)
    throw new ModelError(
      `padding [${sides}] needs ${2 * axes} values: two for each of ${axes} axes, the last axis first`,
    );
  const pads = Array.from({ length: axes }, (_, i) => [sides[2 * i]!, sides[2 * i + 1]!] as const).reverse();
  return functionLayer((x) => {
    if (rankOf(x) !== axes + 2)
      throw new ModelError(`expected [batch, channels, …] of rank ${axes + 2}, but got ${typeText(x.type)}`);
    return pad(x, pads, mode, value);
  });
}
const padOf = (name: string, summary: string, mode: PadMode, axes: number) =>
  positional(`nn.${name}${axes}d`, summary, [paddingArgument], (padding: Padding) => padLayer(axes, padding, mode));
const constantOf = (axes: number) =>
  positional(
    `nn.ConstantPad${axes}d`,
    "A constant around the image",
    [paddingArgument, argument("value", number, "The constant")],
    (padding: Padding, value: number) => padLayer(axes, padding, "constant", value),
  );

const zeros = "Zeros around the image";
export const ZeroPad1d = padOf("ZeroPad", zeros, "constant", 1);
export const ZeroPad2d = padOf("ZeroPad", zeros, "constant", 2);
export const ZeroPad3d = padOf("ZeroPad", zeros, "constant", 3);
export const ConstantPad1d = constantOf(1);
export const ConstantPad2d = constantOf(2);
export const ConstantPad3d = constantOf(3);
const mirrored = "The image mirrored at its edges, which are not repeated";
export const ReflectionPad1d = padOf("ReflectionPad", mirrored, "reflect", 1);
export const ReflectionPad2d = padOf("ReflectionPad", mirrored, "reflect", 2);
export const ReflectionPad3d = padOf("ReflectionPad", mirrored, "reflect", 3);
const repeated = "The edges of the image repeated";
export const ReplicationPad1d = padOf("ReplicationPad", repeated, "replicate", 1);
export const ReplicationPad2d = padOf("ReplicationPad", repeated, "replicate", 2);
export const ReplicationPad3d = padOf("ReplicationPad", repeated, "replicate", 3);
const around = "The other end of the image";
export const CircularPad1d = padOf("CircularPad", around, "circular", 1);
export const CircularPad2d = padOf("CircularPad", around, "circular", 2);
export const CircularPad3d = padOf("CircularPad", around, "circular", 3);

const upsampleOptions = {
  size: optional(sizes, "Of the result's spatial axes"),
  scale: optional<Size>(
    {
      expected: "a number > 0, or a list of one for each spatial axis",
      fits: (v) => [v].flat().every((n) => Number.isFinite(n) && (n as number) > 0),
    },
    "By how much they grow; either this or the size",
  ),
  mode: option(choice("nearest", "linear", "cubic"), "nearest", '"linear" is bilinear over two axes, and so on'),
  alignCorners: option(flag, false, "The centres of the corner pixels stay where they are"),
};
export type UpsampleOptions = OptionsOf<typeof upsampleOptions>;

const upsample = (options: {
  readonly size: Size | undefined;
  readonly scale: Size | undefined;
  readonly mode: "nearest" | "linear" | "cubic";
  readonly alignCorners: boolean;
}): FunctionLayer => {
  const { size, scale, mode, alignCorners } = options;
  const how = {
    ...(size === undefined ? {} : { size }),
    ...(scale === undefined ? {} : { scale }),
    mode,
    alignCorners,
  };
  if ((size === undefined) === (scale === undefined)) throw new ModelError("give either a size or a scale");
  return functionLayer((x) => interpolate(x, how));
};
export const Upsample = defineLayer({
  name: "Upsample",
  summary: "The spatial axes resized",
  parameters: [],
  options: upsampleOptions,
  make: (settings) => upsample(settings),
});
const { mode: _mode, alignCorners: _align, ...placeOptions } = upsampleOptions;
export const UpsamplingNearest2d = defineLayer({
  name: "UpsamplingNearest2d",
  summary: "The spatial axes resized by nearest neighbours",
  parameters: [],
  options: placeOptions,
  make: (settings) => upsample({ ...settings, mode: "nearest", alignCorners: false }),
});
export const UpsamplingBilinear2d = defineLayer({
  name: "UpsamplingBilinear2d",
  summary: "The spatial axes resized linearly, corners aligned",
  parameters: [],
  options: placeOptions,
  make: (settings) => upsample({ ...settings, mode: "linear", alignCorners: true }),
});
