/** Handwritten digits of other people, scanned at 8×8; see digits-8x8/README.md. */

import { readCsv } from "wasmith/data";

const side = 28;
/** A digit is 20×20, in the middle. */
const enlarged = 20;
const margin = (side - enlarged) / 2;

/** Rows and weights of two neighbours: bilinear, by the centres of pixels. */
const places = Array.from({ length: enlarged }, (_, i) => {
  const at = Math.min(7, Math.max(0, ((i + 0.5) * 8) / enlarged - 0.5));
  const low = Math.min(6, Math.floor(at));
  return { low, share: at - low };
});

/**
 * The first 1,437 digits are to learn from, the others to be measured on: `x` [count, 1, 28, 28] from 0 to 1, and the digits `y`. Of those to
 * learn from, `every` one of so many, so that few are of as many people as all.
 */
export async function scannedDigits(part: "train" | "test", { every = 1 }: { readonly every?: number } = {}) {
  const table = await readCsv(new URL("./digits-8x8/digits.csv.gz", import.meta.url), { header: false });
  const rows = part === "train" ? table.slice(0, 1437).filter((_, i) => i % every === 0) : table.slice(1437);
  const data = new Float32Array(rows.length * side * side);
  for (const [n, row] of rows.entries()) {
    const at = (y: number, x: number) => Number(row[8 * y + x]) / 16;
    for (const [i, { low: y, share: down }] of places.entries())
      for (const [j, { low: x, share: across }] of places.entries())
        data[n * side * side + (i + margin) * side + j + margin] =
          (1 - down) * ((1 - across) * at(y, x) + across * at(y, x + 1)) +
          down * ((1 - across) * at(y + 1, x) + across * at(y + 1, x + 1));
  }
  return {
    x: { dtype: "f32" as const, shape: [rows.length, 1, side, side], data },
    y: Int32Array.from(rows, (row) => Number(row[64])),
  };
}
