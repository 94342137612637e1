/** Augmentation of elements (`augment`) and of batches (`mixup`, `cutmix`), for `map` with a seed. */
import { describe, modelError } from "../../errors.js";
import { arrayTypes, type DType } from "../../format.js";
import { sizeOf, type Tensor } from "../../tensor.js";
import {
  aCount,
  aFunction,
  aString,
  type Checks,
  checkArgument,
  checkOptions,
  isRecord,
  oneOf,
  positive,
} from "../options.js";
import type { Random } from "../random.js";
import { isTensor } from "../roots.js";
import type { ElementContext } from "../transforms.js";
import { type ImageOp, imageOf, type Layout, tensorOf } from "./image.js";

export interface AugmentOptions {
  /** How the image lies in memory. Default "CHW": [channels, height, width]. */
  readonly layout?: Layout | undefined;
}
const augmentChecks: Checks<AugmentOptions> = { layout: oneOf("CHW", "HWC") };

type Fields = Readonly<Record<string, unknown>>;

/**
 * A function for `map` that changes the image of a field: `map(augment("x", [flip(), rotate(10)]), { seed: 1 })`. What is random is drawn
 * for each element and epoch. Images are [C, H, W], [H, W, C] or [H, W] of u8, u16 or floats, and keep their dtype but for `normalize`.
 */
export function augment(
  field: string,
  ops: readonly ImageOp[],
  options: AugmentOptions = {},
): <T>(element: T, context: ElementContext) => T {
  checkArgument("augment", "the field", field, aString);
  checkArgument("augment", "the list", ops, {
    expected: "a list of what to do",
    fits: (v) => Array.isArray(v) && v.every(aFunction.fits),
  });
  checkOptions("augment", options, augmentChecks);
  const { layout = "CHW" } = options;
  return (element, context) => {
    const value = fieldOf(element, field);
    const image = imageOf(`field "${field}"`, value, layout);
    // Asked for by those only that draw: the others need no seed.
    const random = lazily(context);
    const done = ops.reduce((i, op) => op(i, random), image);
    return { ...element, [field]: tensorOf(done, (value as Tensor).shape.length === 2) };
  };
}

function lazily(context: ElementContext): Random {
  return new Proxy({} as Random, {
    get(_, name) {
      const { random } = context;
      const value = random[name as keyof Random] as unknown;
      return typeof value === "function" ? value.bind(random) : value;
    },
  });
}

function fieldOf(element: unknown, field: string): unknown {
  if (isRecord(element) && Object.hasOwn(element, field)) return element[field];
  const fields = isRecord(element) ? `its fields are: ${Object.keys(element).join(", ")}` : "elements are records";
  throw modelError("augment", `the element has no field "${field}"`, fields);
}

export interface MixOptions {
  /** Field with the images of the batch [n, …]; for cutmix [n, …, height, width] or with `layout` HWC [n, height, width, c]. */
  readonly images: string;
  /** Field with the labels: classes (integers, [n]), or a probability for each class ([n, classes]). */
  readonly labels: string;
  /** How many classes there are, where labels are integers. */
  readonly classes?: number | undefined;
  /** Shapes of the beta distribution that the share is drawn from. Default 1: uniform. */
  readonly alpha?: number | undefined;
  readonly layout?: Layout | undefined;
}
const mixChecks: Checks<MixOptions> = {
  images: aString,
  labels: aString,
  classes: aCount,
  alpha: positive,
  layout: oneOf("CHW", "HWC"),
};

/**
 * A function for `map` of batches: each image becomes a mean of itself and another one of the batch, weighted by a share, and its label
 * likewise (Zhang et al. 2018, arXiv 1710.09412). Labels come out as f32 [n, classes].
 */
export function mixup(options: MixOptions): <B>(batch: B, context: ElementContext) => B {
  checkOptions("mixup", options, mixChecks);
  return (batch, { random }) => {
    const { images, n } = imagesOf("mixup", batch, options);
    if (images.dtype !== "f32" && images.dtype !== "f64")
      throw modelError(
        `field "${options.images}"`,
        `a mean of ${images.dtype} would round`,
        "normalize the images before",
      );
    const { alpha = 1 } = options;
    const share = random.beta(alpha, alpha);
    const partner = partners(n, random);
    const row = images.data.length / n;
    const data = new arrayTypes[images.dtype](images.data.length) as Float32Array;
    const from = images.data as Float32Array;
    for (let i = 0; i < n; i++)
      for (let j = 0; j < row; j++)
        data[i * row + j] = share * from[i * row + j]! + (1 - share) * from[partner[i]! * row + j]!;
    return withMixed(batch, options, { ...images, data } as Tensor, n, partner, share);
  };
}

/**
 * A function for `map` of batches: a rectangle of each image comes from another one of the batch, and the label in the share of its area
 * (Yun et al. 2019, arXiv 1905.04899). Labels come out as f32 [n, classes].
 */
export function cutmix(options: MixOptions): <B>(batch: B, context: ElementContext) => B {
  checkOptions("cutmix", options, mixChecks);
  return (batch, { random }) => {
    const { images, n } = imagesOf("cutmix", batch, options);
    const { alpha = 1, layout = "CHW" } = options;
    const rank = images.shape.length;
    if (rank < 3)
      throw modelError(`field "${options.images}"`, `expected images with height and width, got [${images.shape}]`);
    const axis = layout === "HWC" && rank === 4 ? 1 : rank - 2;
    const [height, width] = [images.shape[axis]!, images.shape[axis + 1]!];
    const cut = Math.sqrt(1 - random.beta(alpha, alpha));
    const [middleY, middleX] = [random.integer(height), random.integer(width)];
    const range = (middle: number, size: number): readonly [number, number] => {
      const half = Math.floor(Math.round(size * cut) / 2);
      return [Math.max(0, middle - half), Math.min(size, middle + half)];
    };
    const [[y0, y1], [x0, x1]] = [range(middleY, height), range(middleX, width)];
    const partner = partners(n, random);
    const data = new arrayTypes[images.dtype](images.data as never) as Float32Array;
    const from = images.data as Float32Array;
    const inner = sizeOf(images.shape.slice(axis + 2));
    const outer = sizeOf(images.shape.slice(1, axis));
    const row = images.data.length / n;
    for (let i = 0; i < n; i++)
      for (let o = 0; o < outer; o++)
        for (let y = y0; y < y1; y++) {
          const at = (o * height + y) * width * inner;
          const source = partner[i]! * row + at;
          data.set(from.subarray(source + x0 * inner, source + x1 * inner), i * row + at + x0 * inner);
        }
    const share = 1 - ((y1 - y0) * (x1 - x0)) / (height * width);
    return withMixed(batch, options, { ...images, data } as Tensor, n, partner, share);
  };
}

function partners(n: number, random: Random): readonly number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

function imagesOf(
  what: string,
  batch: unknown,
  { images }: MixOptions,
): { readonly images: Tensor; readonly n: number } {
  const value = isRecord(batch) && Object.hasOwn(batch, images) ? batch[images] : undefined;
  if (!isTensor(value) || value.shape.length === 0)
    throw modelError(
      what,
      `field "${images}": expected the images of a batch, got ${describe(value)}`,
      "map it behind .batch",
    );
  return { images: value, n: value.shape[0]! };
}

function withMixed<B>(
  batch: B,
  options: MixOptions,
  images: Tensor,
  n: number,
  partner: readonly number[],
  share: number,
): B {
  const probabilities = probabilitiesOf((batch as Fields)[options.labels], options, n);
  const classes = probabilities.shape[1]!;
  const from = probabilities.data as Float32Array;
  const data = Float32Array.from(from, (p, at) => {
    const [i, c] = [Math.floor(at / classes), at % classes];
    return share * p + (1 - share) * from[partner[i]! * classes + c]!;
  });
  const labels: Tensor = { dtype: "f32", shape: [n, classes], data };
  return { ...batch, [options.images]: images, [options.labels]: labels };
}

const isFloat = (dtype: DType): boolean => dtype === "f32" || dtype === "f64";

function probabilitiesOf(value: unknown, { labels, classes }: MixOptions, n: number): Tensor {
  const where = `field "${labels}"`;
  if (!isTensor(value) || value.shape[0] !== n)
    throw modelError(where, `expected the ${n} labels of the batch, got ${describe(value)}`);
  if (value.shape.length === 2 && isFloat(value.dtype))
    return { dtype: "f32", shape: value.shape, data: Float32Array.from(value.data as Float32Array) };
  if (value.shape.length !== 1) throw modelError(where, `expected [n] or [n, classes], got [${value.shape}]`);
  if (classes === undefined) throw modelError("option classes", "it is missing", "labels that are integers need it");
  const data = new Float32Array(n * classes);
  for (let i = 0; i < n; i++) {
    const c = Number(value.data[i]);
    if (!Number.isInteger(c) || c < 0 || c >= classes)
      throw modelError(where, `${c} is no class from 0 to ${classes - 1}`);
    data[i * classes + c] = 1;
  }
  return { dtype: "f32", shape: [n, classes], data };
}
