/** A classifier of texts: embedding, two bidirectional recurrent layers, one logit. */

import { nn } from "../compiler/dsl/index.js";
import { concatenate, squeeze, takeAt } from "../ir/build.js";
import type { Value } from "../ir/graph.js";

export interface RnnSentimentOptions {
  readonly vocabulary: number;
  readonly embedding?: number;
  readonly hidden?: number;
  readonly dropout?: number;
}

export class RnnSentiment extends nn.Module {
  readonly embedding: nn.EmbeddingLayer;
  readonly rnn: nn.RNNModule;
  readonly fc: nn.LinearLayer;

  constructor({ vocabulary, embedding = 100, hidden = 256, dropout = 0.5 }: RnnSentimentOptions) {
    super();
    this.embedding = nn.Embedding(vocabulary, embedding);
    this.rnn = nn.RNN(embedding, hidden, { layers: 2, bidirectional: true, dropout });
    this.fc = nn.Linear(2 * hidden, 1);
  }

  /** text [steps, batch] of word indices → logits [batch] */
  forward(ctx: nn.Context, text: Value): Value {
    const { hidden } = this.rnn.apply(ctx, this.embedding.apply(ctx, text));
    const [forward, backward] = [-2, -1].map((i) => takeAt(hidden, 0, i));
    return squeeze(this.fc.apply(ctx, concatenate([forward!, backward!], -1)), -1);
  }
}
