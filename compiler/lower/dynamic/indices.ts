/** Indices of gathers and scatters: read, counted from the front, and kept within their axis. */

import { dimSub, dimText, isStaticDim } from "../../../ir/dim.js";
import { ModelError } from "../../../ir/errors.js";
import { type GraphNode, typeText, type Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import { element } from "../../../ir/tensor.js";
import type { Limit } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import type { Kernel, Node, Operand } from "../elementwise/structured.js";

/** An index: as it lies in memory, within 32 bits, and counted from the front, whose range is not checked yet. */
interface Index {
  readonly given: Expr;
  readonly at: Expr;
}

/** Clamped while it is wide: wrapping could bring a wild index back into range. */
export function narrowed(k: Kernel, given: Expr): Expr {
  if (given.type !== "i64") return k.block.let("narrow", given);
  const wide = k.block.let("given", given);
  const limit = B.i64(2n ** 31n - 1n);
  const low = B.select(
    B.gtS(wide, limit),
    limit,
    B.select(B.ltS(wide, B.i64(-(2n ** 31n))), B.i64(-(2n ** 31n)), wide),
  );
  return k.block.let("narrow", B.convert("i32.from_i64", low));
}

function counted(k: Kernel, given: Expr, size: Expr): Index {
  return { given, at: k.block.let("counted", B.select(B.ltS(given, 0), B.add(given, size), given)) };
}

export const indexAt = (k: Kernel, indices: Operand, at: Expr, size: Expr): Index =>
  counted(k, narrowed(k, k.loadFlat(indices, at)), size);

/** What the elements of a value are taken from, without arithmetic: itself, or what was reshaped, picked or repeated. */
function sourceOf(v: Value, through: ReadonlySet<string>): Value {
  let source = v;
  while (through.has(source.def.op)) source = (source.def as GraphNode).operands[0]!;
  return source;
}
const moving = new Set(["reshape", "transpose", "broadcast", "slice", "checkIndices"]);
const movingOrCasting = new Set([...moving, "cast"]);

/** ` of input "tokens"`, where the indices come from one. */
export function ofInput(ctx: LowerContext, indices: Value): string {
  const source = sourceOf(indices, movingOrCasting);
  if (source.def.op !== "param" || !ctx.has(source)) return "";
  const from = ctx.view(source).buffer.source;
  return from.kind === "input" || from.kind === "state" ? ` of ${from.kind} ${JSON.stringify(from.name)}` : "";
}

/**
 * The limit that an index outside an axis of x breaks; undefined where the indices are known to lie inside. Throws where they
 * are known not to.
 */
export function limitOf(ctx: LowerContext, node: Indexing, axes: readonly number[]): Limit | undefined {
  const [x, indices] = node.operands as [Value, Value];
  if (axes.length === 0) return undefined;
  const sizes = axes.map((a) => x.type.shape[a]!);
  const where = node.loc ?? node.op;
  const place = axes.length === 1 ? `axis ${axes[0]}` : `axes ${axes.join(", ")}`;
  const hint =
    sizes.length === 1
      ? `indices must lie in [-${dimText(sizes[0]!)}, ${dimText(dimSub(sizes[0]!, 1))}]`
      : "an index into an axis of n elements must lie in [-n, n - 1]";
  if (indices.def.op === "constant" && sizes.every(isStaticDim)) {
    const { value } = indices.def.attrs;
    const outside = Array.from({ length: value.data.length }, (_, i) => i).find((i) => {
      const size = sizes[i % sizes.length] as number;
      const index = element(value, i);
      return index < -size || index >= size;
    });
    if (outside === undefined) return undefined;
    const message = `index ${element(value, outside)} lies outside ${place} of ${typeText(x.type)}`;
    throw new ModelError({ where, message, hint });
  }
  // The gradient of a gather scatters by the same indices.
  if (sizes.length === 1 && ctx.isChecked(sourceOf(indices, moving), sizes[0]!)) return undefined;
  return ctx.limit(where, `index {}${ofInput(ctx, indices)} lies outside ${place} of ${typeText(x.type)}`, hint);
}

type Indexing =
  | Node<"gather">
  | Node<"gatherElements">
  | Node<"gatherND">
  | Node<"scatterElements">
  | Node<"scatterND">;

/**
 * The index at a place of `indices`, counted from the front and within an axis of `size` elements. One that lies outside breaks the
 * limit and is clamped, away from the path of the others: indices are compared as wide as they lie.
 */
export function indexWithin(k: Kernel, limit: Limit | undefined, indices: Operand, at: Expr, size: Expr): Expr {
  const b = k.block;
  const given = b.let("given", k.loadFlat(indices, at));
  const wide = given.type === "i64";
  const limitOfAxis = wide ? B.convert("i64.from_i32S", size) : size;
  const fromFront = b.let("fromFront", B.add(given, B.and(B.shrS(given, wide ? 63 : 31), limitOfAxis)));
  const index = b.mut("index", wide ? B.convert("i32.from_i64", fromFront) : fromFront);
  b.if(B.geU(fromFront, limitOfAxis), () => {
    const outside = counted(k, narrowed(k, given), size);
    if (limit) k.builder.breaks(limit, B.not(inside(outside.at, size)), outside.given);
    b.assign(index, B.maxS(B.minS(outside.at, B.sub(size, 1)), 0));
  });
  return index;
}

export const inside = (index: Expr, size: Expr): Expr => B.ltU(index, size);

/** The vector that indices are compared in. */
const vectorOf = (indices: Operand) => (indices.dtype === "i64" ? "i64x2" : "i32x4");

/** Whether `count` neighbouring indices (a multiple of four) lie in [0, size), as most do: a few instructions for all of them. */
export function allWithin(k: Kernel, indices: Operand, at: Expr, count: number, size: Expr): Expr {
  const b = k.block;
  const vector = vectorOf(indices);
  const lanes = vector === "i64x2" ? 2 : 4;
  const last = b.let("last", B.sub(size, 1));
  // Over an index of 64 bits stands a word of 0, which is compared with that of the last one.
  const limits = B.splat(vector, vector === "i64x2" ? B.convert("i64.from_i32S", last) : last);
  let greatest: Expr | undefined;
  for (let i = 0; i < count; i += lanes) {
    const words = B.bitcast("i32x4", B.load(vector, elemOf[indices.dtype], indices.pointer, at, i));
    greatest = b.let("greatest", greatest === undefined ? words : B.maxU(greatest, words));
  }
  return B.and(B.gtS(size, 0), B.reduceLanes("and", B.leU(greatest!, B.bitcast("i32x4", limits))));
}

/** The index `offset` elements after one, which is known to lie within 32 bits. */
export function nearIndex(indices: Operand, at: Expr, offset: number): Expr {
  const wide = indices.dtype === "i64";
  const given = B.load(wide ? "i64" : "i32", elemOf[indices.dtype], indices.pointer, at, offset);
  return wide ? B.convert("i32.from_i64", given) : given;
}
