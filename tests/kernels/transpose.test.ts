import { describe, it } from "vitest";
import { mostFew, type TransposeSpec, transpose } from "../../compiler/kernels/transpose.js";
import type { Elem } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { Arena } from "./run.js";

interface Case {
  readonly elem: Elem;
  readonly rows: number;
  readonly columns: number;
  /** Elements between rows of x and of y beyond what they hold. */
  readonly gaps?: readonly [number, number];
  readonly outer?: readonly number[];
  readonly band?: number;
  readonly perChunk?: number;
  readonly few?: TransposeSpec["few"];
}

/** Moves numbered elements, chunks in reverse order, and compares byte by byte; what lies between rows must stay. */
function check({ elem, rows, columns, gaps = [0, 0], outer = [], band = 8, perChunk = 1, few }: Case): void {
  const bytes = elemBytes[elem];
  const [xRow, yRow] = [columns + gaps[0], rows + gaps[1]];
  // Matrices lie one after another in x, and in the opposite order of their loops in y.
  const matrices = outer.reduce((p, n) => p * n, 1);
  const xSteps = outer.map((_, k) => outer.slice(k + 1).reduce((p, n) => p * n, rows * xRow));
  const ySteps = outer.map((_, k) => outer.slice(0, k).reduce((p, n) => p * n, columns * yRow));
  const arena = new Arena(16);
  const x = arena.alloc(Uint8Array, matrices * rows * xRow * bytes, bytes);
  const y = arena.alloc(Uint8Array, matrices * columns * yRow * bytes, bytes);
  x.forEach((_, i) => {
    x[i] = (Math.floor(i / bytes) * (2 * (i % bytes) + 37)) % 251;
  });
  const want = y.slice();
  for (let matrix = 0; matrix < matrices; matrix++) {
    let left = matrix;
    let [xAt, yAt] = [0, 0];
    for (let k = outer.length - 1; k >= 0; k--) {
      xAt += (left % outer[k]!) * xSteps[k]!;
      yAt += (left % outer[k]!) * ySteps[k]!;
      left = Math.floor(left / outer[k]!);
    }
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) {
        const at = (xAt + r * xRow + c) * bytes;
        want.set(x.subarray(at, at + bytes), (yAt + c * yRow + r) * bytes);
      }
  }
  const kernel = transpose({ elem, outer: outer.length, ...(few && { few }) });
  const bands = Math.max(1, Math.floor((few?.axis === "columns" ? rows : columns) / band));
  const units = matrices * bands;
  const run = arena.instantiate(kernel);
  const loops = outer.flatMap((n, k) => [n, xSteps[k]!, ySteps[k]!]);
  for (let chunk = Math.ceil(units / perChunk) - 1; chunk >= 0; chunk--)
    run(chunk, chunk + 1, x, y, rows, columns, xRow, yRow, band, bands, units, perChunk, ...loops);
  arena.checkGuards();
  const wrong = want.findIndex((b, i) => y[i] !== b);
  if (wrong >= 0)
    throw new Error(`${kernel.fn.name} ${rows}×${columns}: byte ${wrong} is ${y[wrong]}, not ${want[wrong]}`);
}

const elems: readonly Elem[] = ["u8", "i16", "f32", "i64"];

describe("transpose", () => {
  it("sizes around blocks and lines", () => {
    for (const elem of elems)
      for (const rows of [1, 2, 3, 4, 7, 8, 9, 17, 65])
        for (const columns of [1, 2, 3, 5, 8, 9, 16, 21]) check({ elem, rows, columns });
  });

  it("rows that are further apart, loops around matrices, units in chunks", () => {
    for (const elem of elems) {
      check({ elem, rows: 9, columns: 13, gaps: [3, 5] });
      check({ elem, rows: 5, columns: 40, outer: [3], band: 16, perChunk: 2 });
      check({ elem, rows: 11, columns: 10, gaps: [1, 2], outer: [2, 3], perChunk: 4 });
      check({ elem, rows: 4, columns: 8, outer: [2, 1, 3, 2], perChunk: 5 });
    }
  });

  it("few rows or columns", () => {
    for (const elem of elems)
      for (let count = 2; count <= mostFew[elemBytes[elem]]!; count++)
        for (const long of [1, 3, 4, 15, 16, 17, 50]) {
          check({ elem, rows: long, columns: count, outer: [2], band: 16, few: { axis: "columns", count } });
          check({ elem, rows: count, columns: long, outer: [2], band: 16, few: { axis: "rows", count } });
        }
  });
});
