/**
 * Skip-gram with negative sampling: vectors of words, so that a word's vector tells which words stand near it.
 * Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality", 2013.
 */

import { F, nn, type Value } from "wasmith";

export class SkipGram extends nn.Module<readonly [center: Value, context: Value]> {
  /** Vectors of words in the middle: the result. */
  readonly words: nn.EmbeddingLayer;
  /** Vectors of words around them. */
  readonly contexts: nn.EmbeddingLayer;

  constructor({ vocabulary, size = 32 }: { vocabulary: number; size?: number }) {
    super();
    // A batch uses few of the rows, and only these are updated.
    this.words = nn.Embedding(vocabulary, size, { sparse: true, weightInit: nn.init.uniform(-0.5 / size, 0.5 / size) });
    this.contexts = nn.Embedding(vocabulary, size, { sparse: true, weightInit: nn.init.zeros });
  }

  /** center [batch], context [batch, words] → logits of each of these words standing near its centre [batch, words] */
  forward(ctx: nn.Context, center: Value, context: Value): Value {
    return F.einsum("bd,bwd->bw", this.words(ctx, center), this.contexts(ctx, context));
  }

  /** The k words whose vectors point most nearly where that of each word [batch] does: [batch, k], the word itself first. */
  neighbours(ctx: nn.Context, word: Value, k: number): { words: Value; similarity: Value } {
    const all = F.normalize(ctx.value(this.words.weight));
    const [similarity, words] = F.topK(F.indexSelect(all, 0, word).matmul(all.transpose()), k);
    return { words, similarity };
  }
}

/** Tells the true context [batch, 1] from noise [batch, k]: one binary question for each of the words. */
export function negativeSampling(near: Value, noise: Value): Value {
  const sum = F.logSigmoid(near)
    .sum([1])
    .add(F.logSigmoid(noise.neg()).sum([1]));
  return sum.mean().neg();
}
