/** The rounds of Philox 4×32-10 in Loop IR: ir/ops/random.ts has the definition. */

import type { Expr } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";

const multipliers = [0xd2511f53, 0xcd9e8d57] as const;
const weyl = [0x9e3779b9, 0xbb67ae85] as const;

export type Counter = readonly [Expr, Expr, Expr, Expr];

/** The four words of the block with this counter under this key; all are i32. */
export function philoxBlock(b: Block, counter: Counter, key: readonly [Expr, Expr]): Counter {
  let c = counter;
  let [k0, k1] = key;
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
  return c;
}
