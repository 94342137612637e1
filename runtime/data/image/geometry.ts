/** What moves pixels: crop, flip, shift, rotate, resize. */
import { modelError } from "../../errors.js";
import {
  aCount,
  aNumber,
  aShare,
  aSize,
  type Checks,
  checkArgument,
  checkOptions,
  either,
  listOf,
  notNegative,
} from "../options.js";
import { emptyImage, type Image, type ImageOp, storer, stridesOf } from "./image.js";

/** Height and width, or both in one number. */
export type Size = number | readonly [height: number, width: number];
const aSizePair = either(aCount, listOf(aCount, 2));
const pairOf = (size: Size): readonly [number, number] => (typeof size === "number" ? [size, size] : size);

/** Takes each pixel from a whole place of the image, or fills it. */
function movePixels(
  image: Image,
  height: number,
  width: number,
  top: number,
  left: number,
  mirror: Mirror,
  fill: number,
): Image {
  const out = emptyImage(image, height, width);
  if (fill !== 0) out.data.fill(fill);
  // Lines of elements that lie together: a row of one channel, or of all of them.
  const { layout, channels } = image;
  const [planes, cells] = layout === "CHW" ? [channels, 1] : [1, channels];
  // Columns of the result that the image has.
  const [begin, end] = [Math.max(0, -left), Math.min(width, image.width - left)];
  if (begin >= end) return out;
  for (let p = 0; p < planes; p++) {
    for (let y = Math.max(0, -top); y < Math.min(height, image.height - top); y++) {
      const fromY = mirror.rows ? image.height - 1 - (top + y) : top + y;
      const from = (p * image.height + fromY) * image.width * cells;
      const to = (p * height + y) * width * cells;
      if (!mirror.columns) {
        const line = image.data.subarray(from + (left + begin) * cells, from + (left + end) * cells);
        out.data.set(line, to + begin * cells);
        continue;
      }
      for (let x = begin; x < end; x++) {
        const fromX = image.width - 1 - (left + x);
        for (let c = 0; c < cells; c++) out.data[to + x * cells + c] = image.data[from + fromX * cells + c]!;
      }
    }
  }
  return out;
}
interface Mirror {
  readonly rows: boolean;
  readonly columns: boolean;
}
const straight: Mirror = { rows: false, columns: false };

export interface CropOptions {
  /** Pixels that are put around the image before. Default 0. */
  readonly padding?: number | undefined;
  /** Their value. Default 0. */
  readonly fill?: number | undefined;
}
const cropChecks: Checks<CropOptions> = { padding: aSize, fill: aNumber };

/** A part of this size from a random place. */
export function crop(size: Size, options: CropOptions = {}): ImageOp {
  checkArgument("crop", "the size", size, aSizePair);
  checkOptions("crop", options, cropChecks);
  const [height, width] = pairOf(size);
  const { padding = 0, fill = 0 } = options;
  return (image, random) => {
    const [freeY, freeX] = [image.height + 2 * padding - height, image.width + 2 * padding - width];
    fits("crop", image, height, width, freeY >= 0 && freeX >= 0);
    const top = random.integer(freeY + 1) - padding;
    return movePixels(image, height, width, top, random.integer(freeX + 1) - padding, straight, fill);
  };
}

/** The part of this size in the middle. */
export function centerCrop(size: Size): ImageOp {
  checkArgument("centerCrop", "the size", size, aSizePair);
  const [height, width] = pairOf(size);
  return (image) => {
    fits("centerCrop", image, height, width, image.height >= height && image.width >= width);
    const [top, left] = [Math.round((image.height - height) / 2), Math.round((image.width - width) / 2)];
    return movePixels(image, height, width, top, left, straight, 0);
  };
}

function fits(what: string, image: Image, height: number, width: number, does: boolean): void {
  if (does) return;
  const message = `${height}×${width} is more than the image's ${image.height}×${image.width}`;
  throw modelError(what, message, "resize it before, or pad: crop(size, { padding })");
}

export interface FlipOptions {
  /** Probability that left and right change places. Default 0.5. */
  readonly horizontal?: number | undefined;
  /** Probability that top and bottom do. Default 0. */
  readonly vertical?: number | undefined;
}
const flipChecks: Checks<FlipOptions> = { horizontal: aShare, vertical: aShare };

export function flip(options: FlipOptions = {}): ImageOp {
  checkOptions("flip", options, flipChecks);
  const { horizontal = 0.5, vertical = 0 } = options;
  return (image, random) => {
    const mirror = { columns: random.chance(horizontal), rows: random.chance(vertical) };
    return mirror.columns || mirror.rows ? movePixels(image, image.height, image.width, 0, 0, mirror, 0) : image;
  };
}

export interface ShiftOptions {
  /** Furthest ways in whole pixels, or as shares of the size where they are below 1. Default 0. */
  readonly x?: number | undefined;
  readonly y?: number | undefined;
  /** The value of what comes in. Default 0. */
  readonly fill?: number | undefined;
}
const shiftChecks: Checks<ShiftOptions> = { x: notNegative, y: notNegative, fill: aNumber };

/** Moves the image by a random number of whole pixels. */
export function shift(options: ShiftOptions): ImageOp {
  checkOptions("shift", options, shiftChecks);
  const { x = 0, y = 0, fill = 0 } = options;
  const way = (most: number, size: number): number => Math.floor(most < 1 ? most * size : most);
  return (image, random) => {
    const [mostY, mostX] = [way(y, image.height), way(x, image.width)];
    const top = random.integer(2 * mostY + 1) - mostY;
    return movePixels(image, image.height, image.width, top, random.integer(2 * mostX + 1) - mostX, straight, fill);
  };
}

export interface RotateOptions {
  /** The value of what comes in at the corners. Default 0. */
  readonly fill?: number | undefined;
}
const rotateChecks: Checks<RotateOptions> = { fill: aNumber };

/** Turns the image around its middle by up to so many degrees either way, bilinear. */
export function rotate(degrees: number, options: RotateOptions = {}): ImageOp {
  checkArgument("rotate", "the degrees", degrees, notNegative);
  checkOptions("rotate", options, rotateChecks);
  const { fill = 0 } = options;
  return (image, random) => {
    const angle = (random.between(-degrees, degrees) * Math.PI) / 180;
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const [middleY, middleX] = [(image.height - 1) / 2, (image.width - 1) / 2];
    const row = { y: cos, x: -sin, start: middleY - cos * middleY + sin * middleX };
    const column = { y: sin, x: cos, start: middleX - sin * middleY - cos * middleX };
    return sample(image, image.height, image.width, row, column, fill);
  };
}

/** To this size, bilinear, with the edges of both where they are (as PyTorch's `interpolate` with `align_corners=False`). */
export function resize(size: Size): ImageOp {
  checkArgument("resize", "the size", size, aSizePair);
  const [height, width] = pairOf(size);
  return (image) => {
    const [ry, rx] = [image.height / height, image.width / width];
    const row = { y: ry, x: 0, start: 0.5 * ry - 0.5 };
    const column = { y: 0, x: rx, start: 0.5 * rx - 0.5 };
    return sample(image, height, width, row, column, null);
  };
}

/** A coordinate of the image, from those of a pixel of the result. */
interface Linear {
  readonly y: number;
  readonly x: number;
  readonly start: number;
}

/** Takes each pixel from between four of the image. @param fill what lies outside; null: what is nearest */
function sample(image: Image, height: number, width: number, row: Linear, column: Linear, fill: number | null): Image {
  const out = emptyImage(image, height, width);
  const store = storer(out);
  const { data, channels } = image;
  const [bottom, right] = [image.height - 1, image.width - 1];
  const [sc, sr, sx] = stridesOf(image);
  const [dc, dr, dx] = stridesOf(out);
  const around = fill ?? 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let atY = row.y * y + row.x * x + row.start;
      let atX = column.y * y + column.x * x + column.start;
      if (fill === null) {
        atY = Math.max(0, Math.min(bottom, atY));
        atX = Math.max(0, Math.min(right, atX));
      }
      const y0 = Math.floor(atY);
      const x0 = Math.floor(atX);
      const wy = atY - y0;
      const wx = atX - x0;
      const isTop = y0 >= 0 && y0 <= bottom;
      const isBottom = y0 >= -1 && y0 < bottom;
      const isLeft = x0 >= 0 && x0 <= right;
      const isRight = x0 >= -1 && x0 < right;
      const from = y0 * sr + x0 * sx;
      for (let c = 0; c < channels; c++) {
        const at = from + c * sc;
        // A weight of 0 takes no part, so that infinities and NaN do not spread.
        let value = isTop && isLeft ? data[at]! : around;
        if (wx !== 0) value = value * (1 - wx) + (isTop && isRight ? data[at + sx]! : around) * wx;
        if (wy !== 0) {
          let below = isBottom && isLeft ? data[at + sr]! : around;
          if (wx !== 0) below = below * (1 - wx) + (isBottom && isRight ? data[at + sr + sx]! : around) * wx;
          value = value * (1 - wy) + below * wy;
        }
        out.data[c * dc + y * dr + x * dx] = store(value);
      }
    }
  }
  return out;
}
