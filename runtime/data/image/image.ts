/** Images as tensors of channels, rows and columns in either order, and what runs over them. */
import { describe, modelError } from "../../errors.js";
import { arrayTypes, type DType } from "../../format.js";
import { sizeOf, type Tensor, type TensorData } from "../../tensor.js";
import type { Random } from "../random.js";
import { isTensor } from "../roots.js";

export type Layout = "CHW" | "HWC";

/** An image whose elements are numbers: u8 and u16 in their whole range, floats in any. */
export interface Image {
  readonly dtype: "u8" | "u16" | "f32" | "f64";
  readonly layout: Layout;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly data: Uint8Array | Uint16Array | Float32Array | Float64Array;
}

/** What is done to an image; `random` draws what differs from element to element. */
export type ImageOp = (image: Image, random: Random) => Image;

const dtypes: readonly string[] = ["u8", "u16", "f32", "f64"];

/** The largest value of integers: white. Floats are taken to go from 0 to 1. */
export const whiteOf = (image: Image): number => (image.dtype === "u8" ? 255 : image.dtype === "u16" ? 65535 : 1);
export const isInteger = (image: Image): boolean => image.dtype === "u8" || image.dtype === "u16";

/** Distances between channels, rows and columns. */
export function stridesOf({
  layout,
  channels,
  height,
  width,
}: Image): readonly [channel: number, row: number, column: number] {
  return layout === "CHW" ? [height * width, width, 1] : [1, width * channels, channels];
}

export function emptyImage(like: Image, height: number, width: number, dtype: Image["dtype"] = like.dtype): Image {
  const data = new arrayTypes[dtype](like.channels * height * width);
  return { ...like, dtype, height, width, data };
}

/** Rounds, and stays in range, where elements are integers. */
export function storer(image: Image): (value: number) => number {
  if (!isInteger(image)) return (v) => v;
  const white = whiteOf(image);
  return (v) => Math.max(0, Math.min(white, Math.round(v)));
}

/** [H, W] counts as one channel. @throws ModelError where the value is no image */
export function imageOf(where: string, value: unknown, layout: Layout): Image {
  if (!isTensor(value))
    throw modelError(where, `expected a tensor, got ${describe(value)}`, "{ dtype, shape: [3, 32, 32], data }");
  const { dtype, shape, data } = value;
  const order = layout === "CHW" ? "[channels, height, width]" : "[height, width, channels]";
  if (!dtypes.includes(dtype)) throw modelError(where, `an image is of ${dtypes.join(", ")}, not ${dtype}`);
  if ((shape.length !== 3 && shape.length !== 2) || sizeOf(shape) !== data.length)
    throw modelError(where, `expected ${order} or [height, width], got [${shape}] with ${data.length} elements`);
  const [a, b, c] = (shape.length === 2 ? (layout === "CHW" ? [1, ...shape] : [...shape, 1]) : shape) as [
    number,
    number,
    number,
  ];
  const sizes = layout === "CHW" ? { channels: a, height: b, width: c } : { height: a, width: b, channels: c };
  // The other layout makes an ordinary image of it.
  if (sizes.channels > 4 && (layout === "CHW" ? sizes.width : sizes.height) <= 4) {
    const other = layout === "CHW" ? "HWC" : "CHW";
    throw modelError(
      where,
      `[${shape}] has ${sizes.channels} channels in the layout ${layout}`,
      `pass { layout: "${other}" }`,
    );
  }
  return { dtype: dtype as Image["dtype"], layout, ...sizes, data: data as Image["data"] };
}

/** Back as a tensor. @param flat whether it was [H, W] */
export function tensorOf({ dtype, layout, channels, height, width, data }: Image, flat: boolean): Tensor {
  const shape = flat ? [height, width] : layout === "CHW" ? [channels, height, width] : [height, width, channels];
  return { dtype: dtype as DType, shape, data: data as TensorData } as Tensor;
}
