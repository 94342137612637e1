/** f32 functions of the math library, generic over f32 and f32x4. */

import type { Expr } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { polynomial } from "./math-tools.js";

/** 2^n for n in −126…127, as the bits of an exponent. */
const powerOfTwo = (n: Expr, x: Expr): Expr => B.bitcast(x.type, B.shl(B.add(n, 127), 23));

/**
 * e^x: x = n·ln2 + r with |r| ≤ ln2/2 (ln2 in two parts), a polynomial of degree 6 for e^r, and scaling by 2^n in two
 * steps, which rounds once into the subnormals.
 */
export function expF32(b: Block, x: Expr): Expr {
  // Beyond these bounds the result is 0 or infinity anyway. pmin and pmax keep NaN as it comes.
  const t = b.let("t", B.pmax(B.pmin(x, 89), -104.5));
  const n = b.let("n", B.nearest(B.mul(t, Math.LOG2E)));
  const r = b.let("r", B.fma(n, -1.42860677e-6, B.fma(n, -0.693145752, t)));
  const tail = polynomial(r, [0.5, 1 / 6, 1 / 24, 1 / 120, 1 / 720]);
  const p = b.let("p", B.add(B.fma(B.mul(r, r), tail, r), 1));
  const k = b.let("k", B.convert("i32.from_f32S", n));
  const half = b.let("half", B.shrS(k, 1));
  return B.mul(B.mul(p, powerOfTwo(half, x)), powerOfTwo(B.sub(k, half), x));
}
