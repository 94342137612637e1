/**
 * Ops that find a size at run time: they store it in the dims table, clamped into the range that is allowed. Where a result has
 * that size, one kernel finds it and another makes the result, whose memory is placed in between.
 */

import { type Dim, dimBounds, dimMin, dimSub, dimSymbols, dimText } from "../../../ir/dim.js";
import { type DType, dtypeInfo, isFloat, isInt } from "../../../ir/dtype.js";
import { InternalError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { DefinesAttrs } from "../../../ir/ops/dynamic.js";
import type { Limit, View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { sizeOf, stridesOf } from "../core/place.js";
import { same, settle } from "../elementwise/registers.js";
import { Kernel, mapKernel, type Node, type Operand } from "../elementwise/structured.js";

function symbolOf({ defines }: DefinesAttrs) {
  const [symbol] = dimSymbols(defines).values();
  if (symbol === undefined) throw new InternalError("an op that finds a size names none");
  return symbol;
}

type Finder = Node<"bindDim"> | Node<"range"> | Node<"nonZero"> | Node<"unique">;

/** The limit that is broken where a size is outside its range. */
function rangeOf({ attrs, loc, op, operands }: Finder): Limit {
  const symbol = symbolOf(attrs);
  const high = symbol.bound === undefined ? "∞" : dimText(symbol.bound);
  const common = { symbol: symbol.name, where: loc ?? op };
  const [value] = operands;
  if (value?.def.op === "dimSize") {
    const needed = `${dimText(value.def.attrs.size)} must be ${symbol.min === symbol.max ? high : `${symbol.min} to ${high}`}`;
    const message = `the sizes of the inputs do not fit what is planned for here: ${needed}`;
    return { ...common, message, hint: "give inputs of other sizes" };
  }
  const message = `the data give a size outside the range planned for it, ${symbol.min} to ${high}`;
  const hint = "give other inputs, or a wider range: maxUnknownSize of importOnnx, or the bound of the size";
  return { ...common, message, hint };
}

/**
 * The size found, within what was planned for: a limit is broken where it is more. `most`: what it is at most by nature; where
 * the bound covers that, there is nothing to check.
 */
function withinBound(k: Kernel, node: Finder, found: Expr, most: Dim): Expr {
  const { bound } = symbolOf(node.attrs);
  if (bound !== undefined && dimBounds(dimSub(bound, most)).min >= 0) return found;
  const high = boundOf(k, node.attrs);
  k.builder.breaks(rangeOf(node), B.gtS(found, high));
  return k.block.let("size", B.minS(found, high));
}

/** Stores the size an op has found. */
function storeSize(k: Kernel, attrs: DefinesAttrs, value: Expr): void {
  k.block.store("i32", k.builder.sizeSlot(symbolOf(attrs).name), 0, value);
}

/** Upper bound of the size, which is an i32, whatever the bound. */
const boundOf = (k: Kernel, attrs: DefinesAttrs): Expr => {
  const symbol = symbolOf(attrs);
  if (symbol.bound === undefined) throw new InternalError(`size ${symbol.name} has no bound`);
  return k.size(dimMin(symbol.bound, 2 ** 31 - 1));
};

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

/** −1, 0 or 1 as element a comes before, equals or comes after b; NaN last and equal to itself. */
function order(dtype: DType, a: Expr, b: Expr): Expr {
  if (dtype === "bool") {
    return B.sub(B.convert("i32.from_mask", a), B.convert("i32.from_mask", b));
  }
  if (!isFloat(dtype)) {
    const s = isInt(dtype) && !dtypeInfo[dtype].signed && dtypeInfo[dtype].bits >= 32 ? "U" : "S";
    return B.select(B.compare(`lt${s}`, a, b), B.i32(-1), B.select(B.compare(`gt${s}`, a, b), B.i32(1), B.i32(0)));
  }
  const nan = B.sub(B.convert("i32.from_mask", B.ne(a, a)), B.convert("i32.from_mask", B.ne(b, b)));
  return B.select(B.lt(a, b), B.i32(-1), B.select(B.gt(a, b), B.i32(1), nan));
}

/**
 * Distinct slices by insertion: each slice is looked for among the distinct ones found so far, by bisection in their order. An id is
 * the order of first occurrence.
 */
export function lowerUnique(ctx: LowerContext, node: Node<"unique">): void {
  const [x] = node.operands as [Value];
  const { axis } = node.attrs;
  const { shape } = x.type;
  const n = axis === undefined ? sizeOf(shape) : shape[axis]!;
  const outer = axis === undefined ? 1 : sizeOf(shape.slice(0, axis));
  const inner = axis === undefined ? 1 : sizeOf(shape.slice(axis + 1));
  const k = new Kernel(ctx);
  const b = k.block;
  const xs = { ...k.read(x), shape: [outer, n, inner] };
  const views = Array.from({ length: 4 }, () => ctx.temp("i32", [n]));
  const [ids, origin, idOf, occurs] = views.map((v) => i32Of(k, v, "write")) as [Operand, Operand, Operand, Operand];
  const found = b.mut("found", B.i32(0));

  k.loop(n, (_, i) => {
    k.poll(i, 64);
    // Bisection: the first known slice that is not before this one.
    const low = b.mut("low", B.i32(0));
    const high = b.mut("high", found);
    const equal = b.mut("equal", B.i32(-1));
    b.while(B.ltS(low, high), () => {
      const middle = b.let("middle", B.shrU(B.add(low, high), 1));
      const id = b.let("id", k.loadFlat(ids, middle));
      const other = b.let("other", k.loadFlat(origin, id));
      const result = b.mut("result", B.i32(0));
      compareSlices(
        k,
        xs.dtype,
        { outer, inner, n },
        (o, at, j) => {
          const flat = B.add(B.mul(B.add(B.mul(o, k.size(n)), at), k.size(inner)), j);
          return k.loadFlat(xs, flat);
        },
        other,
        i,
        result,
      );
      b.if(
        B.ltS(result, 0),
        () => b.assign(low, B.add(middle, 1)),
        () => {
          b.if(B.eq(result, 0), () => b.assign(equal, id));
          b.assign(high, middle);
        },
      );
    });
    b.if(
      B.geS(equal, 0),
      () => {
        k.storeFlat(idOf, i, equal);
        k.storeFlat(occurs, equal, B.add(k.loadFlat(occurs, equal), 1));
      },
      () => {
        // Room at `low` among the ids.
        const move = b.mut("move", found);
        b.while(B.gtS(move, low), () => {
          k.storeFlat(ids, move, k.loadFlat(ids, B.sub(move, 1)));
          b.assign(move, B.sub(move, 1));
        });
        k.storeFlat(ids, low, found);
        k.storeFlat(origin, found, i);
        k.storeFlat(idOf, i, found);
        k.storeFlat(occurs, found, B.i32(1));
        b.assign(found, B.add(found, 1));
      },
    );
  });
  storeSize(k, node.attrs, withinBound(k, node, b.let("count", found), n));
  k.finish(`count_unique${suffixOf(node)}`, node.loc);
  writeUnique(ctx, node, { n, outer, inner }, views);
}

const suffixOf = ({ attrs: { axis }, operands: [x] }: Node<"unique">): string =>
  `${axis === undefined ? "" : "_slices"}_${x!.type.dtype}`;

const i32Of = (k: Kernel, view: View, access: "read" | "write"): Operand => ({
  dtype: "i32",
  shape: view.buffer.shape,
  pointer: k.builder.pointer(view, access),
});

interface Slices {
  readonly n: Dim;
  readonly outer: Dim;
  readonly inner: Dim;
}

/**
 * The results, of what was found: ids of the distinct slices in ascending order, where each first occurs, the id of each slice, and
 * how often each id occurs.
 */
function writeUnique(
  ctx: LowerContext,
  node: Node<"unique">,
  { n, outer, inner }: Slices,
  views: readonly View[],
): void {
  const [values, firsts, inverse, counts] = node.results as [Value, Value, Value, Value];
  const { sorted, defines } = node.attrs;
  const k = new Kernel(ctx);
  const b = k.block;
  const xs = k.read(node.operands[0]!);
  const [ids, origin, idOf, occurs] = views.map((v) => i32Of(k, v, "read")) as [Operand, Operand, Operand, Operand];
  const count = k.size(defines);
  const ys = k.write(values);
  const fs = k.write(firsts);
  const is = k.write(inverse);
  const cs = k.write(counts);
  const wide = (e: Expr) => B.convert("i64.from_i32S", e);
  const rank = sorted ? k.scratch("i32", n, false) : undefined;
  b.for("r", 0, count, 1, (r) => {
    const id = sorted ? b.let("id", k.loadFlat(ids, r)) : r;
    if (rank) k.storeFlat(rank, id, r);
    const from = b.let("from", k.loadFlat(origin, id));
    k.storeFlat(fs, r, wide(from));
    k.storeFlat(cs, r, wide(k.loadFlat(occurs, id)));
    k.loop(outer, (_, o) =>
      k.loop(inner, (__, j) => {
        const at = B.add(B.mul(B.add(B.mul(o, k.size(n)), from), k.size(inner)), j);
        const to = B.add(B.mul(B.add(B.mul(o, count), r), k.size(inner)), j);
        k.storeFlat(ys, to, k.loadFlat(xs, at));
      }),
    );
  });
  k.loop(n, (_, i) => {
    const id = k.loadFlat(idOf, i);
    k.storeFlat(is, i, wide(rank ? k.loadFlat(rank, b.let("id", id)) : id));
  });
  k.finish(`unique${suffixOf(node)}${sorted ? "_sorted" : ""}`, node.loc);
}

function compareSlices(
  k: Kernel,
  dtype: DType,
  { outer, inner }: { readonly outer: Dim; readonly inner: Dim; readonly n: Dim },
  get: (outer: Expr, slice: Expr, inner: Expr) => Expr,
  a: Expr,
  c: Expr,
  result: Expr,
): void {
  k.loop(outer, (_, o) =>
    k.loop(inner, (__, j) =>
      k.block.if(B.eq(result, 0), () => {
        const va = k.block.let("va", get(o, a, j));
        const vc = k.block.let("vc", get(o, c, j));
        k.block.assign(result, order(dtype, va, vc));
      }),
    ),
  );
}

/** Greedy selection, class by class: the best remaining box is kept and removes what it overlaps. */
export function lowerNms(ctx: LowerContext, node: Node<"nonMaxSuppression">): void {
  const [boxes, scores, most, iou, threshold] = node.operands as [Value, Value, Value, Value, Value];
  const [batches, classes, boxCount] = scores.type.shape as [Dim, Dim, Dim];
  const { centerPointBox } = node.attrs;
  const k = new Kernel(ctx);
  const b = k.block;
  const bs = { ...k.read(boxes), shape: [batches, boxCount, 4] };
  const ss = k.read(scores);
  const bound = boundOf(k, node.attrs);
  const wanted = b.let("wanted", k.loadFlat(k.read(most), 0));
  const limit = b.let("limit", B.convert("i32.from_i64", B.minS(B.maxS(wanted, B.i64(0)), B.i64(2n ** 31n - 1n))));
  const wide = (e: Expr) => (e.type === "f64" ? e : B.convert("f64.from_f32", e));
  const least = b.let("least", wide(k.loadFlat(k.read(threshold), 0)));
  const allowed = b.let("allowed", wide(k.loadFlat(k.read(iou), 0)));
  const alive = k.scratch("i32", boxCount, false);
  const ys = k.write(node.results[0]!);
  const found = b.mut("found", B.i32(0));
  /** Corners in f64, as the definition computes them. */
  const corners = (n: Dim, box: Dim) => {
    const v = [0, 1, 2, 3].map((c) => b.let("corner", wide(k.load(bs, [n, box, c]))));
    const [p, q, r, s] = v as [Expr, Expr, Expr, Expr];
    const half = (e: Expr) => B.mul(e, B.f64(0.5));
    return centerPointBox
      ? [B.sub(q, half(s)), B.sub(p, half(r)), B.add(q, half(s)), B.add(p, half(r))].map((e) => b.let("edge", e))
      : [B.min(p, r), B.min(q, s), B.max(p, r), B.max(q, s)].map((e) => b.let("edge", e));
  };
  const area = (r: readonly Expr[]) => B.mul(B.sub(r[2]!, r[0]!), B.sub(r[3]!, r[1]!));

  k.loop(batches, (n, nAt) =>
    k.loop(classes, (c, cAt) => {
      k.loop(boxCount, (box, at) => {
        const score = wide(k.load(ss, [n, c, box]));
        k.storeFlat(alive, at, B.convert("i32.from_mask", B.gt(score, least)));
      });
      const kept = b.mut("kept", B.i32(0));
      const more = b.mut("more", B.i32(1));
      b.while(B.and(B.and(B.ne(more, 0), B.ltS(kept, limit)), B.ltS(found, bound)), () => {
        k.poll(kept, 1);
        const best = b.mut("best", B.i32(-1));
        const bestScore = b.mut("bestScore", B.f64(-Infinity));
        k.loop(boxCount, (box, at) => {
          b.if(B.ne(k.loadFlat(alive, at), 0), () => {
            const score = b.let("score", wide(k.load(ss, [n, c, box])));
            b.if(B.or(B.ltS(best, 0), B.gt(score, bestScore)), () => {
              b.assign(best, at);
              b.assign(bestScore, score);
            });
          });
        });
        b.if(
          B.ltS(best, 0),
          () => b.assign(more, 0),
          () => {
            const at = b.let("at", B.mul(found, 3));
            [nAt, cAt, best].forEach((e, i) => {
              k.storeFlat(ys, B.add(at, i), B.convert("i64.from_i32S", e));
            });
            b.assign(found, B.add(found, 1));
            b.assign(kept, B.add(kept, 1));
            k.storeFlat(alive, best, B.i32(0));
            k.computed(best, (leader) => {
              const a = corners(n, leader);
              k.loop(boxCount, (box, other) => {
                b.if(B.ne(k.loadFlat(alive, other), 0), () => {
                  const d = corners(n, box);
                  const height = b.let("height", B.sub(B.min(a[2]!, d[2]!), B.max(a[0]!, d[0]!)));
                  const width = b.let("width", B.sub(B.min(a[3]!, d[3]!), B.max(a[1]!, d[1]!)));
                  const areaA = b.let("areaA", area(a));
                  const areaD = b.let("areaD", area(d));
                  const zero = B.f64(0);
                  const meets = B.and(
                    B.and(B.gt(height, zero), B.gt(width, zero)),
                    B.and(B.gt(areaA, zero), B.gt(areaD, zero)),
                  );
                  const shared = b.let("shared", B.mul(height, width));
                  const ratio = B.div(shared, B.sub(B.add(areaA, areaD), shared));
                  const overlap = b.let("overlap", B.select(meets, ratio, zero));
                  b.if(B.not(B.le(overlap, allowed)), () => k.storeFlat(alive, other, B.i32(0)));
                });
              });
            });
          },
        );
      });
    }),
  );
  storeSize(k, node.attrs, found);
  k.finish(`nms_${boxes.type.dtype}_${scores.type.dtype}${centerPointBox ? "_center" : ""}`, node.loc);
}
