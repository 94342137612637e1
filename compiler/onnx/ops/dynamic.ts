/** Ops whose result sizes depend on the data: NonZero, Compress, Unique, NonMaxSuppression. */
import { asType, full, rankOf, reshapeTo, sliceAxis } from "../../../ir/build.js";
import { dimMin, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import * as dyn from "../../../ir/ops/dynamic.js";
import { gather } from "../../../ir/ops/indexing.js";
import { productOf } from "../../../ir/ops/movement.js";
import { element, type Tensor, tensorFrom } from "../../../ir/tensor.js";
import { dimOf } from "../../../passes/values/index.js";
import { host } from "../build.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../context.js";

/** Flat indices of the elements that are not 0. */
function nonZeroOf(t: Tensor): number[] {
  return Array.from({ length: t.data.length }, (_, i) => i).filter((i) => element(t, i) !== 0);
}

const nonZero: ImportOp = (c) => {
  const x = c.input(0);
  const known = c.constant(0);
  if (known) {
    const flat = nonZeroOf(known);
    const strides = known.shape.map((_, a) => known.shape.slice(a + 1).reduce((p, d) => p * d, 1));
    const rows = known.shape.flatMap((d, a) => flat.map((i) => Math.floor(i / strides[a]!) % d));
    return host(tensorFrom("i64", [known.shape.length, flat.length], rows));
  }
  return c.services.findSize("nonzero", productOf(x.type.shape), (defines) => dyn.nonZero([x], { defines })).made;
};

const compress: ImportOp = (c) => {
  const stated = c.attrs.int("axis", undefined);
  const whole = c.input(0);
  const x = stated === undefined ? reshapeTo(whole, [productOf(whole.type.shape)]) : whole;
  const axis = stated === undefined ? 0 : c.axis(stated, rankOf(whole));
  const size = x.type.shape[axis]!;
  const known = c.constant(1);
  if (known) {
    const indices = nonZeroOf(known).filter((i) => typeof size !== "number" || i < size);
    return gather([x, host(tensorFrom("i64", [indices.length], indices))], { axis });
  }
  const mask = c.input(1);
  const given = mask.type.shape[0]!;
  // A condition that the model itself states longer than the axis counts as far as the axis goes; one that only a run makes
  // longer does not belong to the input, and is refused.
  const isLonger = typeof given === "number" && typeof size === "number" && given > size;
  const condition = isLonger ? sliceAxis(mask, 0, 0, size) : mask;
  const length = condition.type.shape[0]!;
  const { made } = c.services.findSize("kept", length, (defines) => dyn.nonZero([condition], { defines }));
  return gather([sliceAxis(x, axis, 0, length), reshapeTo(made, [made.type.shape[1]!])], { axis });
};

const unique: ImportOp = (c): readonly Bound[] => {
  const x = c.input(0);
  const given = c.attrs.int("axis", undefined);
  const axis = given === undefined ? undefined : c.axis(given, rankOf(x));
  const bound = axis === undefined ? productOf(x.type.shape) : x.type.shape[axis]!;
  const sorted = c.attrs.flag("sorted", true);
  return c.services.findSize("unique", bound, (defines) =>
    dyn.unique([x], axis === undefined ? { defines, sorted } : { defines, sorted, axis }),
  ).made;
};

const scalarOr = (c: NodeContext, i: number, dtype: "i64" | "f32", fallback: number): Value => {
  const value = c.optional(i);
  return value ? reshapeTo(asType(value, dtype), []) : full(dtype, [], fallback);
};

const nonMaxSuppression: ImportOp = (c) => {
  const [boxes, scores] = [c.input(0), c.input(1)];
  const [batches, classes, count] = scores.type.shape;
  const most = c.has(2) ? dimOf(c.fact(2)) : 0;
  const perClass = most === undefined ? count! : dimMin(most, count!);
  const bound = dimMul(dimMul(batches!, classes!), perClass);
  const lowest = -3.4028234663852886e38;
  return c.services.findSize("selected", bound, (defines) =>
    dyn.nonMaxSuppression(
      [boxes, scores, scalarOr(c, 2, "i64", 0), scalarOr(c, 3, "f32", 0), scalarOr(c, 4, "f32", lowest)],
      { defines, centerPointBox: c.attrs.flag("center_point_box", false) },
    ),
  ).made;
};

export const dynamic = {
  NonZero: nonZero,
  Compress: compress,
  Unique: unique,
  NonMaxSuppression: nonMaxSuppression,
} as const satisfies Readonly<Record<string, OpRow>>;
