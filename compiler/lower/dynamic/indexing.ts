/**
 * Gathers and scatters. Indices out of range break a limit, and never leave the data: gathers clamp them, scatters drop the
 * update.
 */

import { type Dim, dimAdd, dimMul, dimSub, dimText, isStaticDim } from "../../../ir/dim.js";
import { type DType, dtypeInfo, isFloat } from "../../../ir/dtype.js";
import { ModelError } from "../../../ir/errors.js";
import { type GraphNode, type Shape, typeText, type Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { ScatterReduction } from "../../../ir/ops/indexing.js";
import { element } from "../../../ir/tensor.js";
import type { Limit } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { sizeOf, stridesOf } from "../core/place.js";
import { bind, same, settle } from "../elementwise/registers.js";
import { Kernel, mapKernel, type Node, type Operand } from "../elementwise/structured.js";

/** A dtype that moves the same bytes without reading anything into them. */
const rawOf = (d: DType): DType => {
  switch (dtypeInfo[d].bytes) {
    case 1:
      return "u8";
    case 2:
      return "u16";
    case 4:
      return d === "f32" ? "f32" : "u32";
    case 8:
      return d === "f64" ? "f64" : "u64";
  }
};
const raw = (t: Operand): Operand => ({ ...t, dtype: rawOf(t.dtype) });

/** An index: as it lies in memory, within 32 bits, and counted from the front, whose range is not checked yet. */
interface Index {
  readonly given: Expr;
  readonly at: Expr;
}

/** Clamped while it is wide: wrapping could bring a wild index back into range. */
function narrowed(k: Kernel, given: Expr): Expr {
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

const indexAt = (k: Kernel, indices: Operand, at: Expr, size: Expr): Index =>
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
function ofInput(ctx: LowerContext, indices: Value): string {
  const source = sourceOf(indices, movingOrCasting);
  if (source.def.op !== "param" || !ctx.has(source)) return "";
  const from = ctx.view(source).buffer.source;
  return from.kind === "input" || from.kind === "state" ? ` of ${from.kind} ${JSON.stringify(from.name)}` : "";
}

/**
 * The limit that an index outside an axis of x breaks; undefined where the indices are known to lie inside. Throws where they
 * are known not to.
 */
function limitOf(ctx: LowerContext, node: Indexing, axes: readonly number[]): Limit | undefined {
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
function indexWithin(k: Kernel, limit: Limit | undefined, indices: Operand, at: Expr, size: Expr): Expr {
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

const inside = (index: Expr, size: Expr): Expr => B.ltU(index, size);

export function lowerCheckIndices(ctx: LowerContext, node: Node<"checkIndices">): void {
  const [x] = node.operands as [Value];
  const y = node.results[0]!;
  const { size, ignore } = node.attrs;
  const but = ignore === undefined ? "" : `, other than ${ignore}`;
  const limit = ctx.limit(
    node.loc ?? node.op,
    `index {}${ofInput(ctx, x)} names no class`,
    `class indices must lie in [0, ${dimText(dimSub(size, 1))}]${but}`,
  );
  const count = sizeOf(x.type.shape);
  mapKernel(ctx, node, `checkindices_${x.type.dtype}`, [count], 1, (k) => {
    const xs = k.read(x);
    const ys = k.write(y);
    return ([i]) => {
      const at = k.e.index(i!);
      const given = k.block.let("element", k.loadFlat(xs, at));
      const index = narrowed(k, given);
      const outside = B.not(inside(index, k.size(size)));
      k.builder.breaks(limit, ignore === undefined ? outside : B.and(outside, B.ne(index, B.i32(ignore))), index);
      k.storeFlat(ys, at, given);
    };
  });
}

export function lowerGather(ctx: LowerContext, node: Node<"gather">): void {
  const [x, indices] = node.operands as [Value, Value];
  const y = node.results[0]!;
  const { axis } = node.attrs;
  const outer = sizeOf(x.type.shape.slice(0, axis));
  const inner = sizeOf(x.type.shape.slice(axis + 1));
  const size = x.type.shape[axis]!;
  const count = sizeOf(indices.type.shape);
  const limit = node.op === "gather" && node.attrs.checked ? undefined : limitOf(ctx, node, [axis]);
  mapKernel(ctx, node, `gather_${rawOf(x.type.dtype)}_${indices.type.dtype}`, [outer, count], inner, (k) => {
    const xs = { ...raw(k.read(x)), shape: [outer, size, inner] };
    const is = k.read(indices);
    const ys = { ...raw(k.write(y)), shape: [outer, count, inner] };
    return ([o, i]) => {
      const n = k.size(size);
      k.computed(indexWithin(k, limit, is, k.e.index(i!), n), (from) => {
        k.e.hoistIndex(dimAdd(dimMul(o!, dimMul(size, inner)), dimMul(from, inner)));
        k.loop(inner, (j) => k.store(ys, [o!, i!, j], k.load(xs, [o!, from, j])), true);
      });
    };
  });
}

export function lowerGatherElements(ctx: LowerContext, node: Node<"gatherElements">): void {
  const [x, indices] = node.operands as [Value, Value];
  const y = node.results[0]!;
  const { axis } = node.attrs;
  const size = x.type.shape[axis]!;
  const limit = limitOf(ctx, node, [axis]);
  mapKernel(ctx, node, `gatherelements_${rawOf(x.type.dtype)}_${indices.type.dtype}`, y.type.shape, 1, (k) => {
    const xs = raw(k.read(x));
    const is = k.read(indices);
    const ys = raw(k.write(y));
    return (index) => {
      const n = k.size(size);
      k.computed(indexWithin(k, limit, is, k.at(is, index), n), (from) => {
        k.store(
          ys,
          index,
          k.load(
            xs,
            index.map((d, a) => (a === axis ? from : d)),
          ),
        );
      });
    };
  });
}

const axesFrom = (first: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, i) => first + i);

/** Flat start of the slice that an index tuple names; `read` gives each index from its place, for an axis of that size. */
function tupleStart(
  k: Kernel,
  tuple: Dim,
  depth: number,
  shape: Shape,
  batchDims: number,
  read: (at: Expr, size: Expr) => Expr,
): Expr {
  const strides = stridesOf(shape);
  let start: Expr = B.i32(0);
  for (let i = 0; i < depth; i++) {
    const size = k.size(shape[batchDims + i]!);
    const index = read(k.e.index(dimAdd(dimMul(tuple, depth), i)), size);
    start = B.add(start, B.mul(index, k.size(strides[batchDims + i]!)));
  }
  return start;
}

export function lowerGatherND(ctx: LowerContext, node: Node<"gatherND">): void {
  const [x, indices] = node.operands as [Value, Value];
  const y = node.results[0]!;
  const { batchDims } = node.attrs;
  const depth = indices.type.shape.at(-1) as number;
  const batch = sizeOf(indices.type.shape.slice(0, batchDims));
  const perBatch = sizeOf(indices.type.shape.slice(batchDims, -1));
  const inner = sizeOf(x.type.shape.slice(batchDims + depth));
  const batchStride = sizeOf(x.type.shape.slice(batchDims));
  const limit = limitOf(ctx, node, axesFrom(batchDims, depth));
  mapKernel(
    ctx,
    node,
    `gathernd${depth}_${rawOf(x.type.dtype)}_${indices.type.dtype}`,
    [batch, perBatch],
    inner,
    (k) => {
      const xs = raw(k.read(x));
      const is = k.read(indices);
      const ys = { ...raw(k.write(y)), shape: [batch, perBatch, inner] };
      return ([n, t]) => {
        const tuple = dimAdd(dimMul(n!, perBatch), t!);
        const start = tupleStart(k, tuple, depth, x.type.shape, batchDims, (at, n) => indexWithin(k, limit, is, at, n));
        k.computed(start, (from) => {
          k.loop(
            inner,
            (j) =>
              k.store(ys, [n!, t!, j], k.loadFlat(xs, k.e.index(dimAdd(dimAdd(dimMul(n!, batchStride), from), j)))),
            true,
          );
        });
      };
    },
  );
}

/** What is stored where an update meets an element. NaNs that arithmetic gives have one bit pattern (see canonicalize-nans). */
function meet(k: Kernel, reduction: ScatterReduction, dtype: DType, old: () => Expr, update: Expr): Expr {
  const made = met(reduction, dtype, old, update);
  if (reduction === "none" || !isFloat(dtype)) return made;
  const v = bind(k.block, made, "sum");
  return B.select(B.eq(v, v), v, same(v, Number.NaN));
}

function met(reduction: ScatterReduction, dtype: DType, old: () => Expr, update: Expr): Expr {
  const unsigned = dtype === "u32" || dtype === "u64";
  switch (reduction) {
    case "none":
      return update;
    case "add":
      return settle(dtype, B.add(old(), update));
    case "mul":
      return settle(dtype, B.mul(old(), update));
    case "min":
      return isFloat(dtype) ? B.min(old(), update) : B.binary(unsigned ? "minU" : "minS", old(), update);
    case "max":
      return isFloat(dtype) ? B.max(old(), update) : B.binary(unsigned ? "maxU" : "maxS", old(), update);
  }
}

/** The result starts as a copy of x; updates then apply in order, on one thread. */
function scatter(ctx: LowerContext, x: Value, y: Value, loc: string | undefined): void {
  const to = ctx.result(y);
  ctx.add({ kind: "copy", count: sizeOf(x.type.shape), from: ctx.view(x), to, loc });
}

export function lowerScatterElements(ctx: LowerContext, node: Node<"scatterElements">): void {
  const [x, indices, updates] = node.operands as [Value, Value, Value];
  const y = node.results[0]!;
  const { axis, reduction } = node.attrs;
  const size = x.type.shape[axis]!;
  const limit = limitOf(ctx, node, [axis]);
  scatter(ctx, x, y, node.loc);
  const k = new Kernel(ctx);
  const plain = reduction === "none";
  const is = k.read(indices);
  const us = plain ? raw(k.read(updates)) : k.read(updates);
  const ys = plain ? raw(k.write(y, "readWrite")) : k.write(y, "readWrite");
  const open = (a: number, index: readonly Dim[]): void => {
    const d = indices.type.shape[a];
    if (d !== undefined) {
      k.loop(d, (i) => open(a + 1, [...index, i]));
      return;
    }
    const n = k.size(size);
    const from = k.block.let("from", k.at(is, index));
    k.poll(from);
    const { given, at } = indexAt(k, is, from, n);
    if (limit) k.builder.breaks(limit, B.not(inside(at, n)), given);
    k.block.if(inside(at, n), () =>
      k.computed(at, (to) => {
        const target = k.block.let(
          "target",
          k.at(
            ys,
            index.map((i, axisOf) => (axisOf === axis ? to : i)),
          ),
        );
        k.storeFlat(
          ys,
          target,
          meet(k, reduction, ys.dtype, () => k.loadFlat(ys, target), k.load(us, index)),
        );
      }),
    );
  };
  open(0, []);
  k.finish(`scatterelements_${reduction}_${ys.dtype}_${indices.type.dtype}`, node.loc);
}

export function lowerScatterND(ctx: LowerContext, node: Node<"scatterND">): void {
  const [x, indices, updates] = node.operands as [Value, Value, Value];
  const y = node.results[0]!;
  const { reduction } = node.attrs;
  const depth = indices.type.shape.at(-1) as number;
  const tuples = sizeOf(indices.type.shape.slice(0, -1));
  const inner = sizeOf(x.type.shape.slice(depth));
  const limit = node.attrs.checked ? undefined : limitOf(ctx, node, axesFrom(0, depth));
  scatter(ctx, x, y, node.loc);
  const k = new Kernel(ctx);
  const plain = reduction === "none";
  const is = k.read(indices);
  const us = plain ? raw(k.read(updates)) : k.read(updates);
  const ys = plain ? raw(k.write(y, "readWrite")) : k.write(y, "readWrite");
  k.loop(tuples, (t, round) => {
    k.poll(round, 256);
    const fits = k.block.mut("fits", B.bool(true));
    const start = tupleStart(k, t, depth, x.type.shape, 0, (place, size) => {
      const { given, at } = indexAt(k, is, place, size);
      if (limit) k.builder.breaks(limit, B.not(inside(at, size)), given);
      k.block.assign(fits, B.and(fits, inside(at, size)));
      return at;
    });
    k.computed(start, (to) => {
      k.block.if(fits, () => {
        k.e.hoistIndex(dimMul(t, inner));
        k.loop(
          inner,
          (j) => {
            const target = k.e.index(dimAdd(to, j));
            const update = k.loadFlat(us, k.e.index(dimAdd(dimMul(t, inner), j)));
            k.storeFlat(
              ys,
              target,
              meet(k, reduction, ys.dtype, () => k.loadFlat(ys, target), update),
            );
          },
          true,
        );
      });
    });
  });
  k.finish(`scatternd${depth}_${reduction}_${ys.dtype}_${indices.type.dtype}`, node.loc);
}
