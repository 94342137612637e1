/** Products with weights that are stored as rows of few bits. */

import { type Dim, dimBounds } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import type { Tensor } from "../../../ir/tensor.js";
import { arrangeRows, fewRows } from "../../kernels/row-arrange.js";
import { type RowStorageName, rowStorages } from "../../kernels/row-storage.js";
import type { ZeroPoints } from "../../kernels/row-strip.js";
import type { Arg, View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import type { Finish, KernelRow, ResultMatrix } from "../core/kernel-row.js";
import { addMicroKernel, viewArg } from "../core/micro-kernel.js";
import { sizeOf } from "../core/place.js";
import type { Node } from "../elementwise/structured.js";
import { addRowProduct } from "./row-call.js";

type WeightProduct = Node<"weightProduct">;

/** Whether no element of halves is infinite or NaN. */
const isFinite16 = ({ data }: Tensor): boolean => (data as Uint16Array).every((x) => (x & 0x7c00) !== 0x7c00);

function storageOf(rows: Value, bits: number): RowStorageName {
  const { dtype } = rows.type;
  if (bits < 8) return bits === 4 ? "u4" : "u2";
  const value: Tensor | undefined = rows.def.op === "constant" ? rows.def.attrs.value : undefined;
  if (dtype === "f16") return value !== undefined && isFinite16(value) ? "finite16" : "f16";
  return dtype === "bf16" ? "bf16" : dtype === "i8" ? "i8" : "u8";
}

function matrixOf(node: WeightProduct): ResultMatrix {
  const { shape } = node.results[0]!.type;
  return { batch: 1, rows: sizeOf(shape.slice(0, -1)), columns: shape.at(-1)! };
}

interface Quantised {
  /** What the kernel reads for A. */
  readonly a: View;
  /** Elements of a row of it. */
  readonly row: Dim;
  readonly args: Readonly<Record<string, Arg | Dim>>;
  readonly spec: { readonly short: boolean; readonly zero?: ZeroPoints };
}

const elem = (v: Value) => elemOf[v.type.dtype];

/** A arranged for quantised rows, and what describes these. */
function quantised(ctx: LowerContext, node: WeightProduct, b: RowStorageName, m: Dim, k: number): Quantised {
  const [a, rows, scale, zero] = node.operands as readonly [Value, Value, Value, Value?];
  const { bits, block } = node.attrs;
  const { group } = rowStorages[b];
  const groups = ((rows.type.shape[1] as number) * 8) / bits / group;
  const perBlock = block === 0 ? groups : block / group;
  const blocks = Math.ceil(groups / perBlock);
  const each = zero !== undefined && sizeOf(zero.type.shape) !== 1;
  const row = groups * group;
  const arranged = ctx.temp("f32", [m, row]);
  const units = ctx.temp("f32", [m]);
  const sums = zero && ctx.temp("f32", [m, blocks, 4]);
  const form = zero === undefined ? "none" : each ? "each" : elem(zero);
  const ofZero = zero === undefined ? {} : { zero: viewArg(ctx.view(zero), "read") };
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("arrangeRows", arrangeRows, { aElem: elem(a), b, sums: form }),
    chunks: m,
    args: {
      a: viewArg(ctx.view(a), "read"),
      arranged: viewArg(arranged, "write"),
      units: viewArg(units, "write"),
      m,
      k,
      aRow: k,
      groups,
      blocks,
      perBlock,
      ...(sums ? { sums: viewArg(sums, "write") } : {}),
      ...ofZero,
    },
    loc: node.loc,
  });
  return {
    a: arranged,
    row,
    args: {
      scale: viewArg(ctx.view(scale), "read"),
      blocks,
      perBlock,
      units: viewArg(units, "read"),
      ...(sums ? { aSums: viewArg(sums, "read") } : {}),
      ...ofZero,
    },
    spec: { short: perBlock === 1, ...(zero ? { zero: { elem: elem(zero), each } } : {}) },
  };
}

function emit(ctx: LowerContext, node: WeightProduct, to: View, finish: Finish): void {
  const [a, rows] = node.operands as readonly [Value, Value];
  const { rows: m, columns: n } = matrixOf(node);
  const b = storageOf(rows, node.attrs.bits);
  const k = a.type.shape.at(-1)!;
  const width = rows.type.shape[1]!;
  const isFloat = rowStorages[b].kind === "float";
  const form = isFloat ? { a: ctx.view(a), row: k, args: {}, spec: {} } : quantised(ctx, node, b, m, k as number);
  addRowProduct(ctx, {
    spec: { b, ...form.spec, few: dimBounds(m).max <= fewRows },
    sizes: { batch: 1, m, n, k: form.row },
    a: { view: form.a, row: form.row, batch: 0 },
    b: { view: ctx.view(rows), row: width, batch: 0 },
    to,
    finish,
    args: form.args,
    loc: node.loc,
  });
}

export const weightProductKernels: readonly KernelRow<"weightProduct">[] = [
  { name: "rows", matrix: matrixOf, store: emit },
];
