/** Operands of products as matrices in memory. */

import { type Dim, dimAdd, dimEqual, dimMul } from "../../../ir/dim.js";
import type { Shape, Value } from "../../../ir/graph.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { Place, sizeOf, stridesOf } from "../core/place.js";
import { emitMap, iterate } from "../elementwise/map.js";

/** A matrix per batch in memory: element (b, r, c) at offset + b·batch + r·row + c·column. */
export interface Matrix {
  readonly view: View;
  readonly batch: Dim;
  readonly row: Dim;
  readonly column: Dim;
}

/** Axes of an operand, in the order in which its matrix counts them. */
export interface Roles {
  readonly batch: readonly number[];
  readonly rows: readonly number[];
  readonly columns: readonly number[];
}

/** The one stride with which several axes can be walked as one, if there is. */
export function joinedStride(shape: Shape, axes: readonly number[]): Dim | undefined {
  const strides = stridesOf(shape);
  const real = axes.filter((a) => shape[a] !== 1);
  for (let i = 0; i + 1 < real.length; i++) {
    const [outer, inner] = [real[i]!, real[i + 1]!];
    if (!dimEqual(strides[outer]!, dimMul(strides[inner]!, shape[inner]!))) return undefined;
  }
  return real.length === 0 ? 1 : strides[real.at(-1)!]!;
}

/** The operand as a matrix where it lies; copied into [batch, rows, columns] where its axes are no matrix. */
export function matrixOf(ctx: LowerContext, v: Value, roles: Roles, loc: string | undefined): Matrix {
  return matrixInPlace(ctx, v, roles) ?? copiedMatrix(ctx, v, roles, 0, loc);
}

export function matrixInPlace(ctx: LowerContext, v: Value, roles: Roles): Matrix | undefined {
  const axes = [roles.batch, roles.rows, roles.columns];
  const [batch, row, column] = axes.map((list) => joinedStride(v.type.shape, list));
  const known = batch !== undefined && row !== undefined && column !== undefined;
  return known ? { view: ctx.view(v), batch, row, column } : undefined;
}

/** The operand as [batch, rows, columns] in memory of its own, with room for `beyond` elements more at the end. */
export function copiedMatrix(
  ctx: LowerContext,
  v: Value,
  roles: Roles,
  beyond: number,
  loc: string | undefined,
): Matrix {
  const { shape } = v.type;
  const order = [...roles.batch, ...roles.rows, ...roles.columns];
  const target = order.map((a) => shape[a]!);
  const to = ctx.temp(v.type.dtype, beyond === 0 ? target : [dimAdd(sizeOf(target), beyond)]);
  const { loops, index } = iterate(target);
  const own: Dim[] = new Array<Dim>(shape.length).fill(0);
  order.forEach((a, i) => {
    own[a] = index[i]!;
  });
  const point = { kind: "load", view: ctx.view(v), dtype: v.type.dtype, at: Place.at(shape, own).flat } as const;
  emitMap(ctx, `${v.type.dtype}_transpose`, loops, [{ to, at: Place.at(target, index).flat, point }], loc);
  const size = (axes: readonly number[]) => sizeOf(axes.map((a) => shape[a]!));
  const columns = size(roles.columns);
  return { view: to, batch: dimMul(size(roles.rows), columns), row: columns, column: 1 };
}
