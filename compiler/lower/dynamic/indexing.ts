/**
 * Gathers and scatters. Indices out of range break a limit, and never leave the data: gathers clamp them, scatters drop the
 * update.
 */

import { type Dim, dimAdd, dimBounds, dimFloorDiv, dimMul, dimSub, dimText } from "../../../ir/dim.js";
import { type DType, dtypeInfo, isFloat } from "../../../ir/dtype.js";
import type { Shape, Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { ScatterReduction } from "../../../ir/ops/indexing.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import { sizeOf, stridesOf } from "../core/place.js";
import { bind, same, settle } from "../elementwise/registers.js";
import { Kernel, mapKernel, type Node, type Operand } from "../elementwise/structured.js";
import { allWithin, indexAt, indexWithin, inside, limitOf, narrowed, nearIndex, ofInput } from "./indices.js";

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

/** Indices that are checked at once. */
const group = 8;

export function lowerGatherElements(ctx: LowerContext, node: Node<"gatherElements">): void {
  const [x, indices] = node.operands as [Value, Value];
  const y = node.results[0]!;
  const { axis } = node.attrs;
  const size = x.type.shape[axis]!;
  const limit = limitOf(ctx, node, [axis]);
  const name = `gatherelements_${rawOf(x.type.dtype)}_${indices.type.dtype}`;
  const [outer, last] = [y.type.shape.slice(0, -1), y.type.shape.at(-1)!];
  const groups = dimFloorDiv(dimAdd(last, group - 1), group);
  mapKernel(ctx, node, name, [...outer, groups], group, (k) => {
    const xs = raw(k.read(x));
    const is = k.read(indices);
    const ys = raw(k.write(y));
    return (place) => {
      const n = k.size(size);
      const b = k.block;
      const rows = place.slice(0, -1);
      const first = b.let("first", B.mul(k.e.index(place.at(-1)!), group));
      const left = b.let("left", B.sub(k.size(last), first));
      const start = b.let("start", B.add(k.at(is, [...rows, 0]), first));
      /** The element `offset` places after that at `along` the last axis, which lies at `at` in y. */
      const take = (at: Expr, offset: number, along: Expr, from: Expr) =>
        k.computed(along, (i) =>
          k.computed(from, (f) => {
            const source = [...rows, i].map((d, a) => (a === axis ? f : d));
            b.store(elemOf[ys.dtype], ys.pointer, at, k.load(xs, source), offset);
          }),
        );
      const fast = b.mut("fast", B.bool(false));
      if (dimBounds(last).max >= group)
        b.if(B.geS(left, group), () => b.assign(fast, allWithin(k, is, start, group, n)));
      b.if(
        fast,
        () => {
          for (let i = 0; i < group; i++) take(start, i, B.add(first, i), nearIndex(is, start, i));
        },
        () =>
          b.for("i", 0, B.minS(left, group), 1, (i) => {
            const at = b.let("at", B.add(start, i));
            take(at, 0, B.add(first, i), indexWithin(k, limit, is, at, n));
          }),
      );
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
