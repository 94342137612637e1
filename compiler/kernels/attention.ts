/**
 * Attention over blocks of queries, without the matrix of weights: softmax(scale · Q · Kᵀ) · V, causal or not, and its gradient.
 *
 *   for each chunk of (matrix, block of 32 queries):                                 @f32_attention…: begin, end count chunks
 *     T = (scale · Q)ᵀ of the block                                                  [D][32]
 *     P = K · T, keys that the block sees                                            [keys][32]
 *     P = softmax down the columns but for the division by Σ P, masked on the diagonal
 *     Y = Pᵀ · V / Σ P
 *
 * Weights lie transposed, queries in lanes: the softmax then needs no sums across lanes, and neither keys nor values are packed, as
 * products read K by splats and V in rows. Causal blocks end with their last query's key, which leaves out nearly half of the work; of
 * keys under a mask a block takes those from the first to the last that one of its queries sees (attention-mask.ts), so that windows,
 * padding and causal masks, however they were made, cost what they leave.
 * The gradient takes a whole matrix at a time, computes the weights of each block again, and adds to dK and dV block by block:
 *
 *     G = V · dYᵀ;  dV += P · dY;  S = scale · P ∘ (G − Σ P ∘ G down the columns);  dQ = Sᵀ · K;  dK += S · Q
 *
 * Products are those of gemm.ts. Each sum runs over keys, or over queries, in their order.
 */

import type { Expr, LoopFunction, LoopParam } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import {
  attentionBlock,
  pointers,
  rowBytes,
  scaleRows,
  softmaxColumns,
  softmaxGradColumns,
  transposeRows,
} from "./attention-block.js";
import {
  type AttentionMask,
  addMask,
  type KeyRange,
  maskBytes,
  maskElem,
  maskSuffix,
  seenKeys,
} from "./attention-mask.js";
import { attentionRows, hasRows } from "./attention-row.js";
import { chooseTile } from "./choose-tile.js";
import { Helpers } from "./columns.js";
import { gemm } from "./gemm.js";
import type { GemmKernel } from "./gemm-spec.js";
import type { Kernel } from "./kernel.js";
import { ints } from "./tile.js";

export { type AttentionMask, attentionBlock };

const bytes = 4;

export interface AttentionSpec {
  readonly causal: boolean;
  /** Elements of a query and of a key, where known. */
  readonly d?: number;
  /** Elements of a value, where known. */
  readonly e?: number;
  /** Batch axes where keys, values or masks are shared by several matrices; 0 where each has its own. */
  readonly axes: number;
  /** What masks the scores. */
  readonly masked?: AttentionMask;
  /** Whether matrices of keys and values have more rows than there are keys. */
  readonly partial?: boolean;
}

/** Fewer queries than this are computed one by one, where there is a kernel for it. */
const fewQueries = 12;

/** Rows of 32 that a thread works in: transposed queries (and dY), weights (and their cotangents), and of each query a number. */
export const attentionScratch = {
  forward: { wide: 1, deep: 1, single: 1 },
  gradient: { wide: 2, deep: 2, single: 0 },
} as const;

/**
 * Parameters after the operands': sizes L, S, D and E, rows of a matrix of keys, the scale, memory to work in, and of each batch axis its size and strides in
 * matrices; of a mask its elements from row to row, and its strides in elements.
 */
const common = ({ axes, masked, partial }: AttentionSpec): readonly LoopParam[] => [
  ...ints("l", "s", "d", "e"),
  ...(partial ? ints("rows") : []),
  { name: "scale", type: "f32" },
  ...pointers("work"),
  ...(masked ? [B.pointer("mask", maskElem[masked]), ...ints("maskRow")] : []),
  ...Array.from({ length: axes }, (_, i) => [
    ...ints(`batch${i}`, `keyStep${i}`, `valueStep${i}`),
    ...(masked ? ints(`maskStep${i}`) : []),
  ]).flat(),
];

/** The products of a kernel, and how they are called. */
class Products {
  readonly #helpers = new Helpers();

  list(): readonly LoopFunction[] {
    return this.#helpers.list();
  }

  use(f: LoopFunction): LoopFunction {
    return this.#helpers.use(f);
  }

  #call(
    f: Block,
    kernel: GemmKernel,
    args: Readonly<Record<"m" | "n" | "a" | "b" | "c" | "k", Expr>>,
    strides: Strides,
  ) {
    for (const helper of kernel.helpers) this.#helpers.use(helper);
    const blocks = (size: Expr, most: number) => B.divS(B.add(size, most - 1), most);
    const end = B.mul(blocks(args.m, kernel.chunkRows), blocks(args.n, kernel.chunkColumns));
    const rest = { begin: 0, end, aRow: 0, aColumn: 1, bRow: args.n, cRow: args.n, aBatch: 0, bBatch: 0, cBatch: 0 };
    f.callNamed(this.#helpers.use(kernel.fn), { ...rest, ...args, ...strides });
  }

  /** c[keys][32] = rows[keys][n] · columns[n][32] */
  againstBlock(f: Block, keys: Expr, n: Expr, rows: Expr, columns: Expr, c: Expr): void {
    const tile = chooseTile("f32", { rows: attentionBlock, columns: attentionBlock });
    const kernel = gemm({
      lane: "f32",
      a: "rows",
      b: "rows",
      n: attentionBlock,
      strides: { bRow: attentionBlock },
      ...tile,
    });
    const args = { m: keys, n: B.i32(attentionBlock), a: rows, b: columns, c, k: n };
    this.#call(f, kernel, args, { aRow: n });
  }

  /** c[count][n] = p[keys][0 … count]ᵀ · rows[keys][n] */
  overKeys(f: Block, count: Expr, keys: Expr, n: Expr, p: Expr, rows: Expr, c: Expr): void {
    const kernel = gemm({
      lane: "f32",
      a: "columns",
      b: "rows",
      ...tileOf(n),
      strides: { aColumn: attentionBlock, ...knownRow(n) },
    });
    this.#call(f, kernel, { m: count, n, a: p, b: rows, c, k: keys }, { aRow: 1, aColumn: attentionBlock });
  }

  /** c[keys][n] += p[keys][0 … count] · rows[count][n] */
  overQueries(f: Block, count: Expr, keys: Expr, n: Expr, p: Expr, rows: Expr, c: Expr): void {
    const kernel = gemm({ lane: "f32", a: "rows", b: "rows", accumulate: true, ...tileOf(n) });
    this.#call(f, kernel, { m: keys, n, a: p, b: rows, c, k: count }, { aRow: attentionBlock });
  }
}

type Strides = { readonly aRow: Expr | number; readonly aColumn?: number };

const knownRow = (n: Expr): { readonly bRow?: number } => (n.kind === "const" ? { bRow: Number(n.value) } : {});

/** Tile and columns of a product that is n wide. */
function tileOf(n: Expr): { readonly mr: number; readonly nr: number; readonly n?: number } {
  const known = n.kind === "const" ? Number(n.value) : undefined;
  const tile = chooseTile("f32", { rows: attentionBlock, ...(known === undefined ? {} : { columns: known }) });
  return known === undefined ? tile : { ...tile, n: known };
}

/** Of a matrix of queries: which of keys and of values belong to it, and where its mask starts, in elements. */
function partners(
  f: Block,
  p: Readonly<Record<string, Expr>>,
  { axes, masked }: AttentionSpec,
  matrix: Expr,
): readonly [Expr, Expr, Expr] {
  if (axes === 0) return [matrix, matrix, B.i32(0)];
  let rest = matrix;
  let [key, value, mask]: [Expr, Expr, Expr] = [B.i32(0), B.i32(0), B.i32(0)];
  for (let i = axes - 1; i >= 0; i--) {
    const size = p[`batch${i}`]!;
    const index = f.let("index", i === 0 ? rest : B.remS(rest, size));
    if (i > 0) rest = f.let("rest", B.divS(rest, size));
    key = B.add(key, B.mul(index, p[`keyStep${i}`]!));
    value = B.add(value, B.mul(index, p[`valueStep${i}`]!));
    if (masked) mask = B.add(mask, B.mul(index, p[`maskStep${i}`]!));
  }
  return [f.let("keyMatrix", key), f.let("valueMatrix", value), f.let("maskAt", mask)];
}

/** How many matrices, from one on and at most `most`, share its keys, values and mask: they are computed together, where few have to be. */
function sharers(f: Block, p: Readonly<Record<string, Expr>>, spec: AttentionSpec, matrix: Expr, most: Expr): Expr {
  const count = f.mut("count", B.i32(1));
  if (spec.axes === 0) return count;
  const own = partners(f, p, spec, matrix);
  const limit = f.let("limit", B.minS(most, attentionBlock));
  const isLast = f.mut("isLast", B.i32(0));
  f.while(B.and(B.eq(isLast, 0), B.ltS(count, limit)), () => {
    const next = partners(f, p, spec, B.add(matrix, count));
    const isSame = own.map((x, i) => B.eq(x, next[i]!)).reduce((a, b) => B.and(a, b));
    f.if(
      isSame,
      () => f.assign(count, B.add(count, 1)),
      () => f.assign(isLast, B.i32(1)),
    );
  });
  return count;
}

/** Pointer to a matrix of `rows` × n, from its row `first` on. */
const matrixAt = (f: Block, base: Expr, matrix: Expr, rows: Expr, n: Expr, first: Expr = B.i32(0)): Expr =>
  f.let("at", B.add(base, B.mul(B.mul(B.add(B.mul(matrix, rows), first), n), bytes)));

const suffix = ({ causal, d, e, axes, masked, partial }: AttentionSpec): string =>
  `${causal ? "_causal" : ""}${maskSuffix(masked)}${partial ? "_partial" : ""}_${d ?? "d"}x${e ?? "e"}${axes === 0 ? "" : `_shared${axes}`}`;

/** A block of queries, and what it reads. */
interface QueryBlock {
  /** Number of the first query. */
  readonly first: Expr;
  readonly queries: Expr;
  readonly keys: Expr;
  readonly wide: Expr;
  readonly weights: Expr;
  /** Where the factors of undivided weights go; weights are divided without it. */
  readonly inverses?: Expr;
  /** The queries' rows of the mask. */
  readonly mask?: Expr;
}

/** Weights of a block of queries, in `weights`: how many queries it has, and the keys that it sees. */
function blockWeights(
  f: Block,
  products: Products,
  { causal, masked }: AttentionSpec,
  p: Readonly<Record<string, Expr>>,
  at: QueryBlock,
): { readonly count: Expr; readonly seen: KeyRange; readonly keys: Expr } {
  const count = f.let("count", B.minS(B.sub(p.l!, at.first), attentionBlock));
  const all = causal ? f.let("keys", B.minS(p.s!, B.add(at.first, count))) : p.s!;
  const [step, mask] = [p.maskRow!, at.mask!];
  const seen = masked
    ? seenKeys(f, masked, (fn) => products.use(fn), {
        mask,
        // Rows that are one and the same are looked at once.
        count: causal ? count : f.let("maskRows", B.select(B.eq(step, 0), B.i32(1), count)),
        keys: all,
        step,
        open: causal ? B.add(at.first, 1) : all,
      })
    : { from: B.i32(0), to: all };
  const keys = f.let("seenKeys", B.sub(seen.to, seen.from));
  f.callNamed(products.use(transposeRows), { x: at.queries, to: at.wide, rows: count, columns: p.d!, by: p.scale! });
  products.againstBlock(f, keys, p.d!, rowAt(at.keys, seen.from, p.d!), at.wide, at.weights);
  if (masked) {
    const seenMask = rowAt(mask, seen.from, 1, maskBytes(masked));
    f.callNamed(products.use(addMask(masked)), { p: at.weights, mask: seenMask, count, keys, step });
  }
  const diagonal = B.sub(at.first, seen.from);
  const { weights, inverses } = at;
  const softmax = softmaxColumns({ causal, undivided: inverses !== undefined });
  f.callNamed(products.use(softmax), { p: weights, keys, diagonal, ...(inverses ? { inverses } : {}) });
  return { count, seen, keys };
}

/** Pointer to a row of n elements. */
const rowAt = (base: Expr, row: Expr, n: Expr | number, size = bytes): Expr => B.add(base, B.mul(B.mul(row, n), size));

/** Parameters by name; sizes of heads are numbers where they are known. */
function namedOf(params: readonly LoopParam[], { d, e }: AttentionSpec): Readonly<Record<string, Expr>> {
  const own = Object.fromEntries(params.map((p) => [p.name, B.param(p)]));
  return {
    rows: own.s!,
    ...own,
    ...(d === undefined ? {} : { d: B.i32(d) }),
    ...(e === undefined ? {} : { e: B.i32(e) }),
  };
}

/** Chunks are blocks of queries, of all matrices: matrices · ceil(L/32). Entry parameters: q, k, v, y, then `common`. */
export function attentionKernel(spec: AttentionSpec): Kernel {
  const { causal, masked } = spec;
  const params = [...ints("begin", "end"), ...pointers("q", "k", "v", "y"), ...common(spec)];
  const products = new Products();
  const fn = buildFunction(`f32_attention${suffix(spec)}`, params, undefined, (f) => {
    const p = namedOf(params, spec);
    type Name = "q" | "k" | "v" | "y" | "l" | "s" | "d" | "e" | "rows" | "work";
    const { q, k, v, y, l, s, d, e, rows, work } = p as Readonly<Record<Name, Expr>>;
    const blocks = f.let("blocks", B.divS(B.add(l, attentionBlock - 1), attentionBlock));
    const inverses = f.let("inverses", B.add(work, B.mul(d, rowBytes)));
    const weights = f.let("weights", B.add(inverses, rowBytes));
    const chunk = f.mut("chunk", p.begin!);
    f.while(B.ltS(chunk, p.end!), () => {
      const group = f.mut("group", B.i32(1));
      const matrix = f.let("matrix", B.divS(chunk, blocks));
      const first = f.let("first", B.mul(B.remS(chunk, blocks), attentionBlock));
      const [keyMatrix, valueMatrix, maskAt] = partners(f, p, spec, matrix);
      const queries = matrixAt(f, q, matrix, l, d, first);
      const keysAt = matrixAt(f, k, keyMatrix, rows, d);
      const values = matrixAt(f, v, valueMatrix, rows, e);
      const to = matrixAt(f, y, matrix, l, e, first);
      const mask = masked
        ? f.let("maskRows", B.add(p.mask!, B.mul(B.add(maskAt, B.mul(first, p.maskRow!)), maskBytes(masked))))
        : undefined;
      const byBlock = () => {
        const at = { first, queries, keys: keysAt, wide: work, weights, inverses, ...(mask ? { mask } : {}) };
        const { count, seen, keys } = blockWeights(f, products, spec, p, at);
        products.overKeys(f, count, keys, e, weights, rowAt(values, seen.from, e), to);
        f.callNamed(products.use(scaleRows), { y: to, inverses, count, columns: e });
      };
      if (!hasRows(spec.d, spec.e)) {
        byBlock();
        f.assign(chunk, B.add(chunk, 1));
        return;
      }
      const few = f.let("few", B.minS(B.sub(l, first), attentionBlock));
      const byRow = () => {
        // Where there is one block in all, a chunk is a matrix.
        const most = f.let("most", B.select(B.eq(blocks, 1), B.sub(p.end!, chunk), B.i32(1)));
        f.assign(group, sharers(f, p, spec, matrix, most));
        f.for("row", 0, few, 1, (row) => {
          const all = causal ? f.let("keys", B.minS(s, B.add(B.add(first, row), 1))) : s;
          const own = masked ? rowAt(mask!, row, p.maskRow!, maskBytes(masked)) : undefined;
          const use = (fn: LoopFunction) => products.use(fn);
          const seen = own
            ? seenKeys(f, masked!, use, { mask: own, count: B.i32(1), keys: all, step: B.i32(0), open: all })
            : { from: B.i32(0), to: all };
          f.callNamed(products.use(attentionRows(spec.d!, spec.e!, masked)), {
            q: rowAt(queries, row, d),
            k: rowAt(keysAt, seen.from, d),
            v: rowAt(values, seen.from, e),
            y: rowAt(to, row, e),
            work: weights,
            inverses,
            ...(own ? { mask: rowAt(own, seen.from, 1, maskBytes(masked!)) } : {}),
            keys: B.sub(seen.to, seen.from),
            group,
            qStep: B.mul(l, d),
            yStep: B.mul(l, e),
            scale: p.scale!,
          });
        });
      };
      f.if(B.ltS(few, fewQueries), byRow, byBlock);
      f.assign(chunk, B.add(chunk, group));
    });
  });
  return { fn, helpers: products.list() };
}

/** Chunks are matrices. Entry parameters: q, k, v, dy, dq, dk, dv, then `common`; dk and dv have all matrices. */
export function attentionGradKernel(spec: AttentionSpec): Kernel {
  const params = [...ints("begin", "end"), ...pointers("q", "k", "v", "dy", "dq", "dk", "dv"), ...common(spec)];
  const products = new Products();
  const fn = buildFunction(`f32_attention_grad${suffix(spec)}`, params, undefined, (f) => {
    const p = namedOf(params, spec);
    type Name = "q" | "k" | "v" | "dy" | "dq" | "dk" | "dv" | "l" | "s" | "d" | "e" | "work";
    const { q, k, v, dy, dq, dk, dv, l, s, d, e, work } = p as Readonly<Record<Name, Expr>>;
    const wideDy = f.let("wideDy", B.add(work, B.mul(d, rowBytes)));
    const weights = f.let("weights", B.add(wideDy, B.mul(e, rowBytes)));
    const scores = f.let("scores", B.add(weights, B.mul(s, rowBytes)));
    f.for("matrix", p.begin!, p.end!, 1, (matrix) => {
      const [keyMatrix, valueMatrix] = partners(f, p, spec, matrix);
      const keysAt = matrixAt(f, k, keyMatrix, s, d);
      const valuesAt = matrixAt(f, v, valueMatrix, s, e);
      const [dkAt, dvAt] = [matrixAt(f, dk, matrix, s, d), matrixAt(f, dv, matrix, s, e)];
      for (const [to, n] of [
        [dkAt, d],
        [dvAt, e],
      ] as const)
        f.push(B.fill(to, 0, B.mul(B.mul(s, n), bytes)));
      f.for("first", 0, l, attentionBlock, (first) => {
        const queries = matrixAt(f, q, matrix, l, d, first);
        const at = { first, queries, keys: keysAt, wide: work, weights };
        const { count, keys } = blockWeights(f, products, spec, p, at);
        const dyAt = matrixAt(f, dy, matrix, l, e, first);
        f.callNamed(products.use(transposeRows), { x: dyAt, to: wideDy, rows: count, columns: e, by: B.f32(1) });
        products.againstBlock(f, keys, e, valuesAt, wideDy, scores);
        products.overQueries(f, count, keys, e, weights, dyAt, dvAt);
        f.callNamed(products.use(softmaxGradColumns), { p: weights, g: scores, keys, by: p.scale! });
        products.overKeys(f, count, keys, d, scores, keysAt, matrixAt(f, dq, matrix, l, d, first));
        products.overQueries(f, count, keys, d, scores, queries, dkAt);
      });
    });
  });
  return { fn, helpers: products.list() };
}
