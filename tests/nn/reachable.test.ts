/** Every op can be made with what the package exports: F, nn, losses and checkpoint. */
import { expect, it } from "vitest";
import { checkpoint, F, losses, nn } from "../../compiler/dsl/index.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, type GraphNode, graphNodes, param, type Value } from "../../ir/graph.js";
import { recordNodes } from "../../ir/op.js";
import { ops } from "../../ir/ops/index.js";
import { functionsOfF } from "../../scripts/function-signatures.js";
import { calls, cases } from "./function-calls.js";

/** Ops that users have no call for, and why. */
const internal: Readonly<Record<string, string>> = {
  fusion: "made by the pass `fuse`: says which ops one kernel computes",
  after: "made by the gradient of checkpoint: what is computed from it is computed anew",
  idleDropout: "import makes it of Dropout, so that a training step of an imported model drops",
  windowSumGrad: "the gradient of windowSum",
  maxPoolGrad: "the gradient of maxPool",
  maxPoolGather: "the gradient of maxPoolGrad",
  convWeightGrad: "the gradient of conv in its weight",
  geluExactGrad: "the gradient of geluExact",
  attentionGrad: "the gradient of attention",
  weightProduct: "made by the pass `stream-weights` of products with weights of few bits",
  tiledAttention: "made by the pass `tile-attention` of attention",
  tiledAttentionGrad: "made by the pass `tile-attention` of attentionGrad",
};

const value = (dtype: "f32" | "i64" | "i32" | "bool" | "u32", ...shape: number[]): Value =>
  param("x", { dtype, shape });
const x = value("f32", 2, 3);
const image = value("f32", 1, 4, 8, 8);
const scalar = (dtype: "f32" | "i64" | "bool"): Value => value(dtype);
const root = nn.sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), nn.AvgPool2d(1), nn.GELU());
const ctx = new nn.Context(root, (v) => value(v.dtype as "f32", ...v.shape), {
  training: true,
  random: { key: () => value("u32", 2), counter: () => value("u32", 1) },
});

/** Calls beyond those that stand in function-calls.ts. */
const more: readonly (() => unknown)[] = [
  () => F.size(param("x", { dtype: "f32", shape: [F.toSize(ctx, scalar("i64"), 9), 2] })),
  () => F.range(ctx, scalar("f32"), scalar("f32"), scalar("f32"), 9),
  () => F.sliceScatter(x, value("f32", 2, 1), 1, 2),
  () => [F.nonzero(ctx, x), F.unique(ctx, x), F.maskedSelect(ctx, x, x.gt(0))],
  () => F.nms(ctx, value("f32", 5, 4), value("f32", 5), 0.5),
  () => F.nonMaxSuppression(ctx, value("f32", 2, 5, 4), value("f32", 2, 3, 5), 0.5),
  () => F.roiAlign(ctx, image, value("f32", 3, 5), 2),
  () => [F.randn(ctx, [3]), F.rand(ctx, [3]), F.bernoulli(ctx, x), F.dropout(ctx, x), F.randint(ctx, 0, 9, [2])],
  () =>
    F.cond(
      scalar("bool"),
      () => x,
      () => x.neg(),
    ),
  () =>
    F.whileLoop(
      (s: Value) => s.sum().lt(9),
      (s: Value) => s.mul(2),
      x,
    ),
  () => F.scan((s: Value, r: Value) => [s.add(r), r], value("f32", 3), x),
  () => [F.conv2d(image, value("f32", 4, 4, 3, 3)), F.convTranspose2d(image, value("f32", 4, 4, 3, 3))],
  () => [F.maxPool2d(image, 2), F.avgPool2d(image, 2), F.adaptiveAvgPool2d(image, 1)],
  () => F.dequantize(value("i32", 3, 4), value("f32", 3, 1)),
  () => F.rotary(value("f32", 3, 4), value("f32", 3, 2), value("f32", 3, 2)),
  () => [F.gatherND(x, value("i64", 2, 1)), F.scatterND(x, value("i64", 1, 1), value("f32", 1, 3))],
  () => [F.rmsNorm(x, 3), F.layerNorm(x, 3), F.instanceNorm(image)],
  () => F.rnn(value("f32", 4, 2, 3), value("f32", 2, 5), value("f32", 5, 3), value("f32", 5, 5)),
  () => F.gru(value("f32", 4, 2, 3), value("f32", 2, 5), value("f32", 15, 3), value("f32", 15, 5)),
  () => {
    const state = [value("f32", 2, 5), value("f32", 2, 5)] as const;
    return F.lstm(value("f32", 4, 2, 3), state, value("f32", 20, 3), value("f32", 20, 5));
  },
  () =>
    F.customVjp(
      (v: Value) => v.exp(),
      (_, dy) => dy!,
    )(x),
  () => [F.mseLoss(x, x), F.l1Loss(x, x), F.smoothL1Loss(x, x), F.huberLoss(x, x), F.binaryCrossEntropy(x, x)],
  () => [F.binaryCrossEntropyWithLogits(x, x), F.nllLoss(x, value("i64", 2)), F.crossEntropy(x, value("i64", 2))],
  () => F.ctcLoss(value("f32", 5, 2, 3), value("i64", 2, 2), value("i64", 2), value("i64", 2)),
  () => losses.mse()(x, x),
  () => checkpoint((v: Value) => v.exp())(x),
  () => root(ctx, image),
  () => [value("i32", 3).bitwiseLeftShift(2), value("i32", 3).bitwiseRightShift(1), value("i32", 3).bitwiseNot()],
  () => [
    F.bitcast(x, "i32"),
    x.any(),
    x.all(),
    x.argMin(),
    F.threshold(x, 1, 0),
    F.prelu(x, value("f32", 3)),
    F.atan2(x, x),
  ],
];

const namesIn = (nodes: Iterable<GraphNode>): readonly string[] =>
  [...nodes].flatMap((n) => [n.op, ...n.regions.flatMap((r: Graph) => namesIn(graphNodes(r)))]);

/** Names of the ops that a call makes. */
const made = (call: () => unknown): readonly string[] => namesIn(recordNodes(call).made);

it("all but a few, which say why", () => {
  const stored = Object.entries(calls).map(([name, call]) => () => {
    const inputs = Object.entries(cases[name]!.inputs).map(([n, { dtype, shape }]) => [n, param(n, { dtype, shape })]);
    return call(Object.fromEntries(inputs));
  });
  const ofValues = functionsOfF().map((f) => ({ ...f, own: f.parameters.filter((p) => !p.optional) }));
  const elementwise = ofValues.filter(({ own }) => own.every((p) => p.type === "Value" || p.type === "Arg"));
  const simple = elementwise.map(({ name, own }) => () => {
    try {
      return (F as unknown as Record<string, (...values: readonly Value[]) => unknown>)[name]!(...own.map(() => x));
    } catch (error) {
      if (error instanceof ModelError) return undefined;
      throw error;
    }
  });
  const reached = new Set([...stored, ...simple, ...more].flatMap(made));
  const missing = [...ops.keys()].filter((name) => !reached.has(name)).sort();
  expect(missing).toEqual(Object.keys(internal).sort());
});
