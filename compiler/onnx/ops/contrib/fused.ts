/** Layers that ONNX Runtime's optimiser joins: products and convolutions with activations, biases with activations. */
import { np, permute, rankOf, reshapeTo, split, swapAxes } from "../../../../ir/build.js";
import { dimFloorDiv } from "../../../../ir/dim.js";
import type { Value } from "../../../../ir/graph.js";
import * as act from "../../../../ir/ops/activation.js";
import { sigmoid, tanh } from "../../../../ir/ops/elementwise.js";
import { productOf } from "../../../../ir/ops/movement.js";
import { softmax } from "../../../../ir/ops/softmax.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../../context.js";
import { contraction } from "../contraction.js";
import { addBias, convolve } from "../conv.js";
import { matmul } from "../products.js";
import { withBias } from "./common.js";

export const gelu = (x: Value): Value => act.gelu([x], { approximate: "none" });
export const fastGelu = (x: Value): Value => act.gelu([x], { approximate: "tanh" });

const quickGelu = (x: Value, alpha: number): Value => np.mul(x, sigmoid([np.mul(x, alpha)]));

/** The activation that the node names, with its two parameters. */
function activated(c: NodeContext, x: Value, a: number | undefined, b: number | undefined): Value {
  const name = c.attrs.string("activation", "");
  switch (name) {
    case "":
      return x;
    case "Relu":
      return act.relu([x]);
    case "Sigmoid":
      return sigmoid([x]);
    case "Tanh":
      return tanh([x]);
    case "LeakyRelu":
      return act.leakyRelu([x], { slope: a ?? 0.01 });
    case "Clip":
      return np.min(np.max(x, a ?? Number.NEGATIVE_INFINITY), b ?? Number.POSITIVE_INFINITY);
    case "HardSigmoid":
      return act.hardSigmoid([x], { alpha: a ?? 0.2, beta: b ?? 0.5 });
    case "Elu":
      return act.elu([x], { alpha: a ?? 1 });
    case "Softplus":
      return act.softplus([x], { beta: 1 });
    case "Softsign":
      return act.softsign([x]);
    case "Gelu":
      return gelu(x);
    case "QuickGelu":
      return quickGelu(x, a ?? 1.702);
    default:
      throw c.error(`the activation "${name}" is not supported`);
  }
}

/** Parameters as a list, of convolutions. */
function withListedActivation(c: NodeContext, x: Value): Value {
  const [a, b] = c.attrs.floats("activation_params", []);
  return activated(c, x, a, b);
}

/** Parameters by name, of matrix products. */
const withNamedActivation = (c: NodeContext, x: Value): Value =>
  activated(c, x, c.attrs.float("activation_alpha", undefined), c.attrs.float("activation_beta", undefined));

const fusedMatMul: ImportOp = (c) => {
  const side = (i: number, letter: "A" | "B"): Value => {
    const v = c.input(i);
    const rank = rankOf(v);
    // The batch form moves the first axis before the last.
    const moved = c.attrs.flag(`transBatch${letter}`, false)
      ? permute(v, [...Array.from({ length: rank - 2 }, (_, k) => k + 1), 0, rank - 1])
      : v;
    return c.attrs.flag(`trans${letter}`, false) && rank > 1 ? swapAxes(moved, rank - 2, rank - 1) : moved;
  };
  const y = matmul(side(0, "A"), side(1, "B"));
  const alpha = c.attrs.float("alpha", 1);
  return withNamedActivation(c, alpha === 1 ? y : np.mul(y, alpha));
};

const fusedConv: ImportOp = (c) => {
  const y = addBias(convolve(c, c.input(0), c.input(1)), c.optional(2));
  return withListedActivation(c, withBias(y, c.optional(3)));
};

export const toChannelsSecond = (x: Value): Value =>
  permute(x, [0, rankOf(x) - 1, ...Array.from({ length: rankOf(x) - 2 }, (_, i) => i + 1)]);
export const toChannelsLast = (x: Value): Value =>
  permute(x, [0, ...Array.from({ length: rankOf(x) - 2 }, (_, i) => i + 2), 1]);

/** Image and weight [O, …, C/g] with the channels last. */
const nhwcConv: ImportOp = (c) => {
  const y = addBias(convolve(c, toChannelsSecond(c.input(0)), toChannelsSecond(c.input(1))), c.optional(2));
  const skip = c.optional(3);
  return toChannelsLast(withListedActivation(c, skip ? np.add(y, toChannelsSecond(skip)) : y));
};

const biasSplitGelu: ImportOp = (c) => {
  const x = np.add(c.input(0), c.input(1));
  const last = rankOf(x) - 1;
  const half = dimFloorDiv(x.type.shape[last]!, 2);
  const [left, right] = split(x, last, [half, half]) as [Value, Value];
  return np.mul(left, gelu(right));
};

/** Softmax over all axes from one on; the bias lacks either the axes before it or those between it and the batch. */
const biasSoftmax: ImportOp = (c) => {
  const [x, bias] = [c.input(0), c.input(1)];
  const axis = c.axis(c.attrs.int("axis", 1), rankOf(x));
  const { shape } = x.type;
  const flat = reshapeTo(np.add(x, bias), [productOf(shape.slice(0, axis)), productOf(shape.slice(axis))]);
  return reshapeTo(softmax([flat], { axis: 1 }), shape);
};

export const fusedRows: Readonly<Record<string, OpRow>> = {
  FusedMatMul: fusedMatMul,
  FusedMatMulActivation: fusedMatMul,
  TransposeMatMul: fusedMatMul,
  FusedGemm: (c) => withNamedActivation(c, contraction.Gemm(c) as Value),
  FusedConv: fusedConv,
  NhwcConv: nhwcConv,
  NhwcFusedConv: nhwcConv,
  Gelu: (c) => gelu(c.input(0)),
  BiasGelu: (c) => gelu(np.add(c.input(0), c.input(1))),
  FastGelu: (c) => fastGelu(withBias(c.input(0), c.optional(1))),
  GemmFastGelu: (c) => fastGelu(withBias(matmul(c.input(0), c.input(1)), c.optional(2))),
  QuickGelu: (c) => quickGelu(c.input(0), c.attrs.float("alpha", 1.702)),
  BiasSplitGelu: biasSplitGelu,
  BiasSoftmax: biasSoftmax,
  BiasAdd: (c) => np.add(np.add(c.input(0), c.input(1)), c.input(2)),
  BiasDropout: (c): readonly Bound[] => {
    // As everywhere in an import for inference, nothing is dropped.
    c.leaveAside(3, 4);
    return [withBias(np.add(c.input(0), c.input(1)), c.optional(2))];
  },
};
