/** The first few of each line in order: a list of them, into which what precedes its last one is inserted. */

import { type Dim, dimAdd, dimMul } from "../../../ir/dim.js";
import type { DType } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { LowerContext } from "../core/context.js";
import { registerOf } from "../core/kernel-builder.js";
import { mapKernel, type Node } from "../elementwise/structured.js";

/** The longest list. Lines in the opposite order are moved through it whole, which for longer ones takes more than sorting. */
export const mostListed = 64;

/** Elements that one comparison leaves out. */
const lanes = 4;

export interface Line {
  readonly outer: Dim;
  readonly n: Dim;
  readonly inner: Dim;
}

/** Strict order; equals keep the order of their places. */
export type Precedes = (a: Expr, b: Expr) => Expr;

/**
 *   for each line: for each place:
 *     skip it unless it precedes the last one of a full list: four at once, where they lie beside one another
 *     move those that it precedes, and put it there
 *
 * `largest`: whether larger elements precede smaller ones.
 */
export function lowerTopFew(
  ctx: LowerContext,
  node: Node<"topK">,
  { outer, n, inner }: Line,
  count: number,
  precedes: Precedes,
): void {
  const x = node.operands[0]!;
  const [values, indices] = node.results as [Value, Value];
  const { dtype } = x.type;
  const { largest } = node.attrs;
  const name = `${dtype}_topk_few_${largest ? "descending" : "ascending"}`;
  mapKernel(ctx, node, name, [outer, inner], dimMul(n, 2), (k) => {
    const xs = { ...k.read(x), shape: [outer, n, inner] };
    const vs = { ...k.write(values), shape: [outer, count, inner] };
    const is = { ...k.write(indices), shape: [outer, count, inner] };
    const kept = k.scratch(dtype, count, true);
    const places = k.scratch("i32", count, true);
    return ([o, i]) => {
      const b = k.block;
      const line = b.let("line", k.e.index(dimAdd(dimMul(o!, dimMul(n, inner)), i!)));
      const step = k.size(inner);
      const length = k.size(n);
      const most = k.size(count);
      const filled = b.mut("filled", B.i32(0));
      const worst = b.mut("worst", B.constant(registerOf(dtype), 0));
      const consider = (place: Expr) => {
        const v = b.let("v", k.loadFlat(xs, B.add(line, B.mul(place, step))));
        b.if(B.or(B.ltS(filled, most), precedes(v, worst)), () => {
          const to = b.mut("to", B.minS(filled, B.sub(most, 1)));
          b.assign(filled, B.minS(B.add(filled, 1), most));
          const before = () => B.maxS(B.sub(to, 1), 0);
          b.while(B.and(B.gtS(to, 0), precedes(v, k.loadFlat(kept, before()))), () => {
            k.storeFlat(kept, to, k.loadFlat(kept, before()));
            k.storeFlat(places, to, k.loadFlat(places, before()));
            b.assign(to, B.sub(to, 1));
          });
          k.storeFlat(kept, to, v);
          k.storeFlat(places, to, place);
          b.assign(worst, k.loadFlat(kept, B.sub(filled, 1)));
        });
      };
      const each = (begin: Expr, end: Expr) => b.for("place", begin, end, 1, consider);
      each(B.i32(0), B.minS(most, length));
      if (!(inner === 1 && hasLanes(dtype))) each(most, length);
      else {
        const whole = b.let("whole", B.sub(length, B.and(B.sub(length, most), lanes - 1)));
        b.for("four", most, whole, lanes, (four) => {
          k.poll(B.shrU(four, 2));
          const v = B.load("f32x4", "f32", xs.pointer, B.add(line, four));
          const limit = B.splat("f32x4", worst);
          // A NaN is neither below nor above: it is looked at.
          const mayLead = B.not(largest ? B.le(v, limit) : B.ge(v, limit));
          b.if(B.reduceLanes("or", mayLead), () => each(four, B.add(four, lanes)));
        });
        each(whole, length);
      }
      k.loop(count, (j, at) => {
        k.store(vs, [o!, j, i!], k.loadFlat(kept, at));
        k.store(is, [o!, j, i!], B.convert("i64.from_i32S", k.loadFlat(places, at)));
      });
    };
  });
}

const hasLanes = (d: DType): boolean => d === "f32";
