/** Pictures of what a model makes, as PNG files. */

import { encode } from "fast-png";

export interface GridOptions {
  /** Height and width of a picture, in its pixels. */
  readonly size: readonly [height: number, width: number];
  /** Values of a pixel: 1 grey, 3 red, green and blue, one plane after the other. Default 1. */
  readonly channels?: 1 | 3;
  /** Pictures side by side. */
  readonly columns: number;
  /** How many pixels of the file stand for one, in each direction. Default 2. */
  readonly scale?: number;
  /** What stands for black and for white. Default [0, 1]. */
  readonly range?: readonly [black: number, white: number];
}

/** Pictures in a grid, a pixel apart. @param pixels of all, [count, channels, height, width] */
export function grid(
  pixels: ArrayLike<number>,
  { size: [height, width], channels = 1, columns, scale = 2, range: [black, white] = [0, 1] }: GridOptions,
): Uint8Array {
  const count = pixels.length / (channels * height * width);
  const rows = Math.ceil(count / columns);
  const [h, w] = [rows * (height + 1) - 1, columns * (width + 1) - 1].map((n) => n * scale) as [number, number];
  const data = new Uint8Array(h * w * channels).fill(255);
  const byte = (v: number) => Math.round(Math.min(1, Math.max(0, (v - black) / (white - black))) * 255);
  for (let i = 0; i < count; i++) {
    const [top, left] = [Math.floor(i / columns) * (height + 1), (i % columns) * (width + 1)];
    for (let y = 0; y < height * scale; y++)
      for (let x = 0; x < width * scale; x++)
        for (let c = 0; c < channels; c++) {
          const from = ((i * channels + c) * height + Math.floor(y / scale)) * width + Math.floor(x / scale);
          data[((top * scale + y) * w + left * scale + x) * channels + c] = byte(pixels[from]!);
        }
  }
  return encode({ width: w, height: h, data, channels, depth: 8 });
}

/** A PNG file as an address, for documents that hold their pictures. */
export const embedded = (png: Uint8Array): string => `data:image/png;base64,${Buffer.from(png).toString("base64")}`;
