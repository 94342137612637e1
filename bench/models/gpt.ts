/** A step of a decoder with a cache of keys and values: GPT-2's layers, the output tied to the embedding. */

import { F, nn, type Value } from "wasmith";
import { feedForward, joinHeads, splitHeads } from "./transformer.js";

export interface GptOptions {
  readonly vocabulary: number;
  readonly features: number;
  readonly layers: number;
  readonly heads: number;
  /** Longest sequence. */
  readonly context: number;
}

interface Cached {
  readonly x: Value;
  readonly key: Value;
  readonly value: Value;
}

class Block extends nn.Module<readonly [x: Value, key: Value, value: Value], Cached> {
  readonly norm1: nn.Layer;
  readonly qkv: nn.LinearLayer;
  readonly proj: nn.LinearLayer;
  readonly norm2: nn.Layer;
  readonly wide: nn.Layer;
  readonly #heads: number;

  constructor({ features, heads }: GptOptions) {
    super();
    this.#heads = heads;
    this.norm1 = nn.LayerNorm(features);
    this.qkv = nn.Linear(features, 3 * features);
    this.proj = nn.Linear(features, features);
    this.norm2 = nn.LayerNorm(features);
    this.wide = feedForward(features, 4 * features);
  }

  forward(ctx: nn.Context, x: Value, pastKey: Value, pastValue: Value): Cached {
    const parts = F.chunk(this.qkv(ctx, this.norm1(ctx, x)), 3, -1);
    const [q, k, v] = parts.map((part) => splitHeads(part, this.#heads));
    const key = F.cat([pastKey, k!], 2);
    const value = F.cat([pastValue, v!], 2);
    const mixed = x.add(this.proj(ctx, joinHeads(F.attention(q!, key, value))));
    return { x: mixed.add(this.wide(ctx, this.norm2(ctx, mixed))), key, value };
  }
}

/**
 * Token and its position, i64 [1, 1], then a key and a value [1, heads, past, features / heads] of each layer → logits
 * [1, 1, vocabulary], and keys and values with one more step.
 */
export class GptStep extends nn.Module<readonly Value[], Readonly<Record<string, Value>>> {
  readonly wte: nn.EmbeddingLayer;
  readonly wpe: nn.EmbeddingLayer;
  readonly blocks: readonly Block[];
  readonly norm: nn.Layer;

  constructor(options: GptOptions) {
    super();
    const weightInit = nn.init.normal(0, 0.02);
    this.wte = nn.Embedding(options.vocabulary, options.features, { weightInit });
    this.wpe = nn.Embedding(options.context, options.features, { weightInit });
    this.blocks = Array.from({ length: options.layers }, () => new Block(options));
    this.norm = nn.LayerNorm(options.features);
  }

  forward(ctx: nn.Context, ...[token, position, ...past]: readonly Value[]): Readonly<Record<string, Value>> {
    let x = this.wte(ctx, token!).add(this.wpe(ctx, position!));
    const present: Record<string, Value> = {};
    this.blocks.forEach((block, i) => {
      const step = block(ctx, x, past[2 * i]!, past[2 * i + 1]!);
      x = step.x;
      present[`present.${i}.key`] = step.key;
      present[`present.${i}.value`] = step.value;
    });
    return { logits: F.linear(this.norm(ctx, x), ctx.value(this.wte.weight)), ...present };
  }
}

export interface GptInput {
  readonly dtype: "f32" | "i64";
  readonly shape: readonly (number | "past")[];
}

/** The inputs of `GptStep`, with as many steps in the cache as a run chooses. */
export function gptInputs({ layers, heads, features }: GptOptions): Readonly<Record<string, GptInput>> {
  const cache: GptInput = { dtype: "f32", shape: [1, heads, "past", features / heads] };
  const one: GptInput = { dtype: "i64", shape: [1, 1] };
  const names = Array.from({ length: layers }, (_, i) => [`past.${i}.key`, `past.${i}.value`]).flat();
  return { token: one, position: one, ...Object.fromEntries(names.map((name) => [name, cache])) };
}
