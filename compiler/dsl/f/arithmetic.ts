/**
 * Arithmetic, comparisons and logic of values and numbers. Operands broadcast as in numpy; a number takes the dtype of its partner and
 * is refused where that would lose its fraction.
 */

import { type Arg, asType, broadcastAll, where as choose, dtypeOf, clamp as limit, np } from "../../../ir/build.js";
import { isFloat, isInt } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import { isValue } from "../../../ir/op.js";
import { constantLike } from "../../../ir/ops/constant.js";
import * as ew from "../../../ir/ops/elementwise.js";
import * as logic from "../../../ir/ops/logic.js";
import { toBool } from "./cast.js";

export type { Arg };

/** A function of two values or numbers, of which at least one is a value. */
export type Binary = (a: Arg, b: Arg) => Value;

// ---------------------------------------------------------------------------------------------- arithmetic

/** a + b. */
export const add: Binary = np.add;

/** a − b. */
export const sub: Binary = np.sub;

/** b − a: `x.rsub(1)` is 1 − x. */
export const rsub: Binary = (a, b) => np.sub(b, a);

/** a · b. */
export const mul: Binary = np.mul;

/** a / b, as f32 of integers. See `floorDivide` for whole quotients. */
export function div(a: Arg, b: Arg): Value {
  const [x, y] = broadcastAll(a, b) as [Value, Value];
  if (!isInt(dtypeOf(x)) || dtypeOf(x) !== dtypeOf(y)) return ew.div([x, y]);
  return ew.div([asType(x, "f32"), asType(y, "f32")]);
}

/** ⌊a / b⌋, in the dtype of the operands. An integer divided by 0 is 0. */
export function floorDivide(a: Arg, b: Arg): Value {
  const [x, y] = broadcastAll(a, b) as [Value, Value];
  const quotient = ew.div([x, y]);
  if (isFloat(dtypeOf(x))) return ew.floor([quotient]);
  // Integer division truncates: one less where there is a rest and the signs differ.
  const rest = ew.rem([x, y]);
  const below = np.and(np.ne(rest, 0), np.ne(np.lt(rest, 0), np.lt(y, 0)));
  return choose(below, np.sub(quotient, 1), quotient);
}

/** Remainder with the sign of a (C's fmod). */
export const fmod: Binary = np.rem;

/** Remainder with the sign of b (Python's %). */
export function remainder(a: Arg, b: Arg): Value {
  const [x, y] = broadcastAll(a, b) as [Value, Value];
  const rest = ew.rem([x, y]);
  const other = np.and(np.ne(rest, 0), np.ne(np.lt(rest, 0), np.lt(y, 0)));
  return choose(other, ew.add([rest, y]), rest);
}

/** a to the power b. */
export function pow(a: Arg, b: Arg): Value {
  if (b === 2 && isValue(a)) return ew.mul([a, a]);
  return np.pow(a, b);
}

/** Larger of a and b; NaN if either is NaN. */
export const maximum: Binary = np.max;

/** Smaller of a and b; NaN if either is NaN. */
export const minimum: Binary = np.min;

/** Angle of the point (x = b, y = a) in [−π, π]. */
export const atan2: Binary = np.atan2;

/** √(a² + b²). */
export const hypot: Binary = (a, b) => ew.sqrt([np.add(pow(a, 2), pow(b, 2))]);

/** log(eᵃ + eᵇ), without overflow. */
export function logAddExp(a: Arg, b: Arg): Value {
  const [x, y] = broadcastAll(a, b) as [Value, Value];
  const high = ew.max([x, y]);
  const gap = ew.neg([ew.abs([ew.sub([x, y])])]);
  // Equal infinities have no distance: their sum is the larger one.
  return choose(np.eq(x, y), np.add(high, Math.LN2), ew.add([high, ew.log1p([ew.exp([gap])])]));
}

/** start + weight · (end − start). */
export const lerp = (start: Value, end: Arg, weight: Arg): Value => np.add(start, np.mul(np.sub(end, start), weight));

/** x + value · a · b. */
export const addcmul = (x: Value, a: Value, b: Arg, { value = 1 }: { readonly value?: number } = {}): Value =>
  np.add(x, np.mul(np.mul(a, b), value));

/** x + value · a / b. */
export const addcdiv = (x: Value, a: Value, b: Arg, { value = 1 }: { readonly value?: number } = {}): Value =>
  np.add(x, np.mul(div(a, b), value));

/** x limited to [low, high]; a bound that is left out does not limit. NaN stays NaN. */
export const clamp = (x: Value, low?: Arg, high?: Arg): Value => limit(x, low, high);

// --------------------------------------------------------------------------------------------- comparisons

/** a = b, as bool. */
export const eq: Binary = np.eq;

/** a ≠ b, as bool. */
export const ne: Binary = np.ne;

/** a < b, as bool. */
export const lt: Binary = np.lt;

/** a ≤ b, as bool. */
export const le: Binary = np.le;

/** a > b, as bool. */
export const gt: Binary = np.gt;

/** a ≥ b, as bool. */
export const ge: Binary = np.ge;

/** |a − b| ≤ atol + rtol·|b|, as bool. NaN is close to nothing. */
export const isClose = (a: Arg, b: Value, rtol = 1e-5, atol = 1e-8): Value =>
  np.le(ew.abs([np.sub(a, b)]), np.add(np.mul(ew.abs([b]), rtol), atol));

/** Whether each element is NaN. */
export const isNan = (x: Value): Value => np.ne(x, x);

/** Whether each element is ∞ or −∞. */
export const isInf = (x: Value): Value => np.eq(ew.abs([x]), Infinity);

/** Whether each element is neither infinite nor NaN. */
const finite = (x: Value): Value => np.lt(ew.abs([x]), Infinity);

export { finite as isFinite };

/** NaN and infinities replaced by numbers. The defaults are 0 and the largest numbers of f32. */
export function nanToNum(x: Value, nan = 0, posinf = 3.4028234663852886e38, neginf = -3.4028234663852886e38): Value {
  const limited = choose(np.eq(x, Infinity), posinf, choose(np.eq(x, -Infinity), neginf, x));
  return choose(isNan(x), nan, limited);
}

// --------------------------------------------------------------------------------------------------- logic

/** a and b. Numbers count as true where they are not 0. */
export const logicalAnd = (a: Value, b: Value): Value => np.and(toBool(a), toBool(b));

/** a or b. */
export const logicalOr = (a: Value, b: Value): Value => np.or(toBool(a), toBool(b));

/** Either a or b. */
export const logicalXor = (a: Value, b: Value): Value => np.xor(toBool(a), toBool(b));

/** Not x. */
export const logicalNot = (x: Value): Value => logic.not([toBool(x)]);

/** Bits that both integers have; and of bools. */
export const bitwiseAnd: Binary = np.and;

/** Bits that either integer has; or of bools. */
export const bitwiseOr: Binary = np.or;

/** Bits that one of both integers has; xor of bools. */
export const bitwiseXor: Binary = np.xor;

/** Complement of the bits; not of bools. */
export const bitwiseNot = (x: Value): Value => logic.not([x]);

/** a shifted left by b bits. */
export const bitwiseLeftShift = (a: Arg, b: Arg): Value => logic.shiftLeft(broadcastAll(a, b));

/** a shifted right by b bits; signed integers keep their sign. */
export const bitwiseRightShift = (a: Arg, b: Arg): Value => logic.shiftRight(broadcastAll(a, b));

/** a where the condition holds, else b. What is not chosen has no effect, also where it is NaN. */
export const where = (condition: Value, a: Arg, b: Arg): Value => choose(toBool(condition), a, b);

/** value where the mask holds, else x. */
export const maskedFill = (x: Value, mask: Value, value: Arg): Value => choose(toBool(mask), value, x);

/** 0 below 0, `values` at 0, 1 above. */
export const heaviside = (x: Value, values: Arg): Value =>
  choose(np.eq(x, 0), values, choose(np.gt(x, 0), constantLike(x, 1), 0));
