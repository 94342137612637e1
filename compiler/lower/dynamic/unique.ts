/** Distinct elements or slices, found by insertion into what is found so far. */

import type { Dim } from "../../../ir/dim.js";
import { type DType, dtypeInfo, isFloat, isInt } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { sizeOf } from "../core/place.js";
import { Kernel, type Node, type Operand } from "../elementwise/structured.js";
import { storeSize, withinBound } from "./found-size.js";

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
