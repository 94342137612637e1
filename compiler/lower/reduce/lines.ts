/** Ops that work on whole lines along one axis: arg-extrema, cumulative sums, sorting, selection. */

import { type Dim, dimAdd, dimMul, dimSub } from "../../../ir/dim.js";
import { type DType, isFloat } from "../../../ir/dtype.js";
import type { Shape, Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { LowerContext } from "../core/context.js";
import { registerOf } from "../core/kernel-builder.js";
import { sizeOf, stridesOf } from "../core/place.js";
import { settle } from "../elementwise/registers.js";
import { type Kernel, mapKernel, type Node, type Operand } from "../elementwise/structured.js";
import { lowerArgLines } from "./arg-lines.js";
import { lowerTopFew, mostListed } from "./top-k.js";

/** [outer, n, inner]: a shape around one axis. */
const around = (shape: Shape, axis: number): readonly [Dim, Dim, Dim] => [
  sizeOf(shape.slice(0, axis)),
  shape[axis]!,
  stridesOf(shape)[axis]!,
];

const unsignedRegister = (d: DType): boolean => d === "u32" || d === "u64";

/** a before b in descending (largest) or ascending order; NaN is the largest. Strict: equals are in no order. */
function precedes(dtype: DType, a: Expr, b: Expr, largest: boolean): Expr {
  if (!isFloat(dtype)) {
    const op = `${largest ? "gt" : "lt"}${unsignedRegister(dtype) ? "U" : "S"}` as const;
    return B.compare(op, a, b);
  }
  const aNan = B.ne(a, a);
  const bNan = B.ne(b, b);
  return largest ? B.or(B.gt(a, b), B.and(aNan, B.not(bNan))) : B.or(B.lt(a, b), B.and(B.not(aNan), bNan));
}

export function lowerArg(ctx: LowerContext, node: Node<"argMax"> | Node<"argMin">): void {
  const x = node.operands[0]!;
  const y = node.results[0]!;
  const { axis, last } = node.attrs;
  const [outer, n, inner] = around(x.type.shape, axis);
  const { dtype } = x.type;
  const largest = node.op === "argMax";
  if (dtype === "f32" && inner === 1) {
    lowerArgLines(ctx, node, outer, n);
    return;
  }
  mapKernel(ctx, node, `${dtype}_${node.op.toLowerCase()}${last ? "_last" : ""}`, [outer, inner], n, (k) => {
    const xs = { ...k.read(x), shape: [outer, n, inner] };
    const ys = { ...k.write(y), shape: [outer, inner] };
    return ([o, i]) => {
      const best = k.block.mut("best", B.constant(registerOf(dtype), 0));
      const place = k.block.mut("place", B.i32(0));
      k.loop(n, (j, at) => {
        const v = k.block.let("v", k.load(xs, [o!, j, i!]));
        // A NaN counts as the extremum of either kind.
        const nan = B.ne(v, v);
        const leads = B.eq(best, best);
        const strictly = largest ? compareNumbers(dtype, "gt", v, best) : compareNumbers(dtype, "lt", v, best);
        let wins = last ? B.or(strictly, B.eq(v, best)) : strictly;
        if (isFloat(dtype)) wins = last ? B.or(wins, nan) : B.or(wins, B.and(nan, leads));
        k.block.if(B.or(B.eq(at, 0), wins), () => {
          k.block.assign(best, v);
          k.block.assign(place, at);
        });
      });
      k.store(ys, [o!, i!], B.convert("i64.from_i32S", place));
    };
  });
}

function compareNumbers(dtype: DType, op: "lt" | "gt", a: Expr, b: Expr): Expr {
  return isFloat(dtype) ? B.compare(op, a, b) : B.compare(`${op}${unsignedRegister(dtype) ? "U" : "S"}`, a, b);
}

export function lowerCumulative(ctx: LowerContext, node: Node<"cumSum"> | Node<"cumProd">): void {
  const x = node.operands[0]!;
  const y = node.results[0]!;
  const { axis, exclusive, reverse } = node.attrs;
  const [outer, n, inner] = around(x.type.shape, axis);
  const { dtype } = x.type;
  const sum = node.op === "cumSum";
  const name = `${dtype}_${node.op.toLowerCase()}${exclusive ? "_exclusive" : ""}${reverse ? "_reverse" : ""}`;
  mapKernel(ctx, node, name, [outer, inner], n, (k) => {
    const xs = { ...k.read(x), shape: [outer, n, inner] };
    const ys = { ...k.write(y), shape: [outer, n, inner] };
    return ([o, i]) => {
      const acc = k.block.mut("acc", B.constant(registerOf(dtype), sum ? 0 : 1));
      k.loop(n, (j) => {
        const at = [o!, reverse ? dimSub(dimSub(n, 1), j) : j, i!];
        const v = k.block.let("v", k.load(xs, at));
        const next = sum ? B.add(acc, v) : B.mul(acc, v);
        if (exclusive) k.store(ys, at, settle(dtype, acc));
        // Half floats accumulate in f32 and are rounded where they are stored; integers wrap at every step.
        k.block.assign(acc, isFloat(dtype) ? next : settle(dtype, next));
        if (!exclusive) k.store(ys, at, settle(dtype, acc));
      });
    };
  });
}

/**
 * Stable merge sort of the places 0 … n−1 of a line, bottom up, between two arrays of i32. Returns nothing: the sorted places
 * are in `from` after the last pass, whichever array that is.
 */
function mergeSort(k: Kernel, n: Expr, first: Operand, second: Operand, before: (a: Expr, b: Expr) => Expr): Expr {
  const b = k.block;
  b.for("i", 0, n, 1, (i) => k.storeFlat(first, i, i));
  const from = b.mut("from", first.pointer);
  const to = b.mut("to", second.pointer);
  const width = b.mut("width", B.i32(1));
  b.while(B.ltS(width, n), () => {
    const start = b.mut("start", B.i32(0));
    b.while(B.ltS(start, n), () => {
      const middle = b.let("middle", B.minS(B.add(start, width), n));
      const end = b.let("end", B.minS(B.add(middle, width), n));
      const left = b.mut("left", start);
      const right = b.mut("right", middle);
      b.for("out", start, end, 1, (out) => {
        k.poll(out);
        const takeRight = b.mut("takeRight", B.i32(0));
        b.if(
          B.geS(left, middle),
          () => b.assign(takeRight, 1),
          () =>
            b.if(B.ltS(right, end), () => {
              const l = b.let("l", B.load("i32", "i32", from, left));
              const r = b.let("r", B.load("i32", "i32", from, right));
              // Only what is strictly better overtakes: equals keep their order.
              b.if(before(r, l), () => b.assign(takeRight, 1));
            }),
        );
        b.if(
          B.ne(takeRight, 0),
          () => {
            b.store("i32", to, out, B.load("i32", "i32", from, right));
            b.assign(right, B.add(right, 1));
          },
          () => {
            b.store("i32", to, out, B.load("i32", "i32", from, left));
            b.assign(left, B.add(left, 1));
          },
        );
      });
      b.assign(start, end);
    });
    const swap = b.let("swap", from);
    b.assign(from, to);
    b.assign(to, swap);
    b.assign(width, B.mul(width, 2));
  });
  return from;
}

/** Sorts each line and keeps its first `count`. */
function lowerSelect(
  ctx: LowerContext,
  node: Node<"sort"> | Node<"topK">,
  axis: number,
  count: Dim,
  largest: boolean,
): void {
  const x = node.operands[0]!;
  const [values, indices] = node.results as [Value, Value];
  const [outer, n, inner] = around(x.type.shape, axis);
  const { dtype } = x.type;
  const name = `${dtype}_${node.op.toLowerCase()}_${largest ? "descending" : "ascending"}`;
  mapKernel(ctx, node, name, [outer, inner], dimMul(n, 16), (k) => {
    const xs = { ...k.read(x), shape: [outer, n, inner] };
    const vs = { ...k.write(values), shape: [outer, count, inner] };
    const is = { ...k.write(indices), shape: [outer, count, inner] };
    const first = k.scratch("i32", n, true);
    const second = k.scratch("i32", n, true);
    return ([o, i]) => {
      const line = k.block.let("line", k.e.index(dimAdd(dimMul(o!, dimMul(n, inner)), i!)));
      const step = k.size(inner);
      const get = (place: Expr) => k.loadFlat(xs, B.add(line, B.mul(place, step)));
      const sorted = mergeSort(k, k.size(n), first, second, (a, b) => {
        const va = k.block.let("va", get(a));
        const vb = k.block.let("vb", get(b));
        return precedes(dtype, va, vb, largest);
      });
      k.loop(count, (j, at) => {
        const place = k.block.let("place", B.load("i32", "i32", sorted, at));
        k.store(vs, [o!, j, i!], get(place));
        k.store(is, [o!, j, i!], B.convert("i64.from_i32S", place));
      });
    };
  });
}

export function lowerSort(ctx: LowerContext, node: Node<"sort">): void {
  const { axis, descending } = node.attrs;
  lowerSelect(ctx, node, axis, node.operands[0]!.type.shape[axis]!, descending);
}

export function lowerTopK(ctx: LowerContext, node: Node<"topK">): void {
  const { axis, k, largest } = node.attrs;
  const { dtype, shape } = node.operands[0]!.type;
  if (typeof k === "number" && k >= 1 && k <= mostListed) {
    const [outer, n, inner] = around(shape, axis);
    lowerTopFew(ctx, node, { outer, n, inner }, k, (a, b) => precedes(dtype, a, b, largest));
    return;
  }
  lowerSelect(ctx, node, axis, k, largest);
}
