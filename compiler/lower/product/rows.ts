/** Products with a B whose rows along K are read where they lie. */

import { type Dim, dimBounds } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { fewRows as rowsInRegisters } from "../../kernels/row-arrange.js";
import { type RowStorageName, rowStorages } from "../../kernels/row-storage.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import type { Finish } from "../core/kernel-row.js";
import type { Node } from "../elementwise/structured.js";
import { copiedMatrix, type Matrix, matrixInPlace, type Roles } from "./matrix.js";
import { addRowProduct } from "./row-call.js";

export interface Product {
  readonly node: Node<"dotGeneral">;
  readonly a: Value;
  readonly b: Value;
  readonly rolesA: Roles;
  readonly rolesB: Roles;
  readonly sizes: { readonly batch: Dim; readonly m: Dim; readonly n: Dim; readonly k: Dim };
  readonly to: View;
  readonly finish: Finish;
}

/** Rows of A up to which a B that is no constant is read as it lies: packing it would take longer than the product. */
const fewRows = 8;

/** The product without packing B, where its rows run along K and it pays; false where not. */
export function emitRowProduct(ctx: LowerContext, p: Product): boolean {
  const { node, a, b, rolesA, rolesB, sizes, finish } = p;
  const storage = elemOf[b.type.dtype];
  if (!isRowStorage(storage) || !(dimBounds(sizes.k).min >= rowStorages[storage].group) || !pays(ctx, b, sizes))
    return false;
  const right = matrixInPlace(ctx, b, rolesB);
  if (right === undefined || right.row !== 1) return false;
  const left = ctx.beforeLoops(a, (): Matrix => {
    const inPlace = matrixInPlace(ctx, a, rolesA);
    return inPlace?.column === 1 ? inPlace : copiedMatrix(ctx, a, rolesA, 0, node.loc);
  });
  addRowProduct(ctx, {
    spec: { aElem: elemOf[a.type.dtype], b: storage, few: dimBounds(sizes.m).max <= rowsInRegisters },
    sizes,
    a: left,
    b: { view: right.view, row: right.column, batch: rolesB.batch.length === 0 ? 0 : right.batch },
    to: p.to,
    finish,
    loc: node.loc,
  });
  return true;
}

const isRowStorage = (elem: string): elem is RowStorageName => Object.hasOwn(rowStorages, elem);

/** Weights that something else reads as they lie are not stored a second time; what changes is not packed for few rows. */
function pays(ctx: LowerContext, b: Value, { m }: Product["sizes"]): boolean {
  if (b.def.op === "constant") return ctx.isStored(b.def.attrs.value);
  return dimBounds(m).max <= fewRows && !ctx.isKept(b) && !ctx.isCaptured(b);
}
