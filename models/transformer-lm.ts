/** A decoder-only language model: learned positions, pre-norm blocks, output weights tied to the embedding. */

import { nn } from "../compiler/dsl/index.js";
import { np, permute, reshapeTo, sliceAxis, split, staticSize } from "../ir/build.js";
import { linear } from "../ir/einsum.js";
import type { Value } from "../ir/graph.js";
import { gelu } from "../ir/ops/activation.js";
import { attention } from "../ir/ops/attention.js";

export interface TransformerLmOptions {
  readonly vocabulary: number;
  /** Longest sequence. */
  readonly context: number;
  readonly features?: number;
  readonly heads?: number;
  readonly layers?: number;
  readonly feedForward?: number;
}

class Block extends nn.Module {
  readonly ln1: nn.LayerNormLayer;
  readonly qkv: nn.LinearLayer;
  readonly proj: nn.LinearLayer;
  readonly ln2: nn.LayerNormLayer;
  readonly fc1: nn.LinearLayer;
  readonly fc2: nn.LinearLayer;
  readonly #heads: number;

  constructor(features: number, heads: number, feedForward: number) {
    super();
    this.#heads = heads;
    this.ln1 = nn.LayerNorm(features);
    this.qkv = nn.Linear(features, 3 * features);
    this.proj = nn.Linear(features, features);
    this.ln2 = nn.LayerNorm(features);
    this.fc1 = nn.Linear(features, feedForward);
    this.fc2 = nn.Linear(feedForward, features);
  }

  forward(ctx: nn.Context, x: Value): Value {
    const [batch, steps, features] = x.type.shape;
    const [q, k, v] = split(this.qkv(ctx, this.ln1(ctx, x)), -1, 3).map((part) =>
      permute(reshapeTo(part, [batch!, steps!, this.#heads, -1]), [0, 2, 1, 3]),
    );
    const scale = 1 / Math.sqrt(staticSize(q!, -1, "the size of a head"));
    const mixed = permute(attention([q!, k!, v!], { scale, causal: true }), [0, 2, 1, 3]);
    const attended = np.add(x, this.proj(ctx, reshapeTo(mixed, [batch!, steps!, features!])));
    const wide = gelu([this.fc1(ctx, this.ln2(ctx, attended))], { approximate: "none" });
    return np.add(attended, this.fc2(ctx, wide));
  }
}

export class TransformerLm extends nn.Module {
  readonly wte: nn.EmbeddingLayer;
  readonly wpe: nn.EmbeddingLayer;
  readonly blocks: readonly Block[];
  readonly lnf: nn.LayerNormLayer;

  constructor({
    vocabulary,
    context,
    features = 32,
    heads = 4,
    layers = 2,
    feedForward = 2 * features,
  }: TransformerLmOptions) {
    super();
    this.wte = nn.Embedding(vocabulary, features);
    this.wpe = nn.Embedding(context, features);
    this.blocks = Array.from({ length: layers }, () => new Block(features, heads, feedForward));
    this.lnf = nn.LayerNorm(features);
  }

  /** tokens [batch, steps] → logits [batch, steps, vocabulary] */
  forward(ctx: nn.Context, tokens: Value): Value {
    const positions = sliceAxis(ctx.value(this.wpe.weight), 0, 0, tokens.type.shape[1]!);
    const start = np.add(this.wte(ctx, tokens), positions);
    const x = this.blocks.reduce((v, block) => block(ctx, v), start);
    return linear(this.lnf(ctx, x), ctx.value(this.wte.weight));
  }
}
