/**
 * Ops that find a size at run time: they store it in the dims table, clamped into the range that is allowed. Where a result has
 * that size, one kernel finds it and another makes the result, whose memory is placed in between.
 */

import { type DType, isFloat } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { LowerContext } from "../core/context.js";
import { sizeOf, stridesOf } from "../core/place.js";
import { same, settle } from "../elementwise/registers.js";
import { Kernel, mapKernel, type Node } from "../elementwise/structured.js";
import { boundOf, rangeOf, storeSize, symbolOf, withinBound } from "./found-size.js";

export function lowerBindDim(ctx: LowerContext, node: Node<"bindDim">): void {
  const [value] = node.operands as [Value];
  const k = new Kernel(ctx);
  const given = k.block.let("given", k.loadFlat(k.read(value), 0));
  const wide = given.type === "i64" ? given : B.convert("i64.from_i32S", given);
  const low = B.i64(symbolOf(node.attrs).min);
  const high = k.block.let("high", B.convert("i64.from_i32S", boundOf(k, node.attrs)));
  const above = k.block.let("above", B.maxS(wide, low));
  const size = k.block.let("size", B.minS(above, high));
  k.builder.breaks(rangeOf(node), B.ne(size, wide));
  storeSize(k, node.attrs, B.convert("i32.from_i64", size));
  k.storeFlat(k.write(node.results[0]!), 0, size);
  k.finish("bind_dim", node.loc);
}

/** Whether an element is not 0; NaN is not. */
function isNonZero(x: Expr): Expr {
  return x.type === "mask" ? x : B.ne(x, same(x, 0));
}

export function lowerNonZero(ctx: LowerContext, node: Node<"nonZero">): void {
  const [x] = node.operands as [Value];
  const n = sizeOf(x.type.shape);
  const k = new Kernel(ctx);
  const xs = k.read(x);
  const count = k.block.mut("count", B.i32(0));
  k.loop(n, (_, at) => {
    k.poll(at);
    k.block.if(isNonZero(k.loadFlat(xs, at)), () => k.block.assign(count, B.add(count, 1)));
  });
  storeSize(k, node.attrs, withinBound(k, node, k.block.let("total", count), n));
  k.finish(`count_nonzero_${x.type.dtype}`, node.loc);
  writeNonZero(ctx, node);
}

/** The places of the elements that are not 0, as many as were counted. */
function writeNonZero(ctx: LowerContext, node: Node<"nonZero">): void {
  const [x] = node.operands as [Value];
  const strides = stridesOf(x.type.shape);
  const k = new Kernel(ctx);
  const xs = k.read(x);
  const ys = k.write(node.results[0]!);
  const total = k.size(node.attrs.defines);
  const next = k.block.mut("next", B.i32(0));
  k.loop(sizeOf(x.type.shape), (_, at) => {
    k.poll(at);
    k.block.if(B.and(B.ltS(next, total), isNonZero(k.loadFlat(xs, at))), () => {
      let left = at;
      strides.forEach((stride, a) => {
        const last = a === strides.length - 1;
        const step = k.size(stride);
        const i = last ? left : k.block.let("i", B.divS(left, step));
        k.storeFlat(ys, B.add(B.mul(total, a), next), B.convert("i64.from_i32S", i));
        if (!last) left = k.block.let("left", B.sub(left, B.mul(i, step)));
      });
      k.block.assign(next, B.add(next, 1));
    });
  });
  k.finish(`nonzero${strides.length}_${x.type.dtype}`, node.loc);
}

export function lowerRange(ctx: LowerContext, node: Node<"range">): void {
  const [start, limit, delta] = node.operands as [Value, Value, Value];
  const { dtype } = node.results[0]!.type;
  const k = new Kernel(ctx);
  const b = k.block;
  const from = b.let("from", k.loadFlat(k.read(start), 0));
  const to = b.let("to", k.loadFlat(k.read(limit), 0));
  const step = b.let("step", k.loadFlat(k.read(delta), 0));
  const bound = boundOf(k, node.attrs);
  const count = b.mut("count", B.i32(0));
  if (isFloat(dtype)) {
    const wide = (e: Expr) => (e.type === "f64" ? e : B.convert("f64.from_f32", e));
    const steps = B.ceil(B.div(B.sub(wide(to), wide(from)), wide(step)));
    // An infinite or undefined number of steps means that the step is 0.
    b.if(B.ne(step, same(step, 0)), () => b.assign(count, B.convert("i32.from_f64S", steps)));
    k.builder.breaks(rangeOf(node), B.gtS(count, bound));
  } else {
    const wide = (e: Expr) =>
      e.type === "i64" ? e : B.convert(dtype === "u32" ? "i64.from_i32U" : "i64.from_i32S", e);
    const distance = b.let("distance", B.sub(wide(to), wide(from)));
    const by = b.let("by", wide(step));
    b.if(B.ne(by, B.i64(0)), () => {
      const towards = B.not(B.xor(B.ltS(distance, B.i64(0)), B.ltS(by, B.i64(0))));
      const q = b.let("q", B.select(towards, B.divS(distance, by), B.i64(0)));
      const rest = B.and(towards, B.ne(B.mul(q, by), distance));
      const whole = B.select(rest, B.add(q, B.i64(1)), q);
      const high = B.convert("i64.from_i32S", bound);
      const all = b.let("all", whole);
      k.builder.breaks(rangeOf(node), B.gtS(all, high));
      b.assign(count, B.convert("i32.from_i64", B.select(B.gtS(all, high), high, all)));
    });
  }
  storeSize(k, node.attrs, B.maxS(B.minS(count, bound), 0));
  k.finish(`count_${dtype}_range`, node.loc);
  mapKernel(ctx, node, `${dtype}_range`, [node.attrs.defines], 1, (fill) => {
    const first = fill.block.let("from", fill.loadFlat(fill.read(start), 0));
    const by = fill.block.let("step", fill.loadFlat(fill.read(delta), 0));
    const ys = fill.write(node.results[0]!);
    return ([i]) => {
      const at = fill.e.index(i!);
      fill.storeFlat(ys, at, settle(dtype, B.add(first, B.mul(numberOf(dtype, at), by))));
    };
  });
}

/** An i32 count as a number of the dtype, in its register. */
function numberOf(dtype: DType, i: Expr): Expr {
  if (dtype === "f64") return B.convert("f64.from_i32S", i);
  if (isFloat(dtype)) return B.convert("f32.from_i32S", i);
  return dtype === "i64" || dtype === "u64" ? B.convert("i64.from_i32S", i) : i;
}
