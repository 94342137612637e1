/**
 * Says what a picture shows: a convolutional network reads it, a recurrent one writes. Pictures [batch, 1, side, side] and words
 * [batch, words] → logits [batch, words, kinds] of the word behind each, and where it looked.
 * Vinyals et al., "Show and Tell: A Neural Image Caption Generator", 2015; with the attention of Xu et al., "Show, Attend and Tell: Neural
 * Image Caption Generation with Visual Attention", 2015.
 */

import { F, nn, type Value } from "wasmith";
import type { Decoder } from "../decoding.js";

/** Each stage halves a picture. */
const shrunk = 8;

/** Features of a picture [batch, 1, height, width] in cells of 8×8 pixels: [batch, cells, features]. */
export class Eye extends nn.Module<readonly [picture: Value]> {
  readonly stages: nn.Layer;
  readonly digit: nn.LinearLayer;

  constructor(features: number) {
    super();
    const stage = (from: number, to: number) =>
      nn.sequential(nn.Conv2d(from, to, 3, { padding: 1 }), nn.BatchNorm2d(to), nn.ReLU(), nn.MaxPool2d(2));
    this.stages = nn.sequential(
      stage(1, features / 4),
      stage(features / 4, features / 2),
      stage(features / 2, features),
    );
    this.digit = nn.Linear(features, 10);
  }

  forward(ctx: nn.Context, picture: Value): Value {
    return this.stages(ctx, picture).flatten(2).transpose();
  }

  /** Logits [batch, 10] of the digit that a picture shows, wherever it is: what the eye learns first. */
  tell(ctx: nn.Context, picture: Value): Value {
    return this.digit(ctx, this.forward(ctx, picture).amax([1]));
  }
}

/** What is seen in each cell, and what attention compares of it. */
interface Memory {
  readonly cells: Value;
  readonly keys: Value;
}

export interface CaptionerOptions {
  /** Height and width of a picture. */
  readonly side: number;
  /** Words that there are. */
  readonly kinds: number;
  readonly features?: number;
  readonly embedding?: number;
  readonly hidden?: number;
}

export class Captioner extends nn.Module<
  readonly [picture: Value, words: Value],
  { readonly logits: Value; readonly attention: Value }
> {
  readonly eye: Eye;
  readonly places: nn.Variable;
  readonly first: nn.LinearLayer;
  readonly embedding: nn.EmbeddingLayer;
  readonly query: nn.LinearLayer;
  readonly key: nn.LinearLayer;
  readonly score: nn.LinearLayer;
  readonly cell: nn.LSTMCellModule;
  readonly output: nn.LinearLayer;

  constructor({ side, kinds, features = 64, embedding = 32, hidden = 128 }: CaptionerOptions) {
    super();
    this.eye = new Eye(features);
    this.places = nn.parameter([(side / shrunk) ** 2, features], nn.init.normal(0, 0.1));
    this.first = nn.Linear(features, 2 * hidden);
    this.embedding = nn.Embedding(kinds, embedding, { paddingIndex: 0 });
    this.query = nn.Linear(hidden, features, { bias: false });
    this.key = nn.Linear(features, features);
    this.score = nn.Linear(features, 1, { bias: false });
    this.cell = nn.LSTMCell(embedding + features, hidden);
    this.output = nn.Linear(hidden + features + embedding, kinds);
  }

  /** What is known of the picture, and the state that the writer begins with: from the mean of what is seen. */
  private read(ctx: nn.Context, picture: Value): { memory: Memory; state: readonly [h: Value, c: Value] } {
    const cells = this.eye(ctx, picture).add(ctx.value(this.places));
    const state = F.chunk(F.tanh(this.first(ctx, cells.mean([1]))), 2, -1) as [Value, Value];
    return { memory: { cells, keys: this.key(ctx, cells) }, state };
  }

  /** Looks at the cells by the state, reads the embedding [batch, embedding] of the last word, and tells the next. */
  private step(ctx: nn.Context, word: Value, [h, c]: readonly [Value, Value], { cells, keys }: Memory) {
    const compared = F.tanh(this.query(ctx, h).unsqueeze(1).add(keys));
    const attention = F.softmax(this.score(ctx, compared).squeeze(-1));
    const seen = F.einsum("bs,bsd->bd", attention, cells);
    const state = this.cell(ctx, F.cat([word, seen], -1), h, c);
    return { state, features: F.cat([state[0], seen, word], -1), attention };
  }

  /** What writes captions word by word. */
  decoder(ctx: nn.Context, picture: Value): Decoder {
    const { memory, state } = this.read(ctx, picture);
    return {
      start: state,
      next: (token, _, [h, c]) => {
        const { state, features } = this.step(ctx, this.embedding(ctx, token), [h!, c!], memory);
        return { logits: this.output(ctx, features), state };
      },
    };
  }

  /** Each word of the caption is read where it stands, whatever the model would have written there. */
  forward(ctx: nn.Context, picture: Value, words: Value) {
    const { memory, state } = this.read(ctx, picture);
    const [, rows] = F.scan(
      (before: readonly [Value, Value], word: Value) => {
        const { state, ...row } = this.step(ctx, word, before, memory);
        return [state, row];
      },
      state,
      this.embedding(ctx, words).transpose(0, 1),
    );
    return { logits: this.output(ctx, rows.features.transpose(0, 1)), attention: rows.attention.transpose(0, 1) };
  }
}
