/** Pictures: read as a model's input, written of its outputs, and drawn over with what it looked at. */

import { encode } from "fast-png";
import { ModelError } from "../../ir/errors.js";
import { element, type Tensor, tensor } from "../../ir/tensor.js";
import { readImage } from "../../runtime/data/read/image.js";

/** Values one plane after the other. */
export interface Planes {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly data: Float32Array;
}

/** How pixels become numbers: those of black and white, then (value − mean) / std of each channel. */
export interface PixelOptions {
  readonly range?: readonly [black: number, white: number];
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

/** A PNG or JPEG file, with values from 0 to 1. */
export async function readPicture(path: string, channels: 1 | 3): Promise<Planes> {
  const { shape, data } = await readImage(path, { channels });
  const white = data instanceof Uint16Array ? 65_535 : 255;
  return {
    channels,
    height: shape[1]!,
    width: shape[2]!,
    data: Float32Array.from(data as Uint8Array | Uint16Array, (v) => v / white),
  };
}

/** Bilinear, with the edges of both where they are. Where it shrinks, each pixel is the mean of those that it covers. */
export function resized({ channels, height, width, data }: Planes, toHeight: number, toWidth: number): Planes {
  const rows = taps(height, toHeight);
  const columns = taps(width, toWidth);
  const out = new Float32Array(channels * toHeight * toWidth);
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < toHeight; y++)
      for (let x = 0; x < toWidth; x++) {
        let value = 0;
        for (const [from, part] of rows[y]!)
          for (const [at, share] of columns[x]!) value += part * share * data[(c * height + from) * width + at]!;
        out[(c * toHeight + y) * toWidth + x] = value;
      }
  return { channels, height: toHeight, width: toWidth, data: out };
}

/** Which of `from` places each of `to` takes, and how much of them: a triangle as wide as a pixel of the coarser grid. */
function taps(from: number, to: number): readonly (readonly (readonly [at: number, part: number])[])[] {
  const ratio = from / to;
  const reach = Math.max(1, ratio);
  return Array.from({ length: to }, (_, i) => {
    const middle = (i + 0.5) * ratio - 0.5;
    const found: [number, number][] = [];
    for (let j = Math.ceil(middle - reach); j <= middle + reach; j++) {
      const part = 1 - Math.abs(j - middle) / reach;
      if (part > 0) found.push([Math.max(0, Math.min(from - 1, j)), part]);
    }
    const all = found.reduce((sum, [, part]) => sum + part, 0);
    return found.map(([j, part]) => [j, part / all] as const);
  });
}

/** Where an input of pictures has its channels: [batch, c, h, w] or [batch, h, w, c]. Sizes that are open are names. */
export interface PictureInput {
  readonly layout: "CHW" | "HWC";
  readonly channels: 1 | 3;
  readonly height: number | undefined;
  readonly width: number | undefined;
}

/** @throws ModelError where the shape is not that of pictures */
export function pictureInput(name: string, shape: readonly unknown[]): PictureInput {
  const channels = (size: unknown): size is 1 | 3 => size === 1 || size === 3;
  const size = (d: unknown) => (typeof d === "number" ? d : undefined);
  const [, a, b, c] = shape;
  if (shape.length === 4 && channels(a)) return { layout: "CHW", channels: a, height: size(b), width: size(c) };
  if (shape.length === 4 && channels(c)) return { layout: "HWC", channels: c, height: size(a), width: size(b) };
  throw new ModelError({
    where: `input "${name}"`,
    message: `its shape [${shape.map((d) => (typeof d === "number" ? d : "?"))}] is not that of pictures`,
    hint: "explain it by explainable and Explainer of the package wasmith, which take any input",
  });
}

/** The picture as the model's input, a batch of one. @throws ModelError where mean or std are not one for each channel */
export function asInput(
  { channels, height, width, data }: Planes,
  layout: PictureInput["layout"],
  { range: [black, white] = [0, 1], mean = [0], std = [1] }: PixelOptions,
): Tensor {
  for (const [option, list] of Object.entries({ mean, std }))
    if (list.length !== 1 && list.length !== channels)
      throw new ModelError({ where: `--${option}`, message: `expected 1 or ${channels} numbers, got ${list.length}` });
  const pixels = height * width;
  const out = new Float32Array(channels * pixels);
  for (let c = 0; c < channels; c++)
    for (let p = 0; p < pixels; p++) {
      const value = black + data[c * pixels + p]! * (white - black);
      const at = layout === "CHW" ? c * pixels + p : p * channels + c;
      out[at] = (value - (mean[c] ?? mean[0]!)) / (std[c] ?? std[0]!);
    }
  return tensor("f32", layout === "CHW" ? [1, channels, height, width] : [1, height, width, channels], out);
}

/** One value for each pixel: the sum over channels of values of the input's shape. */
export function perPixel({ shape, data }: Tensor, layout: PictureInput["layout"]): Planes {
  const [height, width, channels] = (layout === "CHW" ? [shape[2], shape[3], shape[1]] : shape.slice(1)) as [
    number,
    number,
    number,
  ];
  const pixels = height * width;
  const values = data as Float32Array;
  const out = Float32Array.from({ length: pixels }, (_, p) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += values[layout === "CHW" ? c * pixels + p : p * channels + c]!;
    return sum;
  });
  return { channels: 1, height, width, data: out };
}

const red = [230, 40, 30];
const blue = [30, 80, 230];
/** Pixels of a drawing's shorter side, at least. */
const leastSide = 256;

/**
 * A PNG of the picture in pale grey, and over it the map: red where a value is positive, blue where it is negative, as dense as it is
 * large. Dense is what 1 % of the values pass.
 */
export function overlay(picture: Planes, map: Planes): Uint8Array {
  const scale = Math.max(1, Math.ceil(leastSide / Math.min(picture.height, picture.width)));
  const [height, width] = [picture.height * scale, picture.width * scale];
  const under = resized(picture, height, width);
  const over = resized(map, height, width);
  const sizes = over.data.map(Math.abs).sort();
  const dense = sizes[Math.floor(0.99 * (sizes.length - 1))]! || sizes.at(-1)! || 1;
  const pixels = height * width;
  const data = new Uint8Array(pixels * 3);
  for (let p = 0; p < pixels; p++) {
    let grey = 0;
    for (let c = 0; c < under.channels; c++) grey += under.data[c * pixels + p]! / under.channels;
    const value = over.data[p]!;
    const share = Math.min(1, Math.abs(value) / dense);
    const colour = value > 0 ? red : blue;
    for (let c = 0; c < 3; c++) data[p * 3 + c] = Math.round((1 - share) * (110 + 145 * grey) + share * colour[c]!);
  }
  return encode({ width, height, data, channels: 3, depth: 8 });
}

/** Around matrices: a warm grey, since all that is in them is bluish. */
const frame = [190, 182, 168];
const gap = 8;
/** The largest weight; 0 is white. */
const largest = [16, 42, 120];

/**
 * A PNG of matrices [..., rows, columns], in as many rows as columns or one less: white is 0, the darkest the largest value of each, and
 * between them the square root of the share, so that weights that many share are seen beside one that is large.
 */
export function matrices({ shape, data }: Tensor): Uint8Array {
  const [rows, columns] = shape.slice(-2) as [number, number];
  const values = data as Float32Array;
  const count = values.length / (rows * columns);
  const across = Math.ceil(Math.sqrt(count));
  const down = Math.ceil(count / across);
  const scale = Math.max(1, Math.ceil(leastSide / Math.max(rows, columns)));
  const [high, wide] = [rows * scale, columns * scale];
  const [height, width] = [(high + gap) * down + gap, (wide + gap) * across + gap];
  const out = Uint8Array.from({ length: height * width * 3 }, (_, i) => frame[i % 3]!);
  for (let m = 0; m < count; m++) {
    const matrix = values.subarray(m * rows * columns, (m + 1) * rows * columns);
    const most = matrix.reduce((a, b) => Math.max(a, b), 0) || 1;
    const [top, left] = [gap + Math.floor(m / across) * (high + gap), gap + (m % across) * (wide + gap)];
    for (let y = 0; y < high; y++)
      for (let x = 0; x < wide; x++) {
        const value = matrix[Math.floor(y / scale) * columns + Math.floor(x / scale)]!;
        const share = Math.sqrt(Math.max(0, value) / most);
        for (let c = 0; c < 3; c++)
          out[((top + y) * width + left + x) * 3 + c] = Math.round(255 + share * (largest[c]! - 255));
      }
  }
  return encode({ width, height, data: out, channels: 3, depth: 8 });
}

/** [1, c, h, w], [1, h, w, c] and so on: 1, 3 or 4 channels. @throws ModelError where the shape is not that of a picture */
export function encodePng(name: string, t: Tensor, range: PixelOptions["range"]): Uint8Array {
  const shape = [...t.shape];
  while (shape.length > 2 && shape[0] === 1) shape.shift();
  const isChannels = (n: number | undefined) => n === 1 || n === 3 || n === 4;
  const flat = shape.length === 2;
  const first = flat || (shape.length === 3 && isChannels(shape[0]));
  const [channels, height, width] = flat ? [1, ...shape] : first ? shape : [shape[2], shape[0], shape[1]];
  if (!flat && (shape.length !== 3 || !isChannels(channels)))
    throw new ModelError({
      where: `output "${name}"`,
      message: `its shape [${t.shape}] is not that of a picture`,
      hint: "write an .npy file",
    });
  const [c, h, w] = [channels!, height!, width!];
  const [black, white] = range ?? (t.dtype === "u8" ? [0, 255] : [0, 1]);
  const data = new Uint8Array(c * h * w);
  for (let p = 0; p < h * w; p++)
    for (let k = 0; k < c; k++) {
      const value = (255 * (element(t, first ? k * h * w + p : p * c + k) - black)) / (white - black);
      data[p * c + k] = Math.max(0, Math.min(255, Math.round(value)));
    }
  return encode({ width: w, height: h, data, channels: c, depth: 8 });
}
