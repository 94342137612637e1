/** What changes values: brightness, contrast, saturation, hue; scaling and normalising. */
import { modelError } from "../../errors.js";
import {
  aNumber,
  type Checks,
  checkArgument,
  checkOptions,
  either,
  listOf,
  notNegative,
  positive,
} from "../options.js";
import type { Random } from "../random.js";
import { emptyImage, type Image, type ImageOp, storer, stridesOf, whiteOf } from "./image.js";

export interface ColorOptions {
  /** Each factor is drawn from [1 − b, 1 + b]. Default 0. */
  readonly brightness?: number | undefined;
  readonly contrast?: number | undefined;
  readonly saturation?: number | undefined;
  /** The hue turns by up to this share of the circle either way, at most 0.5. Default 0. */
  readonly hue?: number | undefined;
}
const colorChecks: Checks<ColorOptions> = {
  brightness: notNegative,
  contrast: notNegative,
  saturation: notNegative,
  hue: { expected: "a number from 0 to 0.5", fits: (v) => typeof v === "number" && v >= 0 && v <= 0.5 },
};

/** Weights of red, green and blue in brightness (ITU-R BT.601). */
export const luma: readonly [number, number, number] = [0.299, 0.587, 0.114];

/**
 * Changes the colours at random as torchvision's `ColorJitter` does, in the order brightness, contrast, saturation, hue. Floats are taken
 * to go from 0 to 1. Grey images have no saturation and hue to change.
 */
export function color(options: ColorOptions): ImageOp {
  checkOptions("color", options, colorChecks);
  const { brightness = 0, contrast = 0, saturation = 0, hue = 0 } = options;
  const factor = (random: Random, by: number): number => random.between(Math.max(0, 1 - by), 1 + by);
  return (image, random) => {
    if (image.channels !== 1 && image.channels !== 3)
      throw modelError("color", `expected an image of 1 or 3 channels, got ${image.channels}`);
    let out = image;
    // Drawn also where nothing changes, so that one option does not change what the others draw.
    const [b, c, s, h] = [
      factor(random, brightness),
      factor(random, contrast),
      factor(random, saturation),
      random.between(-hue, hue),
    ];
    if (brightness > 0) out = eachPixel(out, (p) => p.map((v) => v * b));
    if (contrast > 0) {
      const mean = meanOf(out);
      out = eachPixel(out, (p) => p.map((v) => mean + (v - mean) * c));
    }
    if (saturation > 0 && image.channels === 3)
      out = eachPixel(out, (p) => {
        const grey = greyOf(p);
        return p.map((v) => grey + (v - grey) * s);
      });
    if (hue > 0 && image.channels === 3) out = eachPixel(out, (p) => turnHue(p, h));
    return out;
  };
}

const greyOf = (p: readonly number[]): number =>
  p.length === 1 ? p[0]! : luma[0] * p[0]! + luma[1] * p[1]! + luma[2] * p[2]!;

/** Values from 0 to 1 in and out; what leaves that range is cut. */
function eachPixel(image: Image, change: (pixel: number[]) => number[]): Image {
  const out = emptyImage(image, image.height, image.width);
  const [sc, sr, sx] = stridesOf(image);
  const white = whiteOf(image);
  const store = storer(out);
  const pixel = new Array<number>(image.channels);
  for (let y = 0; y < image.height; y++)
    for (let x = 0; x < image.width; x++) {
      const at = y * sr + x * sx;
      for (let c = 0; c < image.channels; c++) pixel[c] = image.data[at + c * sc]! / white;
      const changed = change(pixel);
      for (let c = 0; c < image.channels; c++)
        out.data[at + c * sc] = store(Math.max(0, Math.min(1, changed[c]!)) * white);
    }
  return out;
}

function meanOf(image: Image): number {
  let sum = 0;
  const [sc, sr, sx] = stridesOf(image);
  const pixel = new Array<number>(image.channels);
  for (let y = 0; y < image.height; y++)
    for (let x = 0; x < image.width; x++) {
      for (let c = 0; c < image.channels; c++) pixel[c] = image.data[y * sr + x * sx + c * sc]!;
      sum += greyOf(pixel);
    }
  return sum / (image.height * image.width) / whiteOf(image);
}

/** Through hue, saturation and value (Smith 1978). @param by share of the circle */
function turnHue(rgb: readonly number[], by: number): number[] {
  const value = Math.max(...rgb);
  const range = value - Math.min(...rgb);
  if (range === 0) return [...rgb];
  const [r, g, b] = rgb as [number, number, number];
  const sector = value === r ? (g - b) / range : value === g ? 2 + (b - r) / range : 4 + (r - g) / range;
  const turned = (((sector + 6 * by) % 6) + 6) % 6;
  return [5, 3, 1].map((n) => {
    const k = (n + turned) % 6;
    return value - range * Math.max(0, Math.min(k, 4 - k, 1));
  });
}

export interface NormalizeOptions {
  /** Of all channels, or of each. Values of integers are divided by white first, so that they go from 0 to 1. Default 0 and 1. */
  readonly mean?: number | readonly number[] | undefined;
  readonly std?: number | readonly number[] | undefined;
}
const normalizeChecks: Checks<NormalizeOptions> = {
  mean: either(aNumber, listOf(aNumber)),
  std: either(positive, listOf(positive)),
};

/** Floats (value − mean) / std; integers come from 0 to 1 first, as torchvision's `ToTensor` and `Normalize` do. */
export function normalize(options: NormalizeOptions = {}): ImageOp {
  checkOptions("normalize", options, normalizeChecks);
  const { mean = 0, std = 1 } = options;
  return (image) => {
    const of = (values: number | readonly number[], what: string): readonly number[] => {
      const list = typeof values === "number" ? Array<number>(image.channels).fill(values) : values;
      if (list.length === image.channels) return list;
      throw modelError(`option ${what}`, `${list.length} values for ${image.channels} channels`);
    };
    const [means, stds] = [of(mean, "mean"), of(std, "std")];
    const out = emptyImage(image, image.height, image.width, image.dtype === "f64" ? "f64" : "f32");
    const white = whiteOf(image);
    const { data: from, channels } = image;
    const { data: to } = out;
    const pixels = image.height * image.width;
    const [apart, step] = image.layout === "CHW" ? [pixels, 1] : [1, channels];
    for (let c = 0; c < channels; c++) {
      const [m, s] = [means[c]!, stds[c]!];
      for (let i = 0, at = c * apart; i < pixels; i++, at += step) to[at] = (from[at]! / white - m) / s;
    }
    return out;
  };
}

/** Applies what follows with this probability. */
export function maybe(probability: number, ...ops: readonly ImageOp[]): ImageOp {
  checkArgument("maybe", "the probability", probability, {
    expected: "a number from 0 to 1",
    fits: (v) => typeof v === "number" && v >= 0 && v <= 1,
  });
  return (image, random) => (random.chance(probability) ? ops.reduce((i, op) => op(i, random), image) : image);
}
