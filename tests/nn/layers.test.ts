/** Layers against PyTorch's: outputs, gradients of inputs and parameters, next values of buffers (tests/fixtures/layers/layers.py). */

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Context } from "../../compiler/dsl/context.js";
import { type AnyModule, applyModel, namedOutputs } from "../../compiler/dsl/graph.js";
import { nn } from "../../compiler/dsl/index.js";
import { lowerTriangle, where } from "../../ir/build.js";
import type { Value } from "../../ir/graph.js";
import { silu } from "../../ir/ops/activation.js";
import { cast } from "../../ir/ops/cast.js";
import { full } from "../../ir/ops/constant.js";
import type { Tensor } from "../../ir/tensor.js";
import { everywhere, gradientGraph } from "./layer-gradients.js";
import { disagreement, readJson, readTensors } from "./reference-data.js";

interface Facts {
  readonly inputs: number;
  readonly outputs: number;
  readonly train: boolean;
}
const folder = join(import.meta.dirname, "../fixtures/layers");
const facts = readJson<Readonly<Record<string, Facts>>>(join(folder, "layers.json"));
const stored = readTensors(join(folder, "layers.safetensors"));

/** The module, and how it takes the inputs where not in their order. */
type Case = readonly [make: () => AnyModule, call?: (m: never, ctx: Context, ...inputs: Value[]) => Value];

const toBool = (x: Value): Value => cast([x], { to: "bool" });
const causal = (n: number): Value => where(lowerTriangle(n, n), full("f32", [n, n], 0), -Infinity);
const dropless = { feedForward: 12, dropout: 0 };
const bag = (options: nn.EmbeddingBagOptions) => () => nn.EmbeddingBag(7, 5, options);
const withOffsets: Case[1] = (m: nn.EmbeddingBagLayer, ctx, indices, offsets) =>
  m(ctx, indices!, { offsets: offsets! });
const modes = ["sum", "mean", "max"] as const;
const pads = { 1: [2, 1], 2: [1, 2, 2, 1], 3: [1, 1, 2, 1, 0, 2] } as const;

const cases: Readonly<Record<string, Case>> = {
  Bilinear: [() => nn.Bilinear(3, 4, 2)],
  ...Object.fromEntries(
    modes.flatMap((mode): [string, Case][] => [
      [`EmbeddingBag ${mode}`, [bag({ mode })]],
      [`EmbeddingBag ${mode} offsets`, [bag({ mode }), withOffsets]],
      [`EmbeddingBag ${mode} padding`, [bag({ mode, paddingIndex: 2 })]],
    ]),
  ),
  "EmbeddingBag weights": [
    bag({ mode: "sum" }),
    (m: nn.EmbeddingBagLayer, ctx, indices, weights) => m(ctx, indices!, { weights: weights! }),
  ],
  ConstantPad1d: [() => nn.ConstantPad1d(pads[1], 0.7)],
  ConstantPad2d: [() => nn.ConstantPad2d(pads[2], 0.7)],
  ConstantPad3d: [() => nn.ConstantPad3d(pads[3], 0.7)],
  ReflectionPad1d: [() => nn.ReflectionPad1d(pads[1])],
  ReflectionPad2d: [() => nn.ReflectionPad2d(pads[2])],
  ReflectionPad3d: [() => nn.ReflectionPad3d(pads[3])],
  ReplicationPad1d: [() => nn.ReplicationPad1d(pads[1])],
  ReplicationPad2d: [() => nn.ReplicationPad2d(pads[2])],
  ReplicationPad3d: [() => nn.ReplicationPad3d(pads[3])],
  ZeroPad2d: [() => nn.ZeroPad2d(pads[2])],
  "ZeroPad2d cut": [() => nn.ZeroPad2d([-1, 2, 0, -2])],
  PixelShuffle: [() => nn.PixelShuffle(2)],
  PixelUnshuffle: [() => nn.PixelUnshuffle(2)],
  ChannelShuffle: [() => nn.ChannelShuffle(2)],
  Unfold: [() => nn.Unfold([2, 3], { dilation: [1, 2], padding: 1, stride: [2, 1] })],
  Fold: [() => nn.Fold([5, 6], [2, 3], { padding: 1, stride: [2, 1] })],
  UpsamplingNearest2d: [() => nn.UpsamplingNearest2d({ scale: 2 })],
  UpsamplingBilinear2d: [() => nn.UpsamplingBilinear2d({ size: [7, 9] })],
  "Upsample bicubic": [() => nn.Upsample({ scale: 2, mode: "cubic" })],
  Threshold: [() => nn.Threshold(0.2, -0.5)],
  Tanhshrink: [() => nn.Tanhshrink()],
  Softmin: [() => nn.Softmin(1)],
  Softmax2d: [() => nn.Softmax2d()],
  "RReLU eval": [() => nn.RReLU()],
  CosineSimilarity: [() => nn.CosineSimilarity()],
  PairwiseDistance: [() => nn.PairwiseDistance({ keepDim: true })],
  LocalResponseNorm: [() => nn.LocalResponseNorm(3, { alpha: 0.1, k: 2 })],
  LPPool2d: [() => nn.LPPool2d(2, 2, { stride: 1 })],
  MaxUnpool1d: [() => new Unpooled(nn.MaxPool1d(2, { stride: 3 }), nn.MaxUnpool1d(2, { stride: 3 }))],
  MaxUnpool2d: [
    () => new Unpooled(nn.MaxPool2d([2, 3], { padding: [0, 1] }), nn.MaxUnpool2d([2, 3], { padding: [0, 1] })),
  ],
  MaxUnpool3d: [() => new Unpooled(nn.MaxPool3d(2), nn.MaxUnpool3d(2))],
  "InstanceNorm2d tracked": [() => nn.InstanceNorm2d(4, { affine: true, trackRunningStats: true })],
  "InstanceNorm2d tracked eval": [() => nn.InstanceNorm2d(4, { affine: true, trackRunningStats: true })],
  "BatchNorm1d train": [() => nn.BatchNorm1d(4, { momentum: 0.3 })],
  "spectral Linear": [() => nn.spectralNorm(nn.Linear(5, 3))],
  "spectral Linear twice": [
    () => nn.spectralNorm(nn.Linear(5, 3), { iterations: 2 }),
    (m: nn.Layer, ctx, x) => {
      m(ctx, x!);
      return m(ctx, x!);
    },
  ],
  "spectral Conv2d eval": [() => nn.spectralNorm(nn.Conv2d(4, 3, 3))],
  "spectral ConvTranspose2d": [() => nn.spectralNorm(nn.ConvTranspose2d(4, 3, 3))],
  "weightNorm Linear": [() => nn.weightNorm(nn.Linear(5, 3))],
  "weightNorm Conv2d": [() => nn.weightNorm(nn.Conv2d(4, 3, 3))],
  "weightNorm ConvTranspose2d": [() => nn.weightNorm(nn.ConvTranspose2d(4, 3, 3))],
};

/** Modules that give more than one value, or take their inputs by name. */
const many: Readonly<
  Record<string, readonly [() => AnyModule, (m: never, ctx: Context, ...inputs: Value[]) => readonly Value[]]>
> = {
  MultiheadAttention: [
    () => nn.MultiHeadAttention(8, 2),
    (m: nn.MultiHeadAttentionModule, ctx, q, key, padding) => {
      const { output, weights } = m.withWeights(ctx, q!, { key: key!, keyPaddingMask: toBool(padding!) });
      return [output, weights];
    },
  ],
  "MultiheadAttention features": [
    () => nn.MultiHeadAttention(8, 2, { keyFeatures: 3, valueFeatures: 6, bias: false, batchFirst: true }),
    (m: nn.MultiHeadAttentionModule, ctx, q, key, value) => {
      const { output, weights } = m.withWeights(ctx, q!, { key: key!, value: value! });
      return [output, weights];
    },
  ],
  TransformerEncoderLayer: [
    () => nn.TransformerEncoderLayer(8, 2, { ...dropless, activation: "gelu", normFirst: true, epsilon: 1e-3 }),
    (m: nn.TransformerEncoderLayerModule, ctx, x, padding) => [m(ctx, x!, { keyPaddingMask: toBool(padding!) })],
  ],
  "TransformerEncoderLayer activation": [
    () => nn.TransformerEncoderLayer(8, 2, { ...dropless, activation: (x: Value) => silu([x]), batchFirst: true }),
    (m: nn.TransformerEncoderLayerModule, ctx, x) => [m(ctx, x!)],
  ],
  TransformerDecoderLayer: [
    () => nn.TransformerDecoderLayer(8, 2, dropless),
    (m: nn.TransformerDecoderLayerModule, ctx, x, memory, padding) => [
      m(ctx, x!, memory!, { causal: true, memoryKeyPaddingMask: toBool(padding!) }),
    ],
  ],
  Transformer: [
    () => nn.Transformer(8, 2, { ...dropless, encoderLayers: 2, decoderLayers: 1, normFirst: true }),
    (m: nn.TransformerModule, ctx, source, target, padding) => [
      m(ctx, source!, target!, {
        source: { keyPaddingMask: toBool(padding!) },
        target: { mask: causal(4), memoryKeyPaddingMask: toBool(padding!) },
      }),
    ],
  ],
};

/** Pools and puts back. */
class Unpooled extends nn.Module {
  readonly pool: nn.MaxPoolLayer;
  readonly unpool: nn.MaxUnpoolLayer;

  constructor(pool: nn.MaxPoolLayer, unpool: nn.MaxUnpoolLayer) {
    super();
    this.pool = pool;
    this.unpool = unpool;
  }
  forward(ctx: nn.Context, x: Value): Value {
    const { output, indices } = this.pool.withIndices(ctx, x);
    return this.unpool(ctx, output, indices);
  }
}

const all = {
  ...Object.fromEntries(
    Object.entries(cases).map(([name, [make, call]]) => [
      name,
      [
        make,
        (m: never, ctx: Context, ...inputs: Value[]) =>
          call === undefined ? namedOutputs(applyModel(m, ctx, inputs)).map(([, v]) => v) : [call(m, ctx, ...inputs)],
      ] as const,
    ]),
  ),
  ...many,
};

it("every stored case has a layer, and the other way round", () => {
  expect(Object.keys(all).sort()).toEqual(Object.keys(facts).sort());
});

describe("PyTorch's layers", () => {
  describe.each(everywhere)("$name", ({ run }) => {
    it.each(Object.entries(all))("%s", async (name, [make, call]) => {
      const { inputs, outputs, train } = facts[name]!;
      const model = make();
      const state = [...stored.keys()]
        .filter((key) => key.startsWith(`${name}/state/`))
        .map((key) => key.slice(name.length + 7));
      expect([...model.variables().keys()].sort(), "names of variables").toEqual(state.sort());
      const feeds: Record<string, Tensor> = {};
      for (const v of state) feeds[v] = stored.get(`${name}/state/${v}`)!;
      const places = Array.from({ length: inputs }, (_, i) => `in/${i}`);
      for (const place of places) feeds[place] = stored.get(`${name}/${place}`)!;
      const wrt = [...places, ...state].filter((v) => stored.has(`${name}/grad/${v}`));
      const after = train ? [...model.buffers().keys()] : [];
      const range = Array.from({ length: outputs }, (_, i) => i);
      const g = gradientGraph({
        model,
        feeds,
        apply: (ctx, v) => call(model as never, ctx, ...places.map((place) => v[place]!)),
        upstream: range.map((i) => stored.get(`${name}/upstream/${i}`)!),
        wrt,
        training: train,
        after,
      });
      const got = await run(g, Object.values(feeds));
      const keys = [...range.map((i) => `out/${i}`), ...wrt.map((v) => `grad/${v}`), ...after.map((v) => `after/${v}`)];
      keys.forEach((key, i) => {
        expect(disagreement(got[i]!, stored.get(`${name}/${key}`)!, 1e-4, 2e-5), key).toBeUndefined();
      });
    });
  });
});
