/** Non-maximum suppression of boxes. */

import type { Dim } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { LowerContext } from "../core/context.js";
import { Kernel, type Node } from "../elementwise/structured.js";
import { boundOf, storeSize } from "./found-size.js";

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
