/**
 * Rows of B as f32, for products with many rows of A (row-product.ts): a few at a time, so that they stay in the cache.
 *
 *   out[i][k] = B[i, k]                                     of floats
 *   out[i][k] = (plane − zero · factor) · scale             of quantised rows, in the arrangement of A (row-arrange.ts)
 */

import type { LoopFunction } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, divS, i32, load, loadSplat, mul, named, pointer, remS, splat, sub } from "../../ir/loop-build.js";
import { numberAt } from "./row-arrange.js";
import { planesOf } from "./row-storage.js";
import { formOf, groupsOf, planeArgs, planeParams, type Strip } from "./row-strip.js";
import { ints } from "./tile.js";

/** `b` points to the first of `count` rows, which is column `column` of the product. */
export function widenRows(s: Strip): LoopFunction {
  const own = [pointer("b", s.storage.elem), pointer("out", "f32"), ...ints("count", "k", "bRow", "column")] as const;
  const planes = planeParams(s);
  return buildFunction(`f32_rowwiden_${formOf(s)}`, [...own, ...planes], undefined, (f) => {
    const { b, out, count, k, bRow, column } = named(own);
    const to = f.mut("to", out);
    f.for("i", 0, count, 1, (i) => {
      const from = f.mut("from", add(b, mul(mul(i, bRow), elemBytes[s.storage.elem])));
      const { storage } = s;
      if (storage.kind === "float") {
        const { elem, group, widen } = storage;
        const whole = f.let("whole", sub(k, remS(k, group)));
        f.for("at", 0, divS(k, group), 1, () => {
          f.store("f32", to, 0, widen(from, 0));
          f.assign(from, add(from, group * elemBytes[elem]));
          f.assign(to, add(to, group * elemBytes.f32));
        });
        f.for("at", whole, k, 1, () => {
          f.store("f32", to, 0, load("f32", elem, from, 0));
          f.assign(from, add(from, elemBytes[elem]));
          f.assign(to, add(to, elemBytes.f32));
        });
        return;
      }
      const { scale, blocks, perBlock, zero } = planeArgs(planes);
      const first = f.let("first", mul(add(column, i), blocks));
      f.for("block", 0, blocks, 1, (block) => {
        const at = f.let("at", add(first, block));
        const factor = f.let("factor", loadSplat("f32x4", "f32", scale, at));
        const shift = zero && f.let("shift", splat("f32x4", numberAt(s.zero!.elem, zero, s.zero!.each ? at : 0)));
        groupsOf(f, s, perBlock, () => {
          const x = f.let("x", load("i32x4", "i32", from, 0));
          for (let v = 0; v < planesOf(storage); v++) {
            const field = storage.plane(x, v);
            const centred = shift === undefined ? field : sub(field, mul(shift, storage.factor(v)));
            f.store("f32", to, 0, mul(centred, factor), 4 * v);
          }
          f.assign(from, add(from, i32(16)));
          f.assign(to, add(to, storage.group * elemBytes.f32));
        });
      });
    });
  });
}
