/**
 * A recurrent encoder and decoder with attention: source [batch, words] and target [batch, characters] → logits of the next characters.
 * Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", 2015.
 */

import { F, nn, type Value } from "wasmith";
import type { Decoder } from "../decoding.js";

/** What the encoder made of the source, for each of its words. */
export interface Memory {
  readonly states: Value;
  /** What attention compares of them. */
  readonly keys: Value;
  /** Where there is no word. */
  readonly padding: Value;
}

export interface TranslatorOptions {
  /** Tokens of either language. */
  readonly source: number;
  readonly target: number;
  readonly embedding?: number;
  readonly hidden?: number;
  readonly dropout?: number;
}

export class Translator extends nn.Module<
  readonly [source: Value, target: Value],
  { logits: Value; attention: Value }
> {
  readonly sourceEmbedding: nn.EmbeddingLayer;
  readonly encoder: nn.GRUModule;
  readonly bridge: nn.LinearLayer;
  readonly targetEmbedding: nn.EmbeddingLayer;
  readonly query: nn.LinearLayer;
  readonly key: nn.LinearLayer;
  readonly score: nn.LinearLayer;
  readonly cell: nn.GRUCellModule;
  readonly output: nn.Layer;

  constructor({ source, target, embedding = 96, hidden = 128, dropout = 0.3 }: TranslatorOptions) {
    super();
    this.sourceEmbedding = nn.Embedding(source, embedding, { paddingIndex: 0 });
    this.encoder = nn.GRU(embedding, hidden, { bidirectional: true, batchFirst: true });
    this.bridge = nn.Linear(hidden, hidden);
    this.targetEmbedding = nn.Embedding(target, embedding, { paddingIndex: 0 });
    this.query = nn.Linear(hidden, hidden, { bias: false });
    this.key = nn.Linear(2 * hidden, hidden);
    this.score = nn.Linear(hidden, 1, { bias: false });
    this.cell = nn.GRUCell(embedding + 2 * hidden, hidden);
    this.output = nn.sequential(
      nn.Linear(3 * hidden + embedding, hidden),
      nn.Tanh(),
      nn.Dropout(dropout),
      nn.Linear(hidden, target),
    );
  }

  /** What is known of the source, and the state [batch, hidden] that the decoder begins with: from where the source begins. */
  encode(ctx: nn.Context, source: Value): { memory: Memory; state: Value } {
    const padding = source.eq(0);
    const lengths = F.logicalNot(padding).sum([1]);
    const { output, hidden } = this.encoder(ctx, this.sourceEmbedding(ctx, source), { lengths });
    const state = F.tanh(this.bridge(ctx, hidden.select(0, 1)));
    return { memory: { states: output, keys: this.key(ctx, output), padding }, state };
  }

  /** Looks at the words by the state, reads a character's embedding [batch, embedding], and has a new state. */
  step(ctx: nn.Context, embedded: Value, state: Value, memory: Memory) {
    const compared = F.tanh(this.query(ctx, state).unsqueeze(1).add(memory.keys));
    const scores = this.score(ctx, compared).squeeze(-1).maskedFill(memory.padding, Number.NEGATIVE_INFINITY);
    const attention = F.softmax(scores);
    const seen = F.einsum("bs,bsd->bd", attention, memory.states);
    const next = this.cell(ctx, F.cat([embedded, seen], -1), state);
    return { state: next, features: F.cat([next, seen, embedded], -1), attention };
  }

  /** What writes translations, several of them side by side where there is one sentence [1, words]. */
  decoder(ctx: nn.Context, source: Value, beams?: number): Decoder {
    const { memory, state } = this.encode(ctx, source);
    const each = (x: Value) => (beams === undefined ? x : x.expand(beams, ...x.type.shape.slice(1)));
    const all = { states: each(memory.states), keys: each(memory.keys), padding: each(memory.padding) };
    return {
      start: [each(state)],
      next: (token, _, [before]) => {
        const { state, features } = this.step(ctx, this.targetEmbedding(ctx, token), before!, all);
        return { logits: this.output(ctx, features), state: [state] };
      },
    };
  }

  /** Each character of the target is read where it stands, whatever the model would have written there. */
  forward(ctx: nn.Context, source: Value, target: Value) {
    const { memory, state } = this.encode(ctx, source);
    const read = this.targetEmbedding(ctx, target).transpose(0, 1);
    const [, rows] = F.scan(
      (before: Value, embedded: Value) => {
        const { state, ...row } = this.step(ctx, embedded, before, memory);
        return [state, row];
      },
      state,
      read,
    );
    return { logits: this.output(ctx, rows.features.transpose(0, 1)), attention: rows.attention.transpose(0, 1) };
  }
}
