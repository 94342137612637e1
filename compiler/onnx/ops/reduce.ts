/** Reductions over axes, ArgMin/ArgMax, cumulative sums. */
import { asType, broadcastTo, constantLike, dimScalar, np, rankOf, reducedCount, where } from "../../../ir/build.js";
import { isFloat } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import type { Op } from "../../../ir/op.js";
import { abs, exp, log, mul, sqrt } from "../../../ir/ops/elementwise.js";
import { eq, logicalOr } from "../../../ir/ops/logic.js";
import {
  type ArgAttrs,
  all,
  any,
  argMax,
  argMin,
  prod,
  type ReduceAttrs,
  reduceMax,
  reduceMin,
  sum,
} from "../../../ir/ops/reduce.js";
import type { ImportOp, NodeContext, OpRow } from "../context.js";
import { inF32 } from "./elementwise.js";

/** Since when the axes are an input instead of an attribute. */
const AXES_INPUT: Readonly<Record<string, number>> = { ReduceSum: 13 };

/** The axes to reduce over; none given means all, or nothing with noop_with_empty_axes. */
function reduceAttrs(c: NodeContext, x: Value): ReduceAttrs | "copy" {
  const fromInput = c.since >= (AXES_INPUT[c.node.opType] ?? 18);
  const given = fromInput ? c.optionalInts(1, "the axes") : c.attrs.ints("axes", undefined);
  const keepDims = c.attrs.flag("keepdims", true);
  if (given === undefined || given.length === 0) {
    if (fromInput && c.attrs.flag("noop_with_empty_axes", false)) return "copy";
    return { axes: x.type.shape.map((_, i) => i), keepDims };
  }
  return { axes: c.axes(given, rankOf(x)), keepDims };
}

const NONE: ReduceAttrs = { axes: [], keepDims: true };

const reduction =
  (build: (x: Value, attrs: ReduceAttrs) => Value): ImportOp =>
  (c) => {
    const x = c.input(0);
    const attrs = reduceAttrs(c, x);
    return build(x, attrs === "copy" ? NONE : attrs);
  };

const mean = (x: Value, attrs: ReduceAttrs): Value => {
  const total = sum([x], attrs);
  return np.div(total, dimScalar(reducedCount(x, attrs.axes), x.type.dtype));
};

/** log Σ e^x, shifted by the maximum so that nothing overflows. */
export function logSumExp(x: Value, attrs: ReduceAttrs): Value {
  if (!isFloat(x.type.dtype)) return asType(logSumExp(asType(x, "f64"), attrs), x.type.dtype);
  const top = reduceMax([x], { ...attrs, keepDims: true });
  const infinite = logicalOr([
    eq([top, constantLike(top, Number.POSITIVE_INFINITY)]),
    eq([top, constantLike(top, Number.NEGATIVE_INFINITY)]),
  ]);
  // Shifting by an infinity would give NaN.
  const shift = where(infinite, 0, top);
  const total = log([sum([exp([np.sub(x, broadcastTo(shift, x.type.shape))])], { ...attrs, keepDims: true })]);
  const result = np.add(total, shift);
  return attrs.keepDims ? result : sum([result], attrs);
}

/** Through f64 for integers, whose logarithms and roots truncate. */
function inFloat(x: Value, compute: (x: Value) => Value): Value {
  return isFloat(x.type.dtype) ? inF32([x], ([v]) => compute(v!)) : asType(compute(asType(x, "f64")), x.type.dtype);
}

const extremum =
  (numeric: Op<string, ReduceAttrs>, logical: Op<string, ReduceAttrs>): ImportOp =>
  (c) =>
    reduction((x, attrs) => (x.type.dtype === "bool" ? logical([x], attrs) : numeric([x], attrs)))(c);

const arg =
  (op: Op<string, ArgAttrs>): ImportOp =>
  (c) => {
    const x = c.input(0);
    return op([x], {
      axis: c.axis(c.attrs.int("axis", 0), rankOf(x)),
      keepDims: c.attrs.flag("keepdims", true),
      last: c.attrs.flag("select_last_index", false),
    });
  };

export const reduce = {
  ReduceSum: reduction((x, a) => sum([x], a)),
  ReduceProd: reduction((x, a) => prod([x], a)),
  ReduceMean: reduction((x, a) => mean(x, a)),
  ReduceMax: extremum(reduceMax, any),
  ReduceMin: extremum(reduceMin, all),
  ReduceL1: reduction((x, a) => sum([abs([x])], a)),
  ReduceL2: reduction((x, a) => inFloat(x, (v) => sqrt([sum([mul([v, v])], a)]))),
  ReduceSumSquare: reduction((x, a) => sum([mul([x, x])], a)),
  ReduceLogSum: reduction((x, a) => inFloat(x, (v) => log([sum([v], a)]))),
  ReduceLogSumExp: reduction(logSumExp),
  ArgMax: arg(argMax),
  ArgMin: arg(argMin),
} as const satisfies Readonly<Record<string, OpRow>>;
