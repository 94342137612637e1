import type { Value } from "../../../ir/graph.js";
import * as norm from "../../../ir/ops/normalize.js";
import type { Builder, Builders } from "./builder.js";

const given = (...values: readonly (Value | undefined)[]): Value[] => values.filter((v) => v !== undefined);

const batchNorm: Builder = ({ x, running_mean, running_var, weight, bias }, { training, momentum, eps }) => {
  const operands = [x!, running_mean!, running_var!, ...given(weight, bias)];
  const epsilon = eps as number;
  if (!training) return [norm.batchNorm(operands, { axis: 1, epsilon }), running_mean!, running_var!];
  return norm.batchNormTrain(operands, { axis: 1, epsilon, momentum: momentum as number, correction: 1 });
};

export const norms: Builders = {
  batch_norm1d_train: batchNorm,
  batch_norm2d_train: batchNorm,
  batch_norm2d_eval: batchNorm,
  batch_norm2d_train_noaffine: batchNorm,
  batch_norm3d_train: batchNorm,
  layer_norm: ({ x, weight, bias }) => norm.layerNorm([x!, weight!, bias!], { axis: 2, epsilon: 1e-5 }),
  layer_norm_2d: ({ x, weight, bias }) => norm.layerNorm([x!, weight!, bias!], { axis: 1, epsilon: 1e-3 }),
  group_norm: ({ x, weight, bias }) => norm.groupNorm([x!, weight!, bias!], { groups: 2, epsilon: 1e-5 }),
  instance_norm: ({ x, weight, bias }) => norm.instanceNorm([x!, weight!, bias!], { epsilon: 1e-5 }),
  local_response_norm: ({ x }) => norm.lrn([x!], { before: 1, after: 1, alpha: 0.1, beta: 0.75, bias: 1 }),
  softmax: ({ x }) => norm.softmax([x!], { axis: 1 }),
  softmax_axis0: ({ x }) => norm.softmax([x!], { axis: 0 }),
  log_softmax: ({ x }) => norm.logSoftmax([x!], { axis: 1 }),
  softmax_large: ({ x }) => norm.softmax([x!], { axis: 1 }),
};
