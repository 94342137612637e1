/** Models of the reference trajectories that are no part of models/. */

import { F, losses, nn } from "../../compiler/dsl/index.js";
import { concatenate, flatten, mean, np, permute, sliceAxis, squeeze, sum } from "../../ir/build.js";
import { einsum } from "../../ir/einsum.js";
import type { Value } from "../../ir/graph.js";
import { gelu, relu, silu } from "../../ir/ops/activation.js";
import { exp } from "../../ir/ops/elementwise.js";
import { logSoftmax, softmax } from "../../ir/ops/softmax.js";

class BasicBlock extends nn.Module {
  readonly conv1: nn.ConvLayer;
  readonly bn1: nn.BatchNormLayer;
  readonly conv2: nn.ConvLayer;
  readonly bn2: nn.BatchNormLayer;
  readonly down: nn.Layer | undefined;

  constructor(input: number, output: number, stride: number) {
    super();
    this.conv1 = nn.Conv2d(input, output, 3, { stride, padding: 1, bias: false });
    this.bn1 = nn.BatchNorm2d(output);
    this.conv2 = nn.Conv2d(output, output, 3, { padding: 1, bias: false });
    this.bn2 = nn.BatchNorm2d(output);
    const changes = stride !== 1 || input !== output;
    this.down = changes
      ? nn.sequential(nn.Conv2d(input, output, 1, { stride, bias: false }), nn.BatchNorm2d(output))
      : undefined;
  }

  forward(ctx: nn.Context, x: Value): Value {
    const inner = relu([this.bn1(ctx, this.conv1(ctx, x))]);
    const body = this.bn2(ctx, this.conv2(ctx, inner));
    return relu([np.add(body, this.down === undefined ? x : this.down(ctx, x))]);
  }
}

export class SmallResNet extends nn.Module {
  readonly conv1 = nn.Conv2d(3, 8, 3, { padding: 1, bias: false });
  readonly bn1 = nn.BatchNorm2d(8);
  readonly layers = [new BasicBlock(8, 8, 1), new BasicBlock(8, 16, 2)];
  readonly fc = nn.Linear(16, 5);

  forward(ctx: nn.Context, x: Value): Value {
    const start = relu([this.bn1(ctx, this.conv1(ctx, x))]);
    const features = this.layers.reduce((v, layer) => layer(ctx, v), start);
    return this.fc(ctx, mean(features, [2, 3]));
  }
}

/** Sequences [batch, steps + 1] as inputs and, one step later, targets: the mean loss over all positions. */
export class NextToken extends nn.Module {
  readonly model: nn.Layer;

  constructor(model: nn.Layer) {
    super();
    this.model = model;
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return Object.entries(this.model);
  }

  forward(ctx: nn.Context, tokens: Value): Value {
    const steps = (tokens.type.shape[1] as number) - 1;
    const logits = this.model.forward(ctx, sliceAxis(tokens, 1, 0, steps));
    return losses.crossEntropy()(flatten(logits, 0, 1), flatten(sliceAxis(tokens, 1, 1, steps)));
  }
}

export class SmallUNet extends nn.Module {
  readonly a = nn.Conv2d(1, 6, 3, { padding: 1 });
  readonly na = nn.GroupNorm(2, 6);
  readonly b = nn.Conv2d(6, 10, 3, { stride: 2, padding: 1 });
  readonly up = nn.ConvTranspose2d(10, 6, 2, { stride: 2 });
  readonly c = nn.Conv2d(12, 3, 3, { padding: 1 });

  forward(ctx: nn.Context, x: Value): Value {
    const a = silu([this.na(ctx, this.a(ctx, x))]);
    const b = gelu([this.b(ctx, a)], { approximate: "none" });
    const coarse = F.interpolate(F.avgPool2d(b, 2), { scale: 2, mode: "linear" });
    const up = this.up(ctx, np.add(b, coarse));
    return this.c(ctx, concatenate([a, up], 1));
  }
}

/** Variational autoencoder: mean over the batch of reconstruction and divergence. */
export class SmallVae extends nn.Module<readonly [x: Value, eps: Value]> {
  readonly fc1 = nn.Linear(64, 32);
  readonly fc21 = nn.Linear(32, 4);
  readonly fc22 = nn.Linear(32, 4);
  readonly fc3 = nn.Linear(4, 32);
  readonly fc4 = nn.Linear(32, 64);

  forward(ctx: nn.Context, x: Value, eps: Value): Value {
    const h = relu([this.fc1(ctx, x)]);
    const mu = this.fc21(ctx, h);
    const logvar = this.fc22(ctx, h);
    const z = np.add(mu, np.mul(eps, exp([np.mul(logvar, 0.5)])));
    const y = this.fc4(ctx, relu([this.fc3(ctx, z)]));
    const divergence = np.mul(sum(np.sub(np.add(logvar, 1), np.add(np.mul(mu, mu), exp([logvar])))), -0.5);
    return np.add(losses.bceWithLogits({ reduction: "sum" })(y, x), divergence);
  }
}

/** Reads a line of text: image [N, 1, 6, W] → logarithms of probabilities [W, N, 6]. */
export class SmallCrnn extends nn.Module {
  readonly c = nn.Conv2d(1, 8, [6, 3], { padding: [0, 1] });
  readonly g = nn.GRU(8, 12, { bidirectional: true });
  readonly o = nn.Linear(24, 6);

  forward(ctx: nn.Context, x: Value): Value {
    const columns = permute(squeeze(relu([this.c(ctx, x)]), 2), [2, 0, 1]);
    return logSoftmax([this.o(ctx, this.g(ctx, columns).output)], { axis: 2 });
  }
}

/** Encoder and attention decoder; given the words so far, the logits of the next ones [batch, words, steps]. */
export class SmallSeq2Seq extends nn.Module<readonly [src: Value, tgtIn: Value]> {
  readonly es = nn.Embedding(14, 8);
  readonly et = nn.Embedding(14, 8);
  readonly enc = nn.GRU(8, 16, { batchFirst: true });
  readonly dec = nn.GRUCell(24, 16);
  readonly k = nn.Linear(16, 16, { bias: false });
  readonly o = nn.Linear(32, 14);

  forward(ctx: nn.Context, src: Value, tgtIn: Value): Value {
    const { output: encoded, hidden } = this.enc(ctx, this.es(ctx, src));
    const keys = this.k(ctx, encoded);
    const words = permute(this.et(ctx, tgtIn), [1, 0, 2]);
    const attend = (h: Value) => einsum("bs,bsd->bd", softmax([einsum("bsd,bd->bs", keys, h)], { axis: 1 }), encoded);
    const step = (h: Value, word: Value) => {
      const context = attend(h);
      const next = this.dec(ctx, concatenate([word, context], 1), h);
      return [next, this.o(ctx, concatenate([next, context], 1))] as const;
    };
    return permute(F.scan(step, squeeze(hidden, 0), words)[1], [1, 2, 0]);
  }
}
