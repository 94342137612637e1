/** Handwritten digits, 10,000 to learn from and 5,000 to be measured on; see digits/README.md. */

import { dataset, readIdx } from "wasmith/data";

export type Part = "train" | "test";

const read = (part: Part, what: string) => readIdx(new URL(`./digits/${part}-${what}.gz`, import.meta.url));

/** Bytes of all pictures, 28×28 each, and the digits they show. */
export async function digitBytes(part: Part) {
  const [images, labels] = await Promise.all([read(part, "images.idx3"), read(part, "labels.idx1")]);
  return { count: images.shape[0]!, pixels: images.data as Uint8Array, labels };
}

/** Pictures `x` [1, 28 + 2·margin, …] in u8, with 0 around, and digits `y`. */
export async function digits(part: Part, { margin = 0 }: { readonly margin?: number } = {}) {
  const { count, pixels, labels: y } = await digitBytes(part);
  const side = 28 + 2 * margin;
  const data = new Uint8Array(count * side * side);
  for (let row = 0; row < count * 28; row++)
    data.set(
      pixels.subarray(row * 28, row * 28 + 28),
      Math.floor(row / 28) * side * side + ((row % 28) + margin) * side + margin,
    );
  return dataset({ x: { dtype: "u8", shape: [count, 1, side, side], data }, y });
}

/** Pictures as rows `x` [count, 784] of values in [0, 1]. */
export const flat = ({ count, pixels }: { readonly count: number; readonly pixels: Uint8Array }) => ({
  x: { dtype: "f32" as const, shape: [count, 784], data: Float32Array.from(pixels, (p) => p / 255) },
});

/** The pictures alone, as rows. */
export const flatDigits = async (part: Part) => flat(await digitBytes(part));

/** Rows of pixels `x` [784] from 0 to 1, and digits `y` in i32. */
export async function digitRows(part: Part) {
  const bytes = await digitBytes(part);
  return dataset({ ...flat(bytes), y: Int32Array.from(bytes.labels.data as Uint8Array) });
}

/** Pictures `x` [1, 16, 16] from -1 (black) to 1 (white), and digits `y`: each pixel is the mean of four, 2 of black lie around the whole. */
export async function smallDigits(part: Part) {
  const { count, pixels, labels } = await digitBytes(part);
  const data = new Float32Array(count * 256).fill(-1);
  for (let i = 0; i < count * 784; i++) {
    const [picture, y, x] = [Math.floor(i / 784), Math.floor((i % 784) / 28), i % 28];
    data[picture * 256 + ((y + 2) >> 1) * 16 + ((x + 2) >> 1)]! += pixels[i]! / 127.5 / 4;
  }
  return {
    x: { dtype: "f32" as const, shape: [count, 1, 16, 16], data },
    y: Int32Array.from(labels.data as Uint8Array),
  };
}
