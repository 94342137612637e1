/** The training steps that bench/train.ts measures; peers/train-torch.py has the same by the same names. */

import { losses, nn, optim, trainStep } from "../compiler/dsl/index.js";
import type { TrainingProgram } from "../compiler/program.js";
import { flatten, mean, np } from "../ir/build.js";
import type { Value } from "../ir/graph.js";
import { relu } from "../ir/ops/activation.js";
import { convNet } from "../models/convnet/model.js";
import { LstmStack } from "../models/lstm-regression/model.js";
import { mlp } from "../models/mlp.js";
import { TextRnn } from "../models/text-rnn/model.js";
import { TransformerLm } from "../models/transformer-lm.js";

/** What a batch holds: floats in [−1, 1), or whole numbers below a bound. */
export interface Field {
  readonly dtype: "f32" | "i32";
  readonly shape: readonly number[];
  readonly below?: number;
}

export interface TrainCase {
  /** Without the batch. */
  readonly model: string;
  readonly batches: readonly number[];
  readonly fields: (batch: number) => Readonly<Record<string, Field>>;
  readonly program: () => TrainingProgram;
}

class BasicBlock extends nn.Module {
  readonly conv1: nn.Layer;
  readonly bn1: nn.Layer;
  readonly conv2: nn.Layer;
  readonly bn2: nn.Layer;
  readonly downsample: nn.Layer | null;

  constructor(from: number, to: number, stride: number) {
    super();
    this.conv1 = nn.Conv2d(from, to, 3, { stride, padding: 1, bias: false });
    this.bn1 = nn.BatchNorm2d(to);
    this.conv2 = nn.Conv2d(to, to, 3, { padding: 1, bias: false });
    this.bn2 = nn.BatchNorm2d(to);
    this.downsample =
      stride === 1 ? null : nn.sequential(nn.Conv2d(from, to, 1, { stride, bias: false }), nn.BatchNorm2d(to));
  }

  forward(ctx: nn.Context, x: Value): Value {
    const first = relu([this.bn1(ctx, this.conv1(ctx, x))]);
    const residual = this.bn2(ctx, this.conv2(ctx, first));
    return relu([np.add(residual, this.downsample?.(ctx, x) ?? x)]);
  }
}

/** ResNet-20 of He et al., "Deep Residual Learning for Image Recognition" (2016), with projections on the shortcuts. */
class ResNet20 extends nn.Module {
  readonly conv1 = nn.Conv2d(3, 16, 3, { padding: 1, bias: false });
  readonly bn1 = nn.BatchNorm2d(16);
  readonly blocks = [16, 32, 64].flatMap((to, stage) =>
    [0, 1, 2].map((i) => {
      const first = i === 0 && stage > 0;
      return new BasicBlock(first ? to / 2 : to, to, first ? 2 : 1);
    }),
  );
  readonly fc = nn.Linear(64, 10);

  /** x [batch, 3, 32, 32] → logits [batch, 10] */
  forward(ctx: nn.Context, x: Value): Value {
    const start = relu([this.bn1(ctx, this.conv1(ctx, x))]);
    const features = this.blocks.reduce((v, block) => block(ctx, v), start);
    return this.fc(ctx, mean(features, [2, 3]));
  }
}

const labels = (batch: number, below: number): Field => ({ dtype: "i32", shape: [batch], below });
const classes = { y: { dtype: "i32", shape: ["batch"] } } as const;
const momentum = optim.SGD({ lr: 0.01, momentum: 0.9 });
const adam = optim.Adam({ lr: 1e-3 });

const vocabulary = 1000;
const context = 128;

export const trainCases: readonly TrainCase[] = [
  {
    model: "convnet",
    batches: [4, 64],
    fields: (batch) => ({ x: { dtype: "f32", shape: [batch, 1, 32, 32] }, y: labels(batch, 10) }),
    program: () =>
      trainStep(convNet(), {
        inputs: { x: ["batch", 1, 32, 32] },
        targets: classes,
        loss: losses.crossEntropy(),
        optimizer: momentum,
      }),
  },
  {
    model: "mlp",
    batches: [32],
    fields: (batch) => ({ x: { dtype: "f32", shape: [batch, 784] }, y: labels(batch, 10) }),
    program: () =>
      trainStep(mlp(784, [256, 128], 10), {
        inputs: { x: ["batch", 784] },
        targets: classes,
        loss: losses.crossEntropy(),
        optimizer: adam,
      }),
  },
  {
    model: "lstm",
    batches: [1, 32],
    fields: (batch) => ({ x: { dtype: "f32", shape: [batch, 60, 1] }, y: { dtype: "f32", shape: [batch, 1] } }),
    program: () =>
      trainStep(new LstmStack(), {
        inputs: { x: ["batch", 60, 1] },
        targets: { y: ["batch", 1] },
        loss: losses.mse(),
        optimizer: adam,
      }),
  },
  {
    model: "transformer",
    batches: [8],
    fields: (batch) => ({
      x: { dtype: "i32", shape: [batch, context], below: vocabulary },
      y: { dtype: "i32", shape: [batch, context], below: vocabulary },
    }),
    program: () =>
      trainStep(new TransformerLm({ vocabulary, context, features: 128, heads: 4, layers: 4, feedForward: 512 }), {
        inputs: { x: { dtype: "i32", shape: ["batch", context] } },
        targets: { y: { dtype: "i32", shape: ["batch", context] } },
        loss: (logits, y) => losses.crossEntropy()(flatten(logits, 0, 1), flatten(y)),
        optimizer: optim.AdamW({ lr: 1e-3 }),
      }),
  },
  {
    model: "resnet",
    batches: [32],
    fields: (batch) => ({ x: { dtype: "f32", shape: [batch, 3, 32, 32] }, y: labels(batch, 10) }),
    program: () =>
      trainStep(new ResNet20(), {
        inputs: { x: ["batch", 3, 32, 32] },
        targets: classes,
        loss: losses.crossEntropy(),
        optimizer: momentum,
      }),
  },
  {
    model: "birnn",
    batches: [32],
    fields: (batch) => ({
      x: { dtype: "i32", shape: [100, batch], below: 5000 },
      y: { dtype: "f32", shape: [batch] },
    }),
    program: () =>
      trainStep(new TextRnn({ vocabulary: 5000 }), {
        inputs: { x: { dtype: "i32", shape: [100, "batch"] } },
        targets: { y: ["batch"] },
        loss: losses.mse(),
        optimizer: adam,
      }),
  },
];
