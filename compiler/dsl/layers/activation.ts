/** Activations as layers, with PyTorch's default constants. */

import type { Value } from "../../../ir/graph.js";
import * as act from "../../../ir/ops/activation.js";
import { sigmoid, tanh } from "../../../ir/ops/elementwise.js";
import { logSoftmax, softmax } from "../../../ir/ops/normalize.js";
import type { Context } from "../context.js";
import { constant } from "../init.js";
import { Module, parameter, type Variable } from "../module.js";
import { type FunctionLayer, Lambda } from "./basic.js";

export const ReLU = (): FunctionLayer => Lambda((x) => act.relu([x]));
export const LeakyReLU = (slope = 0.01): FunctionLayer => Lambda((x) => act.leakyRelu([x], { slope }));
export const ELU = (alpha = 1): FunctionLayer => Lambda((x) => act.elu([x], { alpha }));
export const CELU = (alpha = 1): FunctionLayer => Lambda((x) => act.celu([x], { alpha }));
export const SELU = (): FunctionLayer => Lambda((x) => act.selu([x], act.seluConstants));
export const GELU = (approximate: "none" | "tanh" = "none"): FunctionLayer =>
  Lambda((x) => act.gelu([x], { approximate }));
export const SiLU = (): FunctionLayer => Lambda((x) => act.silu([x]));
export const Mish = (): FunctionLayer => Lambda((x) => act.mish([x]));
export const Softplus = (beta = 1): FunctionLayer => Lambda((x) => act.softplus([x], { beta }));
export const Softsign = (): FunctionLayer => Lambda((x) => act.softsign([x]));
export const Hardtanh = (low = -1, high = 1): FunctionLayer => Lambda((x) => act.hardTanh([x], { low, high }));
export const ReLU6 = (): FunctionLayer => Hardtanh(0, 6);
export const Hardsigmoid = (): FunctionLayer => Lambda((x) => act.hardSigmoid([x], act.hardSigmoidConstants));
export const Hardswish = (): FunctionLayer => Lambda((x) => act.hardSwish([x]));
export const Hardshrink = (lambda = 0.5): FunctionLayer => Lambda((x) => act.shrink([x], { lambda, bias: 0 }));
export const Softshrink = (lambda = 0.5): FunctionLayer => Lambda((x) => act.shrink([x], { lambda, bias: lambda }));
export const LogSigmoid = (): FunctionLayer => Lambda((x) => act.logSigmoid([x]));
export const Sigmoid = (): FunctionLayer => Lambda((x) => sigmoid([x]));
export const Tanh = (): FunctionLayer => Lambda((x) => tanh([x]));
export const GLU = (axis = -1): FunctionLayer => Lambda((x) => act.glu([x], { axis }));
export const Softmax = (axis = -1): FunctionLayer => Lambda((x) => softmax([x], { axis }));
export const LogSoftmax = (axis = -1): FunctionLayer => Lambda((x) => logSoftmax([x], { axis }));

/** Learns the slope of negative values: one, or one for each channel (axis 1). */
export class PReLULayer extends Module {
  readonly weight: Variable;

  constructor(count: number, initial: number) {
    super();
    this.weight = parameter([count], constant(initial));
  }

  forward(ctx: Context, x: Value): Value {
    return act.prelu([x, act.channelSlope(x, ctx.value(this.weight))]);
  }
}
export const PReLU = (count = 1, initial = 0.25): PReLULayer => new PReLULayer(count, initial);
