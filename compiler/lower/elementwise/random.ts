/** Philox 4×32-10: ir/ops/random.ts has the definition. */

import { dimAdd, dimFloorDiv } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { LowerContext } from "../core/context.js";
import { sizeOf } from "../core/place.js";
import { mapKernel, type Node } from "./structured.js";

const multipliers = [0xd2511f53, 0xcd9e8d57] as const;
const weyl = [0x9e3779b9, 0xbb67ae85] as const;

export function lowerRandomBits(ctx: LowerContext, node: Node<"randomBits">): void {
  const [key, counter] = node.operands as [Value, Value];
  const y = node.results[0]!;
  const size = sizeOf(y.type.shape);
  const blocks = dimFloorDiv(dimAdd(size, 3), 4);
  mapKernel(ctx, node, "u32_philox", [blocks], 64, (k) => {
    const keys = k.read(key);
    const counters = k.read(counter);
    const out = k.write(y);
    const n = k.size(size);
    return ([block]) => {
      const b = k.block;
      const at = k.e.index(block!);
      let c: [Expr, Expr, Expr, Expr] = [
        at,
        B.i32(0),
        b.let("c2", k.loadFlat(counters, 0)),
        b.let("c3", k.loadFlat(counters, 1)),
      ];
      let [k0, k1] = [b.let("k0", k.loadFlat(keys, 0)), b.let("k1", k.loadFlat(keys, 1))];
      for (let round = 0; round < 10; round++) {
        const product = (x: Expr, m: number) => b.let("p", B.mul(B.convert("i64.from_i32U", x), B.i64(BigInt(m))));
        const p0 = product(c[0], multipliers[0]);
        const p1 = product(c[2], multipliers[1]);
        const high = (p: Expr) => B.convert("i32.from_i64", B.shrU(p, 32));
        const low = (p: Expr) => B.convert("i32.from_i64", p);
        c = [
          b.let("x0", B.xor(B.xor(high(p1), c[1]), k0)),
          b.let("x1", low(p1)),
          b.let("x2", B.xor(B.xor(high(p0), c[3]), k1)),
          b.let("x3", low(p0)),
        ];
        if (round < 9) {
          k0 = b.let("k0", B.add(k0, weyl[0] | 0));
          k1 = b.let("k1", B.add(k1, weyl[1] | 0));
        }
      }
      const first = b.let("first", B.mul(at, 4));
      c.forEach((word, j) => {
        const to = j === 0 ? first : B.add(first, j);
        if (j === 0) k.storeFlat(out, to, word);
        else b.if(B.ltS(to, n), () => k.storeFlat(out, to, word));
      });
    };
  });
}
