/** A classifier of texts: embedding, two bidirectional recurrent layers, one logit. */

import { F, nn, type Value } from "wasmith";

export interface TextRnnOptions {
  readonly vocabulary: number;
  readonly embedding?: number;
  readonly hidden?: number;
  readonly dropout?: number;
}

export class TextRnn extends nn.Module<readonly [text: Value, lengths?: Value]> {
  readonly embedding: nn.EmbeddingLayer;
  readonly rnn: nn.RNNModule;
  readonly dropout: nn.Layer;
  readonly fc: nn.LinearLayer;

  constructor({ vocabulary, embedding = 100, hidden = 256, dropout = 0.5 }: TextRnnOptions) {
    super();
    this.embedding = nn.Embedding(vocabulary, embedding, { weightInit: nn.init.normal(0, 0.1) });
    this.rnn = nn.RNN(embedding, hidden, { layers: 2, bidirectional: true, dropout });
    this.dropout = nn.Dropout(dropout);
    this.fc = nn.Linear(2 * hidden, 1);
  }

  /** text [steps, batch] of word indices, lengths [batch] where texts are padded → logits [batch] */
  forward(ctx: nn.Context, text: Value, lengths?: Value): Value {
    const words = this.dropout(ctx, this.embedding(ctx, text));
    const { hidden } = lengths ? this.rnn(ctx, words, { lengths }) : this.rnn(ctx, words);
    const last = F.cat([hidden.select(0, -2), hidden.select(0, -1)], -1);
    return this.fc(ctx, this.dropout(ctx, last)).squeeze(-1);
  }
}
