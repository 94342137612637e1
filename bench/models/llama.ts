/**
 * Decoders as transformers.js runs them, with seeded weights: ids, a mask of what is there, positions and a cache of keys and values in;
 * logits and the longer cache out. The nodes are those that PyTorch's exporter writes, norms and rotary embedding in their steps.
 */

import type { NodeProto, TensorProto, ValueInfoProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { model, node, tensorInfo } from "../../tests/onnx/build.js";

export interface LlamaSize {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  /** Heads of keys and values; each serves heads / keyValueHeads queries. */
  readonly keyValueHeads: number;
  readonly ffn: number;
  readonly vocabulary: number;
  /** How the file holds the embedding, which is the last product's weight too: once, transposed by a node, or a second time, transposed. */
  readonly tied: "once" | "twice";
}

/** 135 M parameters, the size of SmolLM. */
export const llama135m: LlamaSize = {
  layers: 30,
  width: 576,
  heads: 9,
  keyValueHeads: 3,
  ffn: 1536,
  vocabulary: 49152,
  tied: "once",
};

/** For tests. */
export const llamaTiny: LlamaSize = {
  layers: 2,
  width: 48,
  heads: 6,
  keyValueHeads: 2,
  ffn: 80,
  vocabulary: 97,
  tied: "once",
};

/** Uniform numbers in [−1, 1) of a xorshift generator, the same for the same seed. */
export function uniform(seed: number): () => number {
  let s = (seed | 0) * 2654435761 || 1;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s | 0) / 2 ** 31;
  };
}

const float = 1;
const int64 = 7;
const bool = 9;

/** Collects nodes and initializers of a graph. */
export class GraphWriter {
  readonly nodes: NodeProto[] = [];
  readonly initializer: TensorProto[] = [];
  readonly #draw: () => number;
  readonly #constants = new Map<string, string>();
  #names = 0;

  constructor(seed: number) {
    this.#draw = uniform(seed);
  }

  /** A node of one result, whose name it returns. */
  op(opType: string, inputs: string[], attributes: Parameters<typeof node>[3] = {}, output?: string): string {
    const name = output ?? `/${opType}_${this.#names++}`;
    this.nodes.push(node(opType, inputs, [name], attributes, { name }));
    return name;
  }

  /** A weight drawn so that products keep the size of what they multiply. */
  weight(name: string, shape: readonly number[], scale = Math.sqrt(3 / shape[0]!), around = 0): string {
    const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
    for (let i = 0; i < data.length; i++) data[i] = around + scale * this.#draw();
    return this.given(name, shape, data);
  }

  given(name: string, shape: readonly number[], data: Float32Array): string {
    this.initializer.push(encodeTensor({ dtype: "f32", shape, data }, name));
    return name;
  }

  ints(...values: readonly number[]): string {
    return this.#constant("i64", [values.length], BigInt64Array.from(values, BigInt));
  }

  int(value: number): string {
    return this.#constant("i64", [], BigInt64Array.of(BigInt(value)));
  }

  number(value: number): string {
    return this.#constant("f32", [], Float32Array.of(value));
  }

  #constant(dtype: "i64" | "f32", shape: readonly number[], data: BigInt64Array | Float32Array): string {
    const key = `${dtype}[${shape}]${data}`;
    let name = this.#constants.get(key);
    if (name === undefined) {
      name = `constant_${this.#constants.size}`;
      this.#constants.set(key, name);
      this.initializer.push(encodeTensor({ dtype, shape, data }, name));
    }
    return name;
  }
}

const sequence = "sequence_length";
const past = "past_sequence_length";
const total = `${past} + ${sequence}`;

/** Inputs besides the cache. */
const tokens = (positions: boolean): readonly ValueInfoProto[] => [
  tensorInfo("input_ids", [1, sequence], int64),
  tensorInfo("attention_mask", [1, total], int64),
  ...(positions ? [tensorInfo("position_ids", [1, sequence], int64)] : []),
];

const parts = ["key", "value"] as const;
const cacheNames = (prefix: string, layers: number): readonly string[] =>
  Array.from({ length: layers }, (_, i) => parts.map((p) => `${prefix}.${i}.${p}`)).flat();

/** What masks the scores: 0 for a key that is there and not later than the query, the least float else. [1, 1, sequence, total] */
export function causalMask(g: GraphWriter): string {
  const sizeAt = (of: string, axis: number) => g.op("Gather", [g.op("Shape", [of]), g.int(axis)], { axis: 0 });
  const before = sizeAt("past_key_values.0.key", 2);
  const end = g.op("Add", [before, sizeAt("input_ids", 1)]);
  const keys = g.op("Range", [g.int(0), end, g.int(1)]);
  const queries = g.op("Unsqueeze", [g.op("Range", [before, end, g.int(1)]), g.ints(1)]);
  const seen = g.op("LessOrEqual", [keys, queries]);
  const there = g.op("Unsqueeze", [g.op("Cast", ["attention_mask"], { to: bool }), g.ints(1, 2)]);
  return g.op("Where", [g.op("And", [seen, there]), g.number(0), g.number(-3.4028234663852886e38)]);
}

/** [1, sequence, heads · d] → [1, heads, sequence, d] */
export function splitHeads(g: GraphWriter, x: string, heads: number, d: number): string {
  return g.op("Transpose", [g.op("Reshape", [x, g.ints(1, -1, heads, d)])], { perm: [0, 2, 1, 3] });
}

/** softmax(q · kᵀ / √d + mask) · v of [1, heads, …, d], as [1, sequence, heads · d] */
export function attend(
  g: GraphWriter,
  [q, k, v, mask]: readonly [string, string, string, string],
  d: number,
  width: number,
) {
  const scores = g.op("MatMul", [q, g.op("Transpose", [k], { perm: [0, 1, 3, 2] })]);
  const masked = g.op("Add", [g.op("Mul", [scores, g.number(1 / Math.sqrt(d))]), mask]);
  const mixed = g.op("MatMul", [g.op("Softmax", [masked], { axis: -1 }), v]);
  return g.op("Reshape", [g.op("Transpose", [mixed], { perm: [0, 2, 1, 3] }), g.ints(1, -1, width)]);
}

/** Keys or values of before and now: the result is a cache of the model. */
export const appended = (g: GraphWriter, layer: number, part: (typeof parts)[number], now: string): string =>
  g.op("Concat", [`past_key_values.${layer}.${part}`, now], { axis: 2 }, `present.${layer}.${part}`);

/** The file of a decoder with the nodes of `g`, which made `logits`. */
export function decoderFile(
  g: GraphWriter,
  size: { readonly layers: number; readonly keyValueHeads: number; readonly d: number; readonly vocabulary: number },
  positions: boolean,
): Uint8Array {
  const cache = (prefix: string, length: string) =>
    cacheNames(prefix, size.layers).map((name) => tensorInfo(name, [1, size.keyValueHeads, length, size.d], float));
  return encodeModel(
    model(
      {
        name: "decoder",
        node: g.nodes,
        initializer: g.initializer,
        input: [...tokens(positions), ...cache("past_key_values", past)],
        output: [tensorInfo("logits", [1, sequence, size.vocabulary], float), ...cache("present", total)],
      },
      [],
      18,
    ),
  );
}

function rmsNorm(g: GraphWriter, x: string, name: string, width: number): string {
  const mean = g.op("ReduceMean", [g.op("Pow", [x, g.number(2)]), g.ints(-1)], { keepdims: 1 });
  const root = g.op("Sqrt", [g.op("Add", [mean, g.number(1e-5)])]);
  const normed = g.op("Mul", [x, g.op("Div", [g.number(1), root])]);
  return g.op("Mul", [g.weight(name, [width], 0.1, 1), normed]);
}

/** Cosines and sines of the positions' angles, [1, 1, sequence, d], each angle in both halves. */
function angles(g: GraphWriter, d: number): readonly [string, string] {
  const inverse = Float32Array.from({ length: d / 2 }, (_, i) => 10000 ** ((-2 * i) / d));
  const at = g.op("Unsqueeze", [g.op("Cast", ["position_ids"], { to: float }), g.ints(-1)]);
  const half = g.op("Mul", [at, g.given("inv_freq", [1, 1, d / 2], inverse)]);
  const whole = g.op("Concat", [half, half], { axis: -1 });
  const both = (fn: string) => g.op("Unsqueeze", [g.op(fn, [whole]), g.ints(1)]);
  return [both("Cos"), both("Sin")];
}

function turned(g: GraphWriter, x: string, [cos, sin]: readonly [string, string], d: number): string {
  const part = (from: number, to: number) => g.op("Slice", [x, g.ints(from), g.ints(to), g.ints(3), g.ints(1)]);
  const rotated = g.op("Concat", [g.op("Neg", [part(d / 2, 2 ** 31 - 1)]), part(0, d / 2)], { axis: -1 });
  return g.op("Add", [g.op("Mul", [x, cos]), g.op("Mul", [rotated, sin])]);
}

/** [1, h, total, d] → [1, h · times, total, d], each head several times in a row. */
function repeatHeads(g: GraphWriter, x: string, heads: number, times: number, d: number): string {
  if (times === 1) return x;
  const length = g.op("Gather", [g.op("Shape", [x]), g.ints(2)], { axis: 0 });
  const spread = g.op("Concat", [g.ints(1, heads, times), length, g.ints(d)], { axis: 0 });
  const repeated = g.op("Expand", [g.op("Unsqueeze", [x, g.ints(2)]), spread]);
  return g.op("Reshape", [repeated, g.ints(1, heads * times, -1, d)]);
}

/** A Llama-shaped decoder as an ONNX file; the same bytes for the same size and seed. */
export function llama(size: LlamaSize, seed = 1): Uint8Array {
  const { layers, width, heads, keyValueHeads, ffn, vocabulary } = size;
  const d = width / heads;
  const g = new GraphWriter(seed);
  const embedding = g.weight("model.embed_tokens.weight", [vocabulary, width], Math.sqrt(3 / width));
  let x = g.op("Gather", [embedding, "input_ids"], { axis: 0 });
  const mask = causalMask(g);
  const turn = angles(g, d);
  for (let layer = 0; layer < layers; layer++) {
    const named = (part: string) => `model.layers.${layer}.${part}.weight`;
    const linear = (of: string, part: string, from: number, to: number) =>
      g.op("MatMul", [of, g.weight(named(part), [from, to])]);
    const h = rmsNorm(g, x, named("input_layernorm"), width);
    const q = turned(g, splitHeads(g, linear(h, "self_attn.q_proj", width, width), heads, d), turn, d);
    const kv = keyValueHeads * d;
    const k = turned(g, splitHeads(g, linear(h, "self_attn.k_proj", width, kv), keyValueHeads, d), turn, d);
    const v = splitHeads(g, linear(h, "self_attn.v_proj", width, kv), keyValueHeads, d);
    const [keys, values] = [appended(g, layer, "key", k), appended(g, layer, "value", v)].map((c) =>
      repeatHeads(g, c, keyValueHeads, heads / keyValueHeads, d),
    ) as [string, string];
    const mixed = attend(g, [q, keys, values, mask], d, width);
    x = g.op("Add", [x, linear(mixed, "self_attn.o_proj", width, width)]);
    const h2 = rmsNorm(g, x, named("post_attention_layernorm"), width);
    const gate = linear(h2, "mlp.gate_proj", width, ffn);
    const active = g.op("Mul", [gate, g.op("Sigmoid", [gate])]);
    const wide = g.op("Mul", [active, linear(h2, "mlp.up_proj", width, ffn)]);
    x = g.op("Add", [x, linear(wide, "mlp.down_proj", ffn, width)]);
  }
  const last = rmsNorm(g, x, "model.norm.weight", width);
  g.op("MatMul", [last, head(g, size, embedding)], {}, "logits");
  return decoderFile(g, { layers, keyValueHeads, d, vocabulary }, true);
}

/** The last product's weight [width, vocabulary]. */
function head(g: GraphWriter, { tied, vocabulary, width }: LlamaSize, embedding: string): string {
  if (tied === "once") return g.op("Transpose", [embedding], { perm: [1, 0] });
  const { rawData } = g.initializer[0]!;
  const rows = new Float32Array(rawData!.buffer, rawData!.byteOffset, vocabulary * width);
  const columns = new Float32Array(rows.length);
  for (let r = 0; r < vocabulary; r++)
    for (let c = 0; c < width; c++) columns[c * vocabulary + r] = rows[r * width + c]!;
  return g.given("onnx::MatMul_lm_head", [width, vocabulary], columns);
}

export interface Feed {
  readonly dtype: "f32" | "i64";
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

/** Feeds of a step: so many new tokens after a cache of so many. */
export function decoderFeeds(
  size: { readonly layers: number; readonly keyValueHeads: number; readonly d: number; readonly vocabulary: number },
  queries: number,
  before: number,
  { positions = true, seed = 7 }: { readonly positions?: boolean; readonly seed?: number } = {},
): Readonly<Record<string, Feed>> {
  const draw = uniform(seed);
  const ints = (count: number, value: (i: number) => number): Feed => ({
    dtype: "i64",
    shape: [1, count],
    data: BigInt64Array.from({ length: count }, (_, i) => BigInt(value(i))),
  });
  const cache = (): Feed => ({
    dtype: "f32",
    shape: [1, size.keyValueHeads, before, size.d],
    data: Float32Array.from({ length: size.keyValueHeads * before * size.d }, draw),
  });
  return {
    input_ids: ints(queries, () => Math.floor(((draw() + 1) / 2) * size.vocabulary)),
    attention_mask: ints(before + queries, () => 1),
    ...(positions ? { position_ids: ints(queries, (i) => before + i) } : {}),
    ...Object.fromEntries(cacheNames("past_key_values", size.layers).map((name) => [name, cache()])),
  };
}

/** Feeds of a Llama. */
export const llamaFeeds = (size: LlamaSize, queries: number, before: number): Readonly<Record<string, Feed>> =>
  decoderFeeds({ ...size, d: size.width / size.heads }, queries, before);
