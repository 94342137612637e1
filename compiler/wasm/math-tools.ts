/** Building blocks shared by the math library's functions. */

import type { Expr } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";

/** c[0] + c[1]·x + c[2]·x² + …, by Horner's rule with `fma`. */
export function polynomial(x: Expr, c: readonly number[]): Expr {
  return horner(x, c, B.fma);
}

/**
 * The same by Estrin's scheme, for lanes: neighbours are joined in pairs, pairs by x², and so on. Horner's rule makes one chain of them, of
 * 7 cycles a link without fused multiply-add, for which processors wait where a loop's rounds are too long to overlap.
 */
export function shallowPolynomial(b: Block, x: Expr, c: readonly number[]): Expr {
  let terms: readonly Expr[] = c.map((k) => B.broadcast(x.type, k));
  let power = x;
  while (terms.length > 1) {
    if (terms.length === 3 && c.length === 5) {
      // The last coefficient waits for nothing: joined to the pair before it, it needs no further power.
      const upper = b.let("part", B.fma(terms[2]!, power, terms[1]!));
      return B.fma(upper, power, terms[0]!);
    }
    const joined: Expr[] = [];
    for (let i = 0; i < terms.length; i += 2) {
      const [low, high] = [terms[i]!, terms[i + 1]];
      joined.push(high === undefined ? low : b.let("part", B.fma(high, power, low)));
    }
    terms = joined;
    if (terms.length > 1) power = b.let("power", B.mul(power, power));
  }
  return terms[0]!;
}

/** The same with separate products and sums: scalar fma is slow in the relaxed variant, where it goes through lanes. */
export function plainPolynomial(x: Expr, c: readonly number[]): Expr {
  return horner(x, c, (sum, y, k) => B.add(B.mul(sum, y), k));
}

function horner(x: Expr, c: readonly number[], step: (sum: Expr, x: Expr, k: number) => Expr): Expr {
  let sum: Expr | undefined;
  for (const k of c.toReversed()) sum = sum === undefined ? B.broadcast(x.type, k) : step(sum, x, k);
  return sum ?? B.broadcast(x.type, 0);
}

export const bitsOf = (x: Expr): Expr => B.bitcast("i64", x);

/** y·2^k for scalar f64 y near 1 and k in −1080…1030, rounding once into the subnormals. */
export function scaleByPowerOfTwo(b: Block, y: Expr, k: Expr): Expr {
  const half = b.let("half", B.shrS(k, 1));
  return B.mul(B.mul(y, powerOfTwo(half)), powerOfTwo(B.sub(k, half)));
}

/** 2^k as f64 for an i32 k in −1022…1023. */
export const powerOfTwo = (k: Expr): Expr => B.bitcast("f64", B.shl(B.convert("i64.from_i32S", B.add(k, 1023)), 52));

/** An f64 without its low 32 bits: products of two such values with 21 bits each are exact. */
export const upperPart = (x: Expr): Expr => B.bitcast("f64", B.and(bitsOf(x), B.i64(0xffffffff00000000n)));

/** An unevaluated sum hi + lo of two f64. */
export interface Pair {
  readonly hi: Expr;
  readonly lo: Expr;
}

/** a + b exactly (Knuth). */
export function twoSum(b: Block, x: Expr, y: Expr): Pair {
  const hi = b.let("sum", B.add(x, y));
  const part = b.let("part", B.sub(hi, x));
  return { hi, lo: b.let("rest", B.add(B.sub(x, B.sub(hi, part)), B.sub(y, part))) };
}

/** a·b exactly (Dekker), for |a|, |b| < 2^990. */
export function twoProduct(b: Block, x: Expr, y: Expr): Pair {
  const split = (v: Expr): Pair => {
    const big = b.let("big", B.mul(v, 134217729));
    const hi = b.let("high", B.sub(big, B.sub(big, v)));
    return { hi, lo: b.let("low", B.sub(v, hi)) };
  };
  const hi = b.let("product", B.mul(x, y));
  const [p, q] = [split(x), split(y)];
  const lo = B.add(B.add(B.add(B.sub(B.mul(p.hi, q.hi), hi), B.mul(p.hi, q.lo)), B.mul(p.lo, q.hi)), B.mul(p.lo, q.lo));
  return { hi, lo: b.let("error", lo) };
}

/** Product of two pairs, to about 100 bits. */
export function multiplyPairs(b: Block, x: Pair, y: Pair): Pair {
  const p = twoProduct(b, x.hi, y.hi);
  return renormalise(b, p.hi, B.add(p.lo, B.add(B.mul(x.hi, y.lo), B.mul(x.lo, y.hi))));
}

/** hi + lo with |lo| ≤ half an ulp of hi, given |hi| ≥ |lo|. */
export function renormalise(b: Block, hi: Expr, lo: Expr): Pair {
  const low = b.let("tail", lo);
  const sum = b.let("whole", B.add(hi, low));
  return { hi: sum, lo: b.let("rest", B.add(B.sub(hi, sum), low)) };
}

export const returnIf = (b: Block, cond: Expr, value: Expr): void => b.if(cond, () => b.return(value));
export const notANumber = (x: Expr): Expr => B.ne(x, x);
