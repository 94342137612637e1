/** The rounds of Philox 4×32-10 in Loop IR: ir/ops/random.ts has the definition. */

import type { Expr } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";

const multipliers = [0xd2511f53, 0xcd9e8d57] as const;
const weyl = [0x9e3779b9, 0xbb67ae85] as const;

/** Four words, each an i32, or an i32x4 with those of four blocks. */
export type Counter = readonly [Expr, Expr, Expr, Expr];

/** The four words of the block with this counter under this key, or of four blocks, one in each lane. */
export function philoxBlock(b: Block, counter: Counter, key: readonly [Expr, Expr]): Counter {
  let c = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const p0 = product(b, c[0], multipliers[0]);
    const p1 = product(b, c[2], multipliers[1]);
    c = [
      b.let("x0", B.xor(B.xor(p1.high, c[1]), k0)),
      b.let("x1", p1.low),
      b.let("x2", B.xor(B.xor(p0.high, c[3]), k1)),
      b.let("x3", p0.low),
    ];
    if (round < 9) {
      k0 = b.let("k0", B.add(k0, weyl[0] | 0));
      k1 = b.let("k1", B.add(k1, weyl[1] | 0));
    }
  }
  return c;
}

/** Both words of x · m, of 64 bits. */
function product(b: Block, x: Expr, m: number): { readonly high: Expr; readonly low: Expr } {
  if (x.type === "i32") {
    const p = b.let("p", B.mul(B.convert("i64.from_i32U", x), B.i64(BigInt(m))));
    return { high: B.convert("i32.from_i64", B.shrU(p, 32)), low: B.convert("i32.from_i64", p) };
  }
  const factor = B.splat("i32x4", m | 0);
  const wide = (op: "extmulLowU" | "extmulHighU") => b.let("p", B.bitcast("i32x4", B.binary(op, x, factor)));
  const [p01, p23] = [wide("extmulLowU"), wide("extmulHighU")];
  return { high: B.shuffle(p01, p23, [1, 3, 5, 7]), low: B.shuffle(p01, p23, [0, 2, 4, 6]) };
}
