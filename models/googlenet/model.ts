/**
 * GoogLeNet: x [batch, 3, H, W] → logits [batch, 1000], with torchvision's layers and names: batch norms behind convolutions, and 3×3 in
 * place of 5×5. Two classifiers on the way give the lower layers gradients while training.
 * Szegedy et al., "Going deeper with convolutions", 2015.
 */

import { nn, type Value } from "wasmith";
import { type Branches, conv, Inception, InceptionAux } from "./blocks.js";

export interface GoogLeNetOptions {
  readonly classes?: number;
  /** Channels of pictures. */
  readonly inputs?: number;
  /** All channels are this times those of the paper. */
  readonly width?: number;
  /** For small pictures: a first convolution of 3×3 without a stride. */
  readonly small?: boolean;
}

export class GoogLeNet extends nn.Module {
  readonly conv1: nn.Layer;
  readonly conv2: nn.Layer;
  readonly conv3: nn.Layer;
  readonly inception3a: nn.Layer;
  readonly inception3b: nn.Layer;
  readonly inception4a: nn.Layer;
  readonly inception4b: nn.Layer;
  readonly inception4c: nn.Layer;
  readonly inception4d: nn.Layer;
  readonly inception4e: nn.Layer;
  readonly inception5a: nn.Layer;
  readonly inception5b: nn.Layer;
  readonly aux1: nn.Layer;
  readonly aux2: nn.Layer;
  readonly dropout = nn.Dropout(0.2);
  readonly fc: nn.Layer;
  readonly maxpool1 = nn.MaxPool2d(3, { stride: 2, ceilMode: true });
  readonly maxpool2 = nn.MaxPool2d(3, { stride: 2, ceilMode: true });
  readonly maxpool3 = nn.MaxPool2d(3, { stride: 2, ceilMode: true });
  readonly maxpool4 = nn.MaxPool2d(2, { stride: 2, ceilMode: true });

  constructor({ classes = 1000, inputs = 3, width = 1, small = false }: GoogLeNetOptions = {}) {
    super();
    const c = (channels: number) => Math.round(channels * width);
    let from = c(192);
    const inception = (...branches: Branches) => {
      const block = new Inception(from, c, branches);
      const [one, , three, , five, pooled] = branches;
      from = c(one) + c(three) + c(five) + c(pooled);
      return block;
    };
    this.conv1 = small ? conv(inputs, c(64), 3) : conv(inputs, c(64), 7, 2);
    this.conv2 = conv(c(64), c(64), 1);
    this.conv3 = conv(c(64), c(192), 3);
    this.inception3a = inception(64, 96, 128, 16, 32, 32);
    this.inception3b = inception(128, 128, 192, 32, 96, 64);
    this.inception4a = inception(192, 96, 208, 16, 48, 64);
    this.aux1 = new InceptionAux(from, c(128), classes);
    this.inception4b = inception(160, 112, 224, 24, 64, 64);
    this.inception4c = inception(128, 128, 256, 24, 64, 64);
    this.inception4d = inception(112, 144, 288, 32, 64, 64);
    this.aux2 = new InceptionAux(from, c(128), classes);
    this.inception4e = inception(256, 160, 320, 32, 128, 128);
    this.inception5a = inception(256, 160, 320, 32, 128, 128);
    this.inception5b = inception(384, 192, 384, 48, 128, 128);
    this.fc = nn.Linear(from, classes);
  }

  /** The logits, and those of the classifiers on the way. */
  all(ctx: nn.Context, x: Value): { logits: Value; aux: readonly Value[] } {
    const run = (value: Value, ...layers: readonly nn.Layer[]) => layers.reduce((v, layer) => layer(ctx, v), value);
    const stem = run(x, this.conv1, this.maxpool1, this.conv2, this.conv3, this.maxpool2);
    const a = run(stem, this.inception3a, this.inception3b, this.maxpool3, this.inception4a);
    const d = run(a, this.inception4b, this.inception4c, this.inception4d);
    const top = run(d, this.inception4e, this.maxpool4, this.inception5a, this.inception5b);
    const logits = this.fc(ctx, this.dropout(ctx, top.mean([2, 3])));
    return { logits, aux: [this.aux1(ctx, a), this.aux2(ctx, d)] };
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.all(ctx, x).logits;
  }
}
