import { amax, axesOf, mean, squeeze, sum, variance } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { gatherElements } from "../../../ir/ops/indexing.js";
import { logSumExp } from "../../../ir/ops/normalize.js";
import { argMax, argMin, prod } from "../../../ir/ops/reduce.js";
import { cumProd, cumSum, sort, topK } from "../../../ir/ops/sort.js";
import type { Builders } from "./builder.js";

/** Value and index of the extremum; the value's gradient goes to that index alone. */
function extremum(op: typeof argMax | typeof argMin, x: Value, at: number, keepDims: boolean): readonly Value[] {
  const axis = axesOf(x, at)[0]!;
  const index = op([x], { axis, keepDims: true });
  const value = gatherElements([x, index], { axis });
  return keepDims ? [value, index] : [squeeze(value, axis), squeeze(index, axis)];
}

const running = { axis: 1, exclusive: false, reverse: false };

export const reduce: Builders = {
  sum_all: ({ x }) => sum(x!),
  sum_axes_keepdim: ({ x }) => sum(x!, [0, 2], { keepDims: true }),
  mean_axis: ({ x }) => mean(x!, 1),
  mean_axes: ({ x }) => mean(x!, [1, 2]),
  max_axis: ({ x }) => extremum(argMax, x!, 1, false),
  amax_axes: ({ x }) => amax(x!, [0, 2]),
  min_axis_keepdim: ({ x }) => extremum(argMin, x!, -1, true),
  amax_ties: ({ x }) => amax(x!, 1),
  max_ties: ({ x }) => extremum(argMax, x!, 1, false),
  prod_axis: ({ x }) => prod([x!], { axes: [1], keepDims: false }),
  var_unbiased: ({ x }) => variance(x!, 1, { correction: 1 }),
  var_biased_axes: ({ x }) => variance(x!, [0, 2], { keepDims: true }),
  logsumexp: ({ x }) => logSumExp([x!], { axes: [1], keepDims: false }),
  cumsum: ({ x }) => cumSum([x!], running),
  cumprod: ({ x }) => cumProd([x!], running),
  sort: ({ x }) => sort([x!], { axis: 1, descending: true }),
  topk: ({ x }) => topK([x!], { k: 2, axis: 1, largest: true }),
};
