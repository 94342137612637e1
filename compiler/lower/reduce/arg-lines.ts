/** Arg-extrema of lines of f32 that lie without gaps: the extremum by vectors, then its place. */

import { type Dim, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { LowerContext } from "../core/context.js";
import { mapKernel, type Node } from "../elementwise/structured.js";

const lanes = 4;

/**
 *   for each line:
 *     extremum = the largest (smallest) number, or NaN where there is one
 *     place    = the first (last) four that hold it, and the first (last) of them
 */
export function lowerArgLines(ctx: LowerContext, node: Node<"argMax"> | Node<"argMin">, outer: Dim, n: Dim): void {
  const [x] = node.operands as [Value];
  const [y] = node.results as [Value];
  const { last } = node.attrs;
  const largest = node.op === "argMax";
  const extremum = (a: Expr, b: Expr) => (largest ? B.pmax(a, b) : B.pmin(a, b));
  const name = `f32_${node.op.toLowerCase()}_line${last ? "_last" : ""}`;
  mapKernel(ctx, node, name, [outer], n, (k) => {
    const xs = k.read(x);
    const ys = k.write(y);
    return ([o]) => {
      const b = k.block;
      const row = b.let("row", k.e.index(dimMul(o!, n)));
      const length = k.size(n);
      const whole = b.let("whole", B.and(length, -lanes));
      const vector = (at: Expr) => B.load("f32x4", "f32", xs.pointer, B.add(row, at));
      const single = (at: Expr) => B.load("f32", "f32", xs.pointer, B.add(row, at));
      const worst = largest ? -Infinity : Infinity;
      const bests = b.mut("bests", B.constant("f32x4", worst));
      const nans = b.mut("nans", B.ne(bests, bests));
      b.for("i", 0, whole, lanes, (i) => {
        const v = b.let("v", vector(i));
        b.assign(bests, extremum(bests, v));
        b.assign(nans, B.or(nans, B.ne(v, v)));
      });
      const best = b.mut("best", B.extractLane(bests, 0));
      for (let l = 1; l < lanes; l++) b.assign(best, extremum(best, B.extractLane(bests, l)));
      const isNan = b.mut("isNan", B.reduceLanes("or", nans));
      b.for("i", whole, length, 1, (i) => {
        const v = b.let("v", single(i));
        b.assign(best, extremum(best, v));
        b.assign(isNan, B.or(isNan, B.ne(v, v)));
      });
      b.if(isNan, () => b.assign(best, B.constant("f32", Number.NaN)));
      const sought = b.let("sought", B.splat("f32x4", best));
      // NaNs where there are any: nothing equals one.
      const holds = (v: Expr, what: Expr) => B.or(B.eq(v, what), B.ne(v, v));
      const place = b.mut("place", last ? B.sub(length, 1) : B.i32(0));
      /** Steps on until it `stands`, or to `end`, where nothing is read. */
      const seek = (end: Expr, by: number, stands: () => Expr) => {
        const stop = b.mut("stop", end);
        b.while(by > 0 ? B.ltS(place, stop) : B.gtS(place, stop), () =>
          b.if(
            stands(),
            () => b.assign(stop, place),
            () => b.assign(place, B.add(place, by)),
          ),
        );
      };
      const singly = () => holds(single(place), best);
      const four = (first: () => Expr) => () => B.reduceLanes("or", holds(vector(first()), sought));
      if (last) {
        seek(B.sub(whole, 1), -1, singly);
        b.if(B.ltS(place, whole), () => {
          seek(
            B.i32(-1),
            -lanes,
            four(() => B.sub(place, lanes - 1)),
          );
          seek(B.maxS(B.sub(place, lanes), -1), -1, singly);
        });
      } else {
        seek(
          whole,
          lanes,
          four(() => place),
        );
        seek(B.sub(length, 1), 1, singly);
      }
      const at = B.maxS(place, 0);
      k.storeFlat(ys, k.e.index(o!), B.convert("i64.from_i32S", at));
    };
  });
}
