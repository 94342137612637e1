/** What is known of the numbers that a value holds: bounds from constants, dtypes and limits along the way. */

import { type DType, dtypeInfo, isBig, isFloat, isInt } from "../ir/dtype.js";
import type { GraphNode, Value } from "../ir/graph.js";
import { element, type Tensor } from "../ir/tensor.js";

/** All elements that are not NaN lie in [low, high]. */
export interface Range {
  readonly low: number;
  readonly high: number;
  /** No element is NaN or has a fraction. */
  readonly whole: boolean;
}

const anything: Range = { low: -Infinity, high: Infinity, whole: false };

/** Ops between a value and what bounds it. */
const mostSteps = 24;

const ofTensor = new WeakMap<Tensor, Range>();

/** The range of a value; for integers, of what they are after wrapping. */
export function rangeOf(v: Value, steps = mostSteps): Range {
  const own = ofDType(v.type.dtype);
  const { def } = v;
  if (def.op === "param" || v.index !== 0 || steps === 0) return own;
  if (def.op === "constant") return constantRange(def.attrs.value);
  const computed = computedRange(def, (i) => rangeOf(def.operands[i]!, steps - 1));
  // An integer op whose true result leaves the type wraps to anything in it.
  return computed.low >= own.low && computed.high <= own.high
    ? { ...computed, whole: computed.whole || own.whole }
    : own;
}

function ofDType(dtype: DType): Range {
  if (dtype === "bool") return { low: 0, high: 1, whole: true };
  if (!isInt(dtype) || isBig(dtype)) return { ...anything, whole: isInt(dtype) };
  const { bits, signed } = dtypeInfo[dtype];
  return signed
    ? { low: -(2 ** (bits - 1)), high: 2 ** (bits - 1) - 1, whole: true }
    : { low: 0, high: 2 ** bits - 1, whole: true };
}

function constantRange(t: Tensor): Range {
  let range = ofTensor.get(t);
  if (range === undefined) {
    let [low, high, whole] = [Infinity, -Infinity, true];
    for (let i = 0; i < t.data.length; i++) {
      const x = element(t, i);
      whole &&= Number.isInteger(x);
      if (x < low) low = x;
      if (x > high) high = x;
    }
    range = low > high ? { low: 0, high: 0, whole } : { low, high, whole };
    ofTensor.set(t, range);
  }
  return range;
}

function computedRange(n: GraphNode, operand: (i: number) => Range): Range {
  switch (n.op) {
    case "broadcast":
    case "reshape":
    case "transpose":
    case "slice":
    case "gather":
    case "maxPool":
      return operand(0);
    case "pad":
      return hull(operand(0), { low: n.attrs.value, high: n.attrs.value, whole: Number.isInteger(n.attrs.value) });
    case "concat":
      return n.operands.map((_, i) => operand(i)).reduce(hull);
    case "select":
      return hull(operand(1), operand(2));
    case "round":
    case "floor":
    case "ceil":
    case "trunc": {
      const { low, high } = operand(0);
      return { low: Math.floor(low), high: Math.ceil(high), whole: false };
    }
    case "min":
    case "max": {
      const [a, b] = [operand(0), operand(1)];
      const of = n.op === "min" ? Math.min : Math.max;
      return { low: of(a.low, b.low), high: of(a.high, b.high), whole: a.whole && b.whole };
    }
    case "add":
      return sum(n, operand(0), operand(1));
    case "sub": {
      const b = operand(1);
      return sum(n, operand(0), { ...b, low: -b.high, high: -b.low });
    }
    case "conv": {
      const [o = 1, ...taps] = n.operands[1]!.type.shape;
      if (taps.some((d) => typeof d !== "number") || typeof o !== "number") return anything;
      const depth = (taps as number[]).reduce((a, b) => a * b, 1);
      return product(n, depth, operand(0), operand(1));
    }
    case "cast":
      return castRange(n.operands[0]!.type.dtype, n.attrs.to, operand(0));
    default:
      return anything;
  }
}

const hull = (a: Range, b: Range): Range => ({
  low: Math.min(a.low, b.low),
  high: Math.max(a.high, b.high),
  whole: a.whole && b.whole,
});

/** Whole numbers up to here are exact in f32, and so are the sums of them that stay below. */
export const mostExact = 2 ** 24;

const isExact = (n: GraphNode, bound: number, ...operands: readonly Range[]): boolean => {
  const { dtype } = n.results[0]!.type;
  return (
    operands.every((r) => r.whole) && (isInt(dtype) || ((dtype === "f32" || dtype === "f64") && bound <= mostExact))
  );
};

function sum(n: GraphNode, a: Range, b: Range): Range {
  const [low, high] = [a.low + b.low, a.high + b.high];
  return isExact(n, Math.max(-low, high), a, b) ? { low, high, whole: true } : anything;
}

/** Sums of `depth` products. */
function product(n: GraphNode, depth: number, a: Range, b: Range): Range {
  const bound = depth * magnitude(a) * magnitude(b);
  return isExact(n, bound, a, b) ? { low: -bound, high: bound, whole: true } : anything;
}

function castRange(from: DType, to: DType, x: Range): Range {
  if (isInt(to) && !isBig(to)) {
    if (!isFloat(from)) return x;
    // NaN becomes 0; numbers beyond the type become its ends.
    const limits = ofDType(to);
    const limit = (y: number) => Math.min(Math.max(Math.trunc(y), limits.low), limits.high);
    return { low: Math.min(limit(x.low), 0), high: Math.max(limit(x.high), 0), whole: true };
  }
  return (to === "f32" || to === "f64") && x.whole && magnitude(x) <= mostExact ? x : anything;
}

/** The largest absolute value. */
export const magnitude = (r: Range): number => Math.max(Math.abs(r.low), Math.abs(r.high));

/** Whether every value in the range is one of the integer dtype's. */
export const fitsIn = (r: Range, dtype: DType): boolean => {
  const limits = ofDType(dtype);
  return r.whole && isInt(dtype) && r.low >= limits.low && r.high <= limits.high;
};
