/** The models that bench/ measures, all made by the project itself: seeded weights, files written by its own exporter. */

import { convNet } from "../../models/convnet/model.js";
import { LstmStack } from "../../models/lstm-regression/model.js";
import { mlp } from "../../models/mlp.js";
import { TextRnn } from "../../models/text-rnn/model.js";
import { Bert } from "./bert.js";
import { dcgan } from "./dcgan.js";
import { efficientnetB0 } from "./efficientnet.js";
import { type GptOptions, GptStep, gptInputs } from "./gpt.js";
import { kernelRows } from "./kernels.js";
import { mobilenetV2 } from "./mobilenet.js";
import { type AnyModel, type BenchModel, type Exporting, exported, type Feed, feedsOf } from "./model.js";
import { quantizeDynamic, quantizeStatic, type StaticOptions } from "./quantize.js";
import { resnet18, resnet50 } from "./resnet.js";
import { squeezenet } from "./squeezenet.js";
import { type StackKind, stack } from "./stacks.js";
import { styleTransfer } from "./style.js";
import { UNet } from "./unet.js";
import { VitTiny } from "./vit.js";
import { tinyYolo } from "./yolo.js";

const f32 = (...shape: readonly number[]): Feed => ({ dtype: "f32", shape });
const ids = (below: number, ...shape: readonly number[]): Feed => ({ dtype: "i64", shape, below });
const ones = (...shape: readonly number[]): Feed => ({ dtype: "i64", shape });

interface More extends Exporting {
  readonly group?: BenchModel["group"];
  readonly tolerance?: number;
  readonly large?: boolean;
  readonly cache?: number;
}

function model(name: string, feeds: BenchModel["feeds"], make: () => AnyModel, more: More = {}): BenchModel {
  const { group = "models", tolerance = 1e-4, large = false, cache } = more;
  const kept = cache === undefined ? {} : { cache };
  return { name, group, tolerance, large, feeds, ...kept, onnx: async () => exported(name, make, feeds, more) };
}

/** Where engines round on the way, levels differ by one here and there. */
const quantizedTolerance = 0.05;

const qdq = (base: BenchModel, options: StaticOptions): BenchModel => ({
  ...base,
  name: `${base.name}_qdq`,
  group: "quantized",
  tolerance: quantizedTolerance,
  onnx: async () => quantizeStatic(await base.onnx(), feedsOf(base), options),
});
const dynamic = (base: BenchModel): BenchModel => ({
  ...base,
  name: `${base.name}_dynq`,
  group: "quantized",
  tolerance: quantizedTolerance,
  onnx: async () => quantizeDynamic(await base.onnx()),
});

const picture = { x: f32(1, 3, 224, 224) };
const text = (steps: number) => ({ ids: ids(30_522, 1, steps), mask: ones(1, steps) });

const mobilenet = model("mobilenet_v2", picture, mobilenetV2);
const bertMini = model(
  "bert_mini",
  text(128),
  () => new Bert({ vocabulary: 30_522, features: 384, layers: 6, heads: 12 }),
  {
    large: true,
  },
);

const gpt: GptOptions = { vocabulary: 32_000, features: 512, layers: 12, heads: 8, context: 1024 };
const past = 255;
const gptFeeds: Readonly<Record<string, Feed>> = Object.fromEntries(
  Object.entries(gptInputs(gpt)).map(([name, { dtype, shape }]): [string, Feed] => {
    const below = name === "token" ? gpt.vocabulary : past + 1;
    const sizes = shape.map((d) => (typeof d === "string" ? past : d));
    return [name, dtype === "i64" ? { dtype, shape: sizes, below } : { dtype, shape: sizes }];
  }),
);

const stacked = (kind: StackKind): BenchModel => ({
  name: `stack_${kind}`,
  group: "stacks",
  // The native build multiplies weights of 8 bits by activations of 8 bits.
  tolerance: kind === "f16" || kind === "int8" ? 0.03 : 1e-4,
  large: kind !== "int4",
  feeds: { x: f32(1, 2048) },
  onnx: async () => stack(kind, 2048),
});

export const benchModels: readonly BenchModel[] = [
  model("squeezenet1_1", picture, squeezenet),
  mobilenet,
  model("resnet18", picture, resnet18),
  model("resnet50", picture, resnet50, { large: true }),
  model("efficientnet_b0", picture, efficientnetB0),
  model("vit_tiny", picture, () => new VitTiny()),
  bertMini,
  model("bert_base", text(128), () => new Bert({ vocabulary: 30_522, features: 768, layers: 12, heads: 12 }), {
    large: true,
  }),
  model("gpt_step", gptFeeds, () => new GptStep(gpt), { inputs: gptInputs(gpt), large: true, cache: gpt.context }),
  model("lstm_3x50", { x: f32(1, 60, 1) }, () => new LstmStack()),
  model("birnn_2x256_b1", { x: ids(5000, 100, 1) }, () => new TextRnn({ vocabulary: 5000 })),
  model("birnn_2x256_b32", { x: ids(5000, 100, 32) }, () => new TextRnn({ vocabulary: 5000 })),
  model("unet_128", { x: f32(1, 3, 128, 128) }, () => new UNet()),
  model("yolo_tiny_416", { x: f32(1, 3, 416, 416) }, tinyYolo, { large: true }),
  model("dcgan_64", { z: f32(1, 100, 1, 1) }, () => dcgan()),
  model("style_256", { x: f32(1, 3, 256, 256) }, styleTransfer),
  model("lenet_b1", { x: f32(1, 1, 32, 32) }, () => convNet()),
  model("lenet_b64", { x: f32(64, 1, 32, 32) }, () => convNet()),
  model("mlp_b32", { x: f32(32, 784) }, () => mlp(784, [256, 128], 10)),
  qdq(mobilenet, { activations: "u8", ops: ["Conv", "Gemm", "Add", "GlobalAveragePool", "Flatten"] }),
  dynamic(mobilenet),
  qdq(bertMini, { activations: "i8", ops: ["MatMul", "Add", "Softmax", "Gelu", "Transpose", "Reshape"] }),
  dynamic(bertMini),
  ...(["f32", "f16", "int8", "int4"] as const).map(stacked),
  ...kernelRows.map(({ name, feeds, make }) =>
    model(name, feeds, make, { group: "kernels", large: name === "op_gather_rows" }),
  ),
];
