/** dotGeneral as a GEMM: any axes, any dtype. */

import { type Dim, dimBounds, dimMul } from "../../../ir/dim.js";
import { InternalError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { moreStatic } from "../../../ir/infer.js";
import { freeAxes } from "../../../ir/ops/contraction.js";
import type { Tensor } from "../../../ir/tensor.js";
import { type Tile, tilesFor } from "../../kernels/choose-tile.js";
import { gemm } from "../../kernels/gemm.js";
import { type Rows, rowPanel } from "../../kernels/gemm-spec.js";
import { packBy, packChunkPanels, packedLength, packPanels } from "../../kernels/pack.js";
import { packedPairsLength, packPairsKernel } from "../../kernels/pack-pairs.js";
import { byteProduct } from "../../kernels/quads.js";
import type { lanes } from "../../kernels/tile.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf, registerOf } from "../core/kernel-builder.js";
import type { Finish, KernelRow, ResultMatrix } from "../core/kernel-row.js";
import { addMicroKernel, ceilDiv, productSize, viewArg } from "../core/micro-kernel.js";
import { emitPack } from "../core/pack.js";
import { sizeOf, stridesOf } from "../core/place.js";
import type { Node } from "../elementwise/structured.js";
import { copiedMatrix, joinedStride, type Matrix, matrixInPlace, matrixOf, type Roles } from "./matrix.js";
import { byteArgs, isPairedWeight, packMatrixPairs, type ReadyBytes, readyBytes, readyPairs } from "./pairs.js";
import { emitRowProduct } from "./rows.js";

type LaneName = keyof typeof lanes;

/** What sums of products are computed in. */
function laneOf({ operands, results }: Node<"dotGeneral">): LaneName {
  const [a, b] = operands as readonly [Value, Value];
  const { dtype } = results[0]!.type;
  if (dtype === "i32" && a.type.dtype === "i16" && (b.type.dtype === "i16" || isPairedWeight(b))) return "i16pair";
  const register = registerOf(dtype);
  if (register === "mask") throw new InternalError("a product of bool");
  return register;
}

/** The product, its result finished by an epilogue, into `to`. */
function emitDot(ctx: LowerContext, node: Node<"dotGeneral">, to: View, finish: Finish, tile: Tile): void {
  const [a, b] = node.operands as [Value, Value];
  const { batchA, batchB, contractA, contractB } = node.attrs;
  const rolesA: Roles = { batch: batchA, rows: freeAxes(a.type.shape.length, batchA, contractA), columns: contractA };
  const rolesB: Roles = { batch: batchB, rows: contractB, columns: freeAxes(b.type.shape.length, batchB, contractB) };
  const { batch, rows: m, columns: n } = resultMatrix(node);
  const k = sizeOf(contractA.map((axis, i) => moreStatic(a.type.shape[axis]!, b.type.shape[contractB[i]!]!)));
  const lane = laneOf(node);
  const product = { node, a, b, rolesA, rolesB, sizes: { batch, m, n, k }, to, finish };
  if (lane === "f32" && emitRowProduct(ctx, product)) return;
  const { form, ...left } = ctx.beforeLoops(a, () => leftOf(ctx, a, rolesA, { k, m, n, lane }, node.loc));
  const { nr } = tile;
  const known = typeof n === "number" ? { n } : {};
  const sizes = { k, n, m, batch, nr };
  const right = ctx.beforeLoops(b, () =>
    lane === "i16pair" ? pairedRight(ctx, a, b, rolesB, sizes, node.loc) : rightOf(ctx, b, rolesB, sizes, node.loc),
  );
  const spec = { epilogue: finish.epilogue, ...tile, cElem: elemOf[finish.dtype], ...known };
  const { bytes } = right;
  const kernel = bytes
    ? ctx.pool.kernel("byteProduct", byteProduct, spec)
    : ctx.pool.kernel("gemm", gemm, {
        ...spec,
        lane,
        a: form,
        b: right.packed ? "packed" : "rows",
        aElem: elemOf[a.type.dtype],
        bElem: elemOf[right.view.buffer.dtype],
      });
  addMicroKernel(ctx, {
    kernel,
    chunks: dimMul(batch, dimMul(ceilDiv(m, kernel.chunkRows), ceilDiv(n, kernel.chunkColumns))),
    args: {
      a: viewArg(left.view, "read"),
      b: viewArg(right.view, "read"),
      c: viewArg(to, "write"),
      m,
      n,
      k,
      aRow: left.row,
      aColumn: left.column,
      bRow: right.row,
      cRow: n,
      aBatch: left.batch,
      bBatch: right.batch,
      cBatch: dimMul(m, n),
      ...(bytes ? byteArgs(kernel, bytes, k as number) : {}),
    },
    epilogue: finish.args,
    inPlace: { written: "c", over: kernel.finishesApart ? [] : finish.over },
    loc: node.loc,
  });
}

interface Left extends Matrix {
  readonly form: Rows;
}

/** Steps of K from which on a transposed A is packed, and columns of B that make it pay. */
const longTransposed = { k: 64, columns: 64 };

/**
 * A as the kernel reads it. A transposed one, whose neighbours along K are a row of memory apart, is packed where K is long: its cache
 * lines would be gone before the next tile comes to them.
 */
function leftOf(
  ctx: LowerContext,
  a: Value,
  roles: Roles,
  { k, m, n, lane }: { readonly k: Dim; readonly m: Dim; readonly n: Dim; readonly lane: LaneName },
  loc: string | undefined,
): Left {
  const matrix = lane === "i16pair" ? pairedLeft(ctx, a, roles, k, loc) : matrixOf(ctx, a, roles, loc);
  if (matrix.column === 1) return { ...matrix, form: "rows" };
  if (matrix.row !== 1) return { ...matrix, form: "strided" };
  const pays = dimBounds(k).min >= longTransposed.k && dimBounds(n).min >= longTransposed.columns;
  if (!pays) return { ...matrix, form: "columns" };
  const batches = roles.batch.length === 0 ? 1 : sizeOf(roles.batch.map((axis) => a.type.shape[axis]!));
  const panels = ceilDiv(m, rowPanel);
  const length = dimMul(dimMul(panels, rowPanel), k);
  const view = ctx.temp(a.type.dtype, [batches, length]);
  const unpacked = { view: matrix.view, k, n: m, kStride: matrix.column, nStride: 1, batch: matrix.batch };
  emitPack(ctx, unpacked, view, rowPanel, dimMul(batches, panels), loc);
  return { view, batch: length, row: 0, column: 0, form: "panels" };
}

interface Right {
  readonly view: View;
  readonly packed: boolean;
  readonly row: Dim;
  readonly batch: Dim;
  /** Set where the weights are ready for `byteProduct`. */
  readonly bytes?: ReadyBytes | undefined;
}

interface Sizes {
  readonly m: Dim;
  readonly k: Dim;
  readonly n: Dim;
  readonly batch: Dim;
  readonly nr: number;
}

/** B as the kernel reads it: constants packed now; what does not run along its columns, or is read often, packed in the run. */
function rightOf(ctx: LowerContext, b: Value, roles: Roles, s: Sizes, loc: string | undefined): Right {
  const { k, n, nr } = s;
  const batches = roles.batch.length === 0 ? 1 : s.batch;
  const constant = b.def.op === "constant" ? b.def.attrs.value : undefined;
  if (constant !== undefined && typeof k === "number" && typeof n === "number" && typeof batches === "number") {
    const length = packedLength(k, n, nr);
    const type = [constant.dtype, [batches, length]] as const;
    const packed = ctx.derived(constant, `gemm ${JSON.stringify(roles)} ${nr}`, type, (out) =>
      packConstant(constant, roles, { k, n, nr }, out),
    );
    return { view: packed, packed: true, row: nr, batch: batches === 1 ? 0 : length };
  }
  const matrix = matrixOf(ctx, b, roles, loc);
  const shared = roles.batch.length === 0;
  // Packing touches each element once; it pays where the panels are read by several tiles of rows. What is made once is as large packed.
  const isMade = matrix.view.buffer.source.kind === "temp" && ctx.isKept(b);
  if (matrix.column === 1 && !(dimBounds(s.m).min > 16) && !isMade) {
    return { view: matrix.view, packed: false, row: matrix.row, batch: shared ? 0 : matrix.batch };
  }
  const panels = dimMul(batches, ceilDiv(n, nr));
  const length = dimMul(dimMul(ceilDiv(n, nr), nr), k);
  const view = ctx.temp(b.type.dtype, [batches, length]);
  const unpacked = {
    view: matrix.view,
    k,
    n,
    kStride: matrix.row,
    nStride: matrix.column,
    batch: shared ? 0 : matrix.batch,
  };
  emitPack(ctx, unpacked, view, nr, panels, loc);
  return { view, packed: true, row: nr, batch: shared ? 0 : length };
}

/** A of i16 as rows that run along K; where K may be odd, with an element beyond the last row. */
function pairedLeft(ctx: LowerContext, a: Value, roles: Roles, k: Dim, loc: string | undefined): Matrix {
  const isEven = typeof k === "number" && k % 2 === 0;
  const matrix = isEven ? matrixInPlace(ctx, a, roles) : undefined;
  return matrix?.column === 1 ? matrix : copiedMatrix(ctx, a, roles, isEven ? 0 : 1, loc);
}

/** B of i16 or constant i8 as pairs: constants packed now, others in the run. */
function pairedRight(ctx: LowerContext, a: Value, b: Value, roles: Roles, s: Sizes, loc: string | undefined): Right {
  const { k, n, nr } = s;
  const batches = roles.batch.length === 0 ? 1 : s.batch;
  const length = dimMul(dimMul(ceilDiv(n, nr), nr), dimMul(2, ceilDiv(k, 2)));
  const batch = roles.batch.length === 0 ? 0 : length;
  const constant = b.def.op === "constant" ? b.def.attrs.value : undefined;
  if (constant !== undefined && typeof k === "number" && typeof n === "number") {
    const matrices = sizeOf(roles.batch.map((axis) => constant.shape[axis]!)) as number;
    const type = [constant.dtype, [matrices, packedPairsLength(1, k, n, nr)]] as const;
    const packed = ctx.derived(constant, `gemm pairs ${JSON.stringify(roles)} ${nr}`, type, (out) => {
      const { starts, rows, columns } = placesOf(constant, roles);
      packMatrixPairs(constant, starts, [k, n], nr, (i, j) => rows[i]! + columns[j]!, out);
    });
    const bytes = s.batch === 1 ? readyBytes(ctx, a, b, packed, { rows: s.m, k, n, nr }, loc) : undefined;
    const view = bytes?.view ?? readyPairs(ctx, b, packed, s.m, loc);
    return { view, packed: true, row: nr, batch, bytes };
  }
  const matrix = matrixOf(ctx, b, roles, loc);
  const panels = dimMul(batches, ceilDiv(n, nr));
  const view = ctx.temp(b.type.dtype, [batches, length]);
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("packPairs", ({ width }) => packPairsKernel(width), { width: nr }),
    chunks: ceilDiv(panels, packChunkPanels),
    args: {
      b: viewArg(matrix.view, "read"),
      packed: viewArg(view, "write"),
      k,
      n,
      kStride: matrix.row,
      nStride: matrix.column,
      bBatch: roles.batch.length === 0 ? 0 : matrix.batch,
      panels,
    },
    loc,
  });
  return { view, packed: true, row: nr, batch };
}

/** Where each matrix of a constant starts, and the places of its rows and columns from there. */
function placesOf(t: Tensor, roles: Roles): { readonly [part in "starts" | "rows" | "columns"]: readonly number[] } {
  const places = (axes: readonly number[]): readonly number[] => {
    const strides = stridesOf(t.shape) as readonly number[];
    return axes.reduce<number[]>(
      (at, a) => at.flatMap((base) => Array.from({ length: t.shape[a]! }, (_, i) => base + i * strides[a]!)),
      [0],
    );
  };
  return { starts: places(roles.batch), rows: places(roles.rows), columns: places(roles.columns) };
}

function packConstant(
  t: Tensor,
  roles: Roles,
  { k, n, nr }: { readonly k: number; readonly n: number; readonly nr: number },
  out: Tensor,
): void {
  const length = packedLength(k, n, nr);
  const { starts, rows, columns } = placesOf(t, roles);
  // All typed arrays of one tensor are of one kind.
  const data = t.data as Float32Array;
  const target = out.data as Float32Array;
  const [rowStride, columnStride] = [joinedStride(t.shape, roles.rows), joinedStride(t.shape, roles.columns)];
  starts.forEach((start, g) => {
    const panels = target.subarray(g * length, (g + 1) * length);
    if (typeof rowStride === "number" && typeof columnStride === "number")
      packPanels(data.subarray(start), k, n, nr, rowStride, columnStride, panels);
    else packBy(data, k, n, nr, (i, j) => start + rows[i]! + columns[j]!, panels);
  });
}

/** Sizes of the result: batch, rows of a, columns of b. */
function resultMatrix(node: Node<"dotGeneral">): ResultMatrix {
  const [a, b] = node.operands as [Value, Value];
  const { batchA, batchB, contractA, contractB } = node.attrs;
  const { shape } = node.results[0]!.type;
  const freeA = freeAxes(a.type.shape.length, batchA, contractA).length;
  const freeB = freeAxes(b.type.shape.length, batchB, contractB).length;
  return {
    batch: sizeOf(shape.slice(0, batchA.length)),
    rows: sizeOf(shape.slice(batchA.length, batchA.length + freeA)),
    columns: sizeOf(shape.slice(shape.length - freeB)),
  };
}

export const dotKernels: readonly KernelRow<"dotGeneral">[] = [
  {
    name: "gemm",
    matrix: resultMatrix,
    tiles: (node) => {
      const { rows, columns } = resultMatrix(node);
      return tilesFor(laneOf(node), productSize(rows, columns));
    },
    store: emitDot,
  },
];
