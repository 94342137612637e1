/** What data decide the size of. The context comes first: it names the sizes that a run finds. */

import * as build from "../../../ir/build.js";
import type { Dim } from "../../../ir/dim.js";
import { isInt } from "../../../ir/dtype.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { normalizeAxis } from "../../../ir/infer.js";
import * as ops from "../../../ir/ops/dynamic.js";
import { gather } from "../../../ir/ops/indexing.js";
import { productOf } from "../../../ir/ops/movement.js";
import { type Context, contextOf } from "../context.js";
import { toBool } from "./cast.js";

/** Indices (i64 [count, rank]) of the elements that are not 0, in row-major order. */
export function nonzero(ctx: Context, x: Value): Value {
  const { made } = contextOf(ctx).findSize("nonzero", productOf(build.shapeOf(x)), (defines) =>
    ops.nonZero([x], { defines }),
  );
  return build.swapAxes(made, 0, 1);
}

/** The elements where the mask holds, as a vector. */
export function maskedSelect(ctx: Context, x: Value, mask: Value): Value {
  const [values, kept] = build.broadcastAll(x, toBool(mask)) as [Value, Value];
  const places = nonzero(ctx, build.reshapeTo(kept, [-1]));
  return gather([build.reshapeTo(values, [-1]), build.squeeze(places, 1)], { axis: 0 });
}

export interface UniqueOptions {
  /** In ascending order, rather than of first occurrence. Default true. */
  readonly sorted?: boolean;
  /** Distinct slices along this axis, rather than elements. */
  readonly dim?: number;
}

/** Distinct elements (or slices), for each element the index of its equal among them, and how often each occurs. */
export function unique(
  ctx: Context,
  x: Value,
  { sorted = true, dim }: UniqueOptions = {},
): readonly [values: Value, inverse: Value, counts: Value] {
  const axis = dim === undefined ? undefined : normalizeAxis(dim, build.rankOf(x));
  const bound = axis === undefined ? productOf(build.shapeOf(x)) : build.shapeOf(x)[axis]!;
  const { made } = contextOf(ctx).findSize("unique", bound, (defines) =>
    ops.unique([x], { defines, sorted, ...(axis === undefined ? {} : { axis }) }),
  );
  const [values, , inverse, counts] = made as readonly [Value, Value, Value, Value];
  return [values, axis === undefined ? build.reshapeTo(inverse, build.shapeOf(x)) : inverse, counts];
}

/** An integer scalar as a size, for shapes: at most `bound`; a run ends in an error beyond it. */
export function toSize(ctx: Context, value: Value, bound: Dim): Dim {
  if (!isInt(build.dtypeOf(value))) throw new ModelError(`a size is an integer scalar, not ${typeText(value.type)}`);
  const scalar = build.asType(build.reshapeTo(value, []), "i64");
  return contextOf(ctx).findSize("size", bound, (defines) => ops.bindDim([scalar], { defines })).size;
}

/** start, start + step, … below end, of scalars that a run knows; at most `bound` of them. */
export function range(ctx: Context, start: Value, end: Value, step: Value, bound: Dim): Value {
  return contextOf(ctx).findSize("range", bound, (defines) => ops.range([start, end, step], { defines })).made;
}
