/**
 * Products of bytes by weights of bytes, four neighbours along K at once, on engines that have an exact instruction for them: x64 with VNNI reads
 * A without its sign, ARM with it. Elsewhere, and on the baseline, the same kernel multiplies pairs of i16 (gemm.ts); the integers are the same.
 *
 *   A[m, k] − low in 0 … 255        becomes the byte A − shift, shift = low or low + 128, so that the engine reads what was meant
 *   Σ_k A · B = Σ_k (A − shift) · B + shift · Σ_k B        sums wrap, so both sides are equal whatever K is
 *
 * `prepare` leaves the weights as the engine wants them, and shift · Σ_k B of each column:
 *
 *   pairs in i16, or the bytes      quads[p][s][j][h] = B[4s + h, p·NR + j]      s < ceil(K/4), j < NR, h < 4
 */

import { InternalError } from "../../ir/errors.js";
import type { Expr, LoopFunction } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  binary,
  convert,
  divS,
  engine,
  eq,
  i32,
  load,
  ltS,
  minS,
  mul,
  named,
  ne,
  pointer,
  remS,
  select,
  shrU,
  shuffle,
  splat,
  sub,
} from "../../ir/loop-build.js";
import { evenBlocks } from "./columns.js";
import { type Epilogue, identity } from "./epilogue.js";
import { gemm } from "./gemm.js";
import { type GemmKernel, type GemmSpec, gemmParams } from "./gemm-spec.js";
import type { Kernel } from "./kernel.js";
import { int, ints } from "./tile.js";

/** Columns whose pairs fill a vector. */
const columnsAtOnce = 8;

const usesPairs = (): Expr => eq(engine("dots"), 0);

/** What is taken off A: an engine that reads its bytes with their sign takes 128 more. */
const shiftOf = (low: Expr): Expr => add(low, select(eq(engine("dots"), 2), i32(128), i32(0)));

/**
 * Weights of i8 in packed pairs (pack-pairs.ts), once as the products below want them. Parameters: begin, end (panels), packed, ready (room for
 * as many i16), sums (an i32 for each column of all panels), steps (pairs along K), low.
 */
export function readyWeightsKernel(nr: number): Kernel {
  if (nr % columnsAtOnce !== 0) throw new InternalError(`panels of ${nr} columns are no multiple of ${columnsAtOnce}`);
  const params = [
    int("begin"),
    int("end"),
    pointer("packed", "i8"),
    pointer("ready", "i16"),
    pointer("sums", "i32"),
    ...ints("steps", "low"),
  ];
  const fn = buildFunction(`i8_ready_weights_${nr}`, params, undefined, (f) => {
    const { begin, end, packed, ready, sums, steps, low } = named(params);
    f.for("p", begin, end, 1, (p) => {
      const panel = f.let("panel", add(packed, mul(p, mul(steps, 2 * nr))));
      f.if(
        usesPairs(),
        () => {
          const to = f.let("to", add(ready, mul(p, mul(steps, 2 * nr * elemBytes.i16))));
          f.for("i", 0, mul(steps, 2 * nr), 8, (i) => f.store("i16", to, i, load("i16x8", "i8", panel, i)));
        },
        () => {
          const to = f.let("to", add(ready, mul(p, mul(shrU(add(steps, 1), 1), 4 * nr))));
          for (let column = 0; column < nr; column += columnsAtOnce)
            quadColumns(f, { panel, to, sums: add(sums, mul(add(mul(p, nr), column), 4)), steps, low }, nr, column);
        },
      );
    });
  });
  return { fn, helpers: [] };
}

interface QuadPanel {
  readonly panel: Expr;
  readonly to: Expr;
  readonly sums: Expr;
  readonly steps: Expr;
  readonly low: Expr;
}

/** Two pairs of each of eight columns become a quad, and their sums go up. */
function quadColumns(f: Block, { panel, to, sums, steps, low }: QuadPanel, nr: number, column: number): void {
  const total = [0, 1].map(() => f.mut("total", splat("i32x4", 0)));
  const from = f.mut("from", add(panel, 2 * column));
  const at = f.mut("at", add(to, 4 * column));
  f.for("s", 0, steps, 2, (s) => {
    const first = f.let("first", load("i16x8", "i16", from, 0));
    const second = f.mut("second", splat("i16x8", 0));
    f.if(ltS(add(s, 1), steps), () => f.assign(second, load("i16x8", "i16", add(from, 2 * nr), 0)));
    [0, 1].forEach((half) => {
      const quads = f.let(
        "quads",
        shuffle(
          first,
          second,
          [0, 8, 1, 9, 2, 10, 3, 11].map((l) => l + 4 * half),
        ),
      );
      f.store("i16", at, 0, quads, 8 * half);
      const sum = f.let("sum", load("i8x16", "i8", at, 0, 16 * half));
      const pairs = convert("extaddPairwiseS", sum);
      f.assign(total[half]!, add(total[half]!, convert("extaddPairwiseS", pairs)));
    });
    f.assign(from, add(from, 4 * nr));
    f.assign(at, add(at, 4 * nr));
  });
  const shift = f.let("shift", splat("i32x4", shiftOf(low)));
  for (const [half, t] of total.entries()) f.store("i32", sums, 0, mul(t, shift), 4 * half);
}

/** Rows of i16 as bytes: to[r, i] = from[r, i] − shift, modulo 256. What lies between a row's end and `toRow` is left as it is. */
const rowBytes = ((): LoopFunction => {
  const params = [pointer("from", "i16"), pointer("to", "i8"), ...ints("rows", "k", "fromRow", "toRow", "shift")];
  return buildFunction("i16_row_bytes", params, undefined, (f) => {
    const { from, to, rows, k, fromRow, toRow, shift } = named(params);
    const shifts = f.let("shifts", splat("i16x8", shift));
    const whole = f.let("whole", and(k, -16));
    f.for("r", 0, rows, 1, (r) => {
      const row = f.let("row", add(from, mul(mul(r, fromRow), elemBytes.i16)));
      const out = f.let("out", add(to, mul(r, toRow)));
      const lowBytes = (i: Expr, offset: number): Expr =>
        and(sub(load("i16x8", "i16", row, i, offset), shifts), splat("i16x8", 0xff));
      f.for("i", 0, whole, 16, (i) => f.store("i8", out, i, binary("narrowU", lowBytes(i, 0), lowBytes(i, 8))));
      f.for("j", whole, k, 1, (j) => f.store("i8", out, j, sub(load("i32", "i16", row, j), shift)));
    });
  });
})();

/** Adds what the shift took off the sums, then does the rest. */
function corrected(rest: Epilogue): Epilogue {
  const sums = pointer("sums", "i32");
  const taken = (type: Expr["type"], first: Expr, column: Expr): Expr => load(type, "i32", first, column);
  return {
    ...rest,
    name: rest.name === "" ? "shifted" : `shifted_${rest.name}`,
    params: [sums, ...rest.params],
    apply: (b, acc, at, [first, ...others], ahead) =>
      rest.apply(b, ahead ? acc : b.let("sum", add(acc, taken(acc.type, first!, at.column))), at, others, ahead),
    ahead: (b, column, [first, ...others]) => {
      const { start, values } = rest.ahead?.(b, column, others) ?? { values: [] };
      const own = taken("i32x4", first!, column);
      return { start: b.let("start", start === undefined ? own : add(own, start)), values };
    },
  };
}

/** The product of one matrix in pairs, as gemm.ts takes it: A of i16 in rows, weights ready. */
export type ByteProductSpec = Pick<GemmSpec, "epilogue" | "cElem" | "n"> & { readonly mr: number; readonly nr: number };

/** Bytes of a row of A: whole quads. */
const paddedRow = (k: Expr): Expr => and(add(k, 3), -4);

/** Bytes of scratch for each thread. */
export const byteProductScratch = (kernel: GemmKernel, k: number): number => kernel.chunkRows * ((k + 3) & -4);

/**
 * C = epilogue(A · B), by pairs or quads as the engine has it. Parameters: those of gemm.ts, of which no batch is read; sums (from
 * `readyWeightsKernel`), s (scratch of each thread), low (of A); then the epilogue's.
 */
export function byteProduct(spec: ByteProductSpec): GemmKernel {
  const epilogue = spec.epilogue ?? identity;
  const common = { ...spec, a: "rows", b: "packed" } as const;
  const pairs = gemm({ ...common, lane: "i16pair", aElem: "i16", bElem: "i16" });
  const quads = gemm({ ...common, lane: "i8quad", aElem: "i8", bElem: "i8", epilogue: corrected(epilogue) });
  const own = [
    ...gemmParams("i16", "i16", spec.cElem ?? "i32"),
    pointer("sums", "i32"),
    pointer("s", "i8"),
    int("low"),
  ] as const;
  const params = [...own, ...epilogue.params];
  const fn = buildFunction(`${pairs.fn.name}_or_quads`, params, undefined, (f) => {
    const p = named(own);
    const extra = named(epilogue.params);
    const byQuads = () => {
      const { begin, end, a, m, n, k, aRow, s, low } = p;
      const shift = f.let("shift", shiftOf(low));
      const row = f.let("row", paddedRow(k));
      const [rowBlocks, rowBlock] = evenBlocks(f, "row", m, quads.chunkRows, spec.mr);
      const [columnBlocks] = evenBlocks(f, "column", n, quads.chunkColumns, spec.nr);
      const held = f.mut("held", i32(-1));
      f.for("chunk", begin, end, 1, (chunk) => {
        const block = f.let("block", remS(divS(chunk, columnBlocks), rowBlocks));
        const row0 = f.let("row0", mul(block, rowBlock));
        // Chunks of the same rows follow one another.
        f.if(ne(block, held), () => {
          const from = add(a, mul(mul(row0, aRow), elemBytes.i16));
          const rows = minS(sub(m, row0), rowBlock);
          f.callNamed(rowBytes, { from, to: s, rows, k, fromRow: aRow, toRow: row, shift });
          f.assign(held, block);
        });
        const shifted = sub(s, mul(row0, row));
        f.callNamed(quads.fn, { ...p, ...extra, begin: chunk, end: add(chunk, 1), a: shifted, aRow: row, aBatch: 0 });
      });
    };
    f.if(usesPairs(), () => f.callNamed(pairs.fn, { ...p, ...extra }), byQuads);
  });
  const helpers = [...pairs.helpers, pairs.fn, ...quads.helpers, quads.fn, rowBytes];
  return { ...pairs, fn, helpers };
}
