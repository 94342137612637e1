/**
 * Uniform and normal numbers from words of Philox, in lanes: bit for bit those of compiler/dsl/random.ts, whose scalar code says what they
 * are. All operations are those of IEEE 754, in the same order, and none is fused.
 */

import type { Expr } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";

/** Lanes 0 and 1 (half 0) or 2 and 3 (half 1) of unsigned words as f64. */
const half = (x: Expr, which: 0 | 1): Expr =>
  B.convert("f64.from_i32U", which === 0 ? x : B.shuffle(x, x, [2, 3, 0, 1]));

/** Uniform in [0, 1), of two words i32x4 → f64x2: the first gives the high 27 of 53 bits. */
export function unitLanes(b: Block, high: Expr, low: Expr, which: 0 | 1): Expr {
  const bits = B.add(B.mul(half(B.shrU(high, 5), which), 2 ** 26), half(B.shrU(low, 6), which));
  return b.let("unit", B.mul(bits, 2 ** -53));
}

const horner = (x: Expr, [first, ...rest]: readonly [Expr | number, ...number[]]): Expr =>
  rest.reduce((sum: Expr, c) => B.add(B.mul(x, sum), c), B.broadcast("f64x2", first));

/** The natural logarithm of lanes: `log` of compiler/dsl/random.ts. */
export function logLanes(b: Block, x: Expr): Expr {
  const bits = b.let("bits", B.bitcast("i64x2", x));
  // x = 2^k · (1 + f) with 1 + f from √½ to √2. The exponent is made a double by the bits of 2^52 in front of it.
  const exponent = b.let("exponent", B.shrU(B.add(bits, 0x95f64 * 2 ** 32), 52));
  const k = b.let("k", B.sub(B.bitcast("f64x2", B.or(exponent, doubleBits(2 ** 52))), 2 ** 52 + 1023));
  const f = b.let("f", B.sub(B.bitcast("f64x2", B.sub(bits, B.shl(B.sub(exponent, 1023), 52))), 1));
  const s = b.let("s", B.div(f, B.add(f, 2)));
  const z = b.let("z", B.mul(s, s));
  const w = b.let("w", B.mul(z, z));
  const odd = B.mul(w, horner(w, [0.15313837699209373, 0.22222198432149784, 0.3999999999940942]));
  const even = B.mul(z, horner(w, [0.14798198605116586, 0.1818357216161805, 0.2857142874366239, 0.6666666666666735]));
  const r = b.let("r", B.add(even, odd));
  const square = b.let("square", B.mul(B.mul(f, 0.5), f));
  const low = b.let("low", B.mul(k, 1.9082149292705877e-10));

  // ln x = k·ln 2 − ((upper − lower) − f), where what is summed first depends on the mantissa's leading bits.
  const mantissa = b.let("mantissa", B.bitcast("f64x2", B.or(B.and(bits, 2 ** 52 - 1), doubleBits(1))));
  const from = (steps: number) => B.ge(mantissa, 1 + steps / 2 ** 20);
  const middle = b.let("middle", B.and(from(0x6147a), B.not(from(0x6b852))));
  const nearOne = b.let("nearOne", B.or(from(0xffffe), B.not(from(1))));
  const upper = B.select(middle, square, B.mul(s, B.sub(f, r)));
  const lower = B.select(middle, B.add(B.mul(s, B.add(square, r)), low), low);
  const tiny = B.mul(B.mul(f, f), B.sub(B.broadcast("f64x2", 0.5), B.mul(f, 1 / 3)));
  const rest = B.sub(B.sub(B.select(nearOne, tiny, upper), lower), f);
  return B.sub(B.mul(k, 0.6931471803691238), rest);
}

/** The bits of a double in each lane. */
function doubleBits(value: number): Expr {
  const bits = new BigInt64Array(Float64Array.of(value).buffer)[0]!;
  return B.constant("i64x2", bits);
}

/** Box–Muller: standard normal numbers in pairs, of two uniform numbers each. */
export function normalPairs(b: Block, first: Expr, second: Expr): readonly [Expr, Expr] {
  const radius = b.let("radius", B.sqrt(B.mul(logLanes(b, B.sub(B.broadcast("f64x2", 1), first)), -2)));
  const quarters = b.let("quarters", B.mul(second, 4));
  const nearest = b.let("nearest", B.floor(B.add(quarters, 0.5)));
  const x = b.let("x", B.mul(B.sub(quarters, nearest), Math.PI / 2));
  const z = b.let("z", B.mul(x, x));
  const sine = horner(
    z,
    [
      1.58969099521155e-10, -2.5050760253406863e-8, 2.7557313707070068e-6, -1.984126982985795e-4, 8.33333333332249e-3,
      -1.6666666666666632e-1,
    ],
  );
  const s = b.let("sine", B.add(x, B.mul(B.mul(x, z), sine)));
  const cosine = horner(
    z,
    [
      -1.1359647557788195e-11, 2.087572321298175e-9, -2.7557314351390663e-7, 2.480158728947673e-5,
      -1.388888888887411e-3, 4.16666666666666e-2,
    ],
  );
  const halves = B.sub(B.broadcast("f64x2", 0.5), B.mul(z, cosine));
  const c = b.let("cosine", B.sub(B.broadcast("f64x2", 1), B.mul(z, halves)));
  // Of whole quarters of a turn, 0 to 4: cosines 1, 0, −1, 0, 1 and sines 0, 1, 0, −1, 0.
  const fromHalf = b.let("fromHalf", B.sub(B.broadcast("f64x2", 2), nearest));
  const c0 = b.let("c0", B.sub(B.abs(fromHalf), 1));
  const s0 = b.let("s0", B.mul(fromHalf, B.sub(B.broadcast("f64x2", 1), c0)));
  return [
    b.let("byCosine", B.mul(radius, B.sub(B.mul(c0, c), B.mul(s0, s)))),
    b.let("bySine", B.mul(radius, B.add(B.mul(s0, c), B.mul(c0, s)))),
  ];
}
