/** Attention layers: Attention, MultiHeadAttention and their kin, with caches that are joined to the keys of now. */
import {
  asType,
  concatenate,
  expandDims,
  full,
  np,
  permute,
  rankOf,
  reshapeTo,
  sliceAxis,
  split,
  squeeze,
  takeAt,
  where,
} from "../../../../ir/build.js";
import { type Dim, dimFloorDiv, dimMul, dimText } from "../../../../ir/dim.js";
import { typeText, type Value } from "../../../../ir/graph.js";
import { iota } from "../../../../ir/ops/constant.js";
import { floor, log, sigmoid } from "../../../../ir/ops/elementwise.js";
import { gather } from "../../../../ir/ops/indexing.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../../context.js";
import { causalKeys, joinHeads, maskBias, rotate, scaledDotProduct, splitHeads } from "../attention.js";
import { matmul } from "../products.js";
import { integerMatmul } from "../quantized.js";
import { scalar, withBias } from "./common.js";

export const headSize = (c: NodeContext, v: Value): number => {
  const size = v.type.shape[3]!;
  if (typeof size !== "number") throw c.error(`the head size ${dimText(size)} is dynamic`);
  return size;
};

/** Keys that may be attended, broadcastable to [batch, heads, rows, keys]: of 0 and 1, or of lengths (and starts) per batch. */
function keyMask(c: NodeContext, mask: Value, batch: Dim, keys: Dim): Value {
  const rank = rankOf(mask);
  if (rank === 2 || rank === 3) return np.ne(expandDims(asType(mask, "i32"), ...(rank === 2 ? [1, 2] : [1])), 0);
  if (rank === 1) {
    const at = iota([], { dtype: "i32", shape: [1, 1, 1, keys], axis: 3 });
    const bounds = reshapeTo(asType(mask, "i32"), [dimFloorDiv(mask.type.shape[0]!, batch), batch, 1, 1, 1]);
    const below = np.lt(at, takeAt(bounds, 0, 0));
    if (bounds.type.shape[0] === 1) return below;
    if (bounds.type.shape[0] === 2) return np.and(below, np.ge(at, takeAt(bounds, 0, 1)));
  }
  throw c.error(`a mask of the shape ${typeText(mask.type)} is not supported`);
}

interface Attended {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly mask: Value | undefined;
  readonly bias: Value | undefined;
  /** Keys before the first query. */
  readonly past: Dim;
}

function attend(c: NodeContext, { q, k, v, mask, bias, past }: Attended): Value {
  const { dtype } = q.type;
  const [rows, columns] = [q.type.shape[2]!, k.type.shape[2]!];
  const terms: Value[] = bias ? [bias] : [];
  const filler = c.attrs.float("mask_filter_value", -10000);
  if (mask) terms.push(where(keyMask(c, mask, q.type.shape[0]!, columns), full(dtype, [], 0), full(dtype, [], filler)));
  if (c.attrs.flag("unidirectional", false)) terms.push(maskBias(causalKeys(rows, columns, past), dtype));
  return scaledDotProduct({
    q,
    k,
    v,
    scale: c.attrs.float("scale", 0) || 1 / Math.sqrt(headSize(c, q)),
    bias: terms.length === 0 ? undefined : terms.reduce((a, b) => np.add(a, b)),
  }).y;
}

/** Query, key and value as [batch, heads, sequence, size], out of one, two or three operands. */
function separated(c: NodeContext, heads: number): readonly [Value, Value, Value] {
  const q = c.input(0);
  const apart = (x: Value) => (rankOf(x) === 3 ? splitHeads(x, heads) : x);
  /** [batch, sequence, heads, parts, size] */
  const unpacked = (x: Value): readonly Value[] =>
    split(x, 3, x.type.shape[3] as number).map((part) => permute(squeeze(part, 3), [0, 2, 1, 3]));
  if (!c.has(1)) {
    if (rankOf(q) !== 5) throw c.error(`the packed query should have 5 axes, but is ${typeText(q.type)}`);
    return unpacked(q) as unknown as readonly [Value, Value, Value];
  }
  const k = c.input(1);
  if (rankOf(k) === 5) return [apart(q), ...(unpacked(k) as [Value, Value])];
  return [apart(q), apart(k), apart(c.input(2))];
}

/** A bias of all heads after each other, [heads · size], as [heads, 1, size]. */
const perHead = (v: Value, heads: number): Value =>
  expandDims(reshapeTo(v, [heads, dimFloorDiv(v.type.shape[0]!, heads)]), 1);

const multiHeadAttention: ImportOp = (c): readonly Bound[] => {
  const heads = c.attrs.requiredInt("num_heads");
  let [q, k, v] = separated(c, heads);
  const bias = c.optional(3);
  if (bias) {
    const hidden = dimMul(heads, q.type.shape[3]!);
    const parts = split(bias, 0, [hidden, hidden, dimMul(heads, v.type.shape[3]!)]);
    const [bq, bk, bv] = parts.map((part) => perHead(part, heads)) as [Value, Value, Value];
    // Keys and values that come in heads are of another layer, which has added its own.
    const own = !c.has(1) || rankOf(c.input(1)) !== 4;
    [q, k, v] = [np.add(q, bq), own ? np.add(k, bk) : k, own ? np.add(v, bv) : v];
  }
  const [pastKey, pastValue] = [c.optional(6), c.optional(7)];
  const past: Dim = pastKey?.type.shape[2] ?? 0;
  if (pastKey) k = concatenate([pastKey, k], 2);
  if (pastValue) v = concatenate([pastValue, v], 2);
  return [joinHeads(attend(c, { q, k, v, mask: c.optional(4), bias: c.optional(5), past })), k, v];
};

/** The rest of Attention and QAttention: `projected` is [batch, sequence, query · key · value]. */
function ofProjected(
  c: NodeContext,
  projected: Value,
  mask: number,
  cache: number,
  bias: number,
): Bound | readonly Bound[] {
  const heads = c.attrs.requiredInt("num_heads");
  const total = projected.type.shape[2]!;
  const sizes: readonly Dim[] =
    c.attrs.ints("qkv_hidden_sizes", undefined) ?? Array<Dim>(3).fill(dimFloorDiv(total, 3));
  const parts = split(projected, 2, sizes).map((p) => splitHeads(p, heads));
  let [q, k, v] = parts as [Value, Value, Value];
  const old = c.optional(cache);
  let past: Dim = 0;
  if (old) {
    const [oldKey, oldValue] = split(old, 0, 2).map((p) => squeeze(p, 0)) as [Value, Value];
    past = oldKey.type.shape[2]!;
    [k, v] = [concatenate([oldKey, k], 2), concatenate([oldValue, v], 2)];
  }
  if (c.attrs.flag("do_rotary", false)) throw c.error("rotary positions inside the op are not supported");
  if (c.attrs.flag("past_present_share_buffer", false))
    throw c.error("a cache in a buffer of fixed length (past_present_share_buffer) is not supported");
  const y = joinHeads(attend(c, { q, k, v, mask: c.optional(mask), bias: c.optional(bias), past }));
  // Keys and values of different sizes have no cache in common.
  return c.node.outputs.length < 2 ? y : [y, concatenate([expandDims(k, 0), expandDims(v, 0)], 0)];
}

const attention: ImportOp = (c) => ofProjected(c, withBias(matmul(c.input(0), c.input(1)), c.optional(2)), 3, 4, 5);

/** Attention whose projection is a product of bytes. */
const qAttention: ImportOp = (c) => {
  const acc = integerMatmul(c.input(0), c.optional(6), c.input(1), c.optional(7));
  const weightScale = c.input(4);
  const perColumn = weightScale.type.shape.length === 1 && weightScale.type.shape[0] !== 1;
  const scale = np.mul(scalar(c.input(3)), perColumn ? asType(weightScale, "f32") : scalar(weightScale));
  return ofProjected(c, np.add(np.mul(asType(acc, "f32"), scale), c.input(2)), 5, 8, c.count);
};

const rotaryEmbedding: ImportOp = (c) => {
  const x = c.input(0);
  const positions = c.input(1);
  const [cos, sin] = [c.input(2), c.input(3)];
  const half = cos.type.shape[1]!;
  const size = typeof half === "number" ? c.attrs.int("rotary_embedding_dim", 0) || 2 * half : undefined;
  if (size === undefined) throw c.error("the size of the rotary cache is dynamic");
  const flat = rankOf(x) === 3;
  const heads = c.attrs.int("num_heads", 0);
  const [batch, length, hidden] = x.type.shape as [Dim, Dim, Dim];
  const apart = flat
    ? reshapeTo(
        x,
        heads > 0
          ? [batch, length, heads, dimFloorDiv(hidden, heads)]
          : [batch, length, dimFloorDiv(hidden, size), size],
      )
    : permute(x, [0, 2, 1, 3]);
  const steps = apart.type.shape[1]!;
  // A single position is where the sequence starts.
  const at =
    rankOf(positions) === 1
      ? expandDims(np.add(iota([], { dtype: "i64", shape: [steps], axis: 0 }), reshapeTo(positions, [])), 0)
      : positions;
  const y = rotateAt(apart, cos, sin, at, c.attrs.flag("interleaved", false));
  const scaled = c.attrs.float("scale", 1) === 1 ? y : np.mul(y, c.attrs.float("scale", 1));
  return flat ? reshapeTo(scaled, x.type.shape) : permute(scaled, [0, 2, 1, 3]);
};

/** [batch, sequence, heads, size] turned by the angles of the positions [batch or 1, sequence]; caches are [position, half]. */
export function rotateAt(x: Value, cos: Value, sin: Value, positions: Value, interleaved: boolean): Value {
  const angles = (cache: Value) => expandDims(gather([cache, positions], { axis: 0 }), 2);
  return rotate(x, angles(cos), angles(sin), dimMul(cos.type.shape[1]!, 2), interleaved);
}

/** T5's bias of relative positions: f32[1, heads, rows, columns]. */
const relativePositionBias: ImportOp = (c) => {
  const table = c.input(0);
  const [rows, columns] = [c.dimWithin(1, "the number of queries"), c.dimWithin(2, "the number of keys")];
  const [buckets, heads] = table.type.shape as [Dim, Dim];
  if (typeof buckets !== "number") throw c.error("the number of buckets is dynamic");
  const furthest = c.attrs.requiredInt("max_distance");
  const both = c.attrs.flag("is_bidirectional", false);
  const shape = [rows, columns];
  const at = (axis: number) => iota([], { dtype: "i32", shape, axis });
  const relative = np.sub(at(1), at(0));
  const half = both ? buckets / 2 : buckets;
  const distance = both ? np.max(relative, np.sub(0, relative)) : np.max(np.sub(0, relative), 0);
  const exact = Math.floor(half / 2);
  const ratio = np.div(log([np.div(np.max(asType(distance, "f32"), 1), exact)]), Math.log(furthest / exact));
  const large = np.min(np.add(asType(floor([np.mul(ratio, half - exact)]), "i32"), exact), half - 1);
  const own = where(np.lt(distance, exact), distance, large);
  const bucket = both ? np.add(own, where(np.gt(relative, 0), full("i32", [], half), 0)) : own;
  const taken = gather([table, bucket], { axis: 0 });
  return expandDims(reshapeTo(permute(taken, [2, 0, 1]), [heads, rows, columns]), 0);
};

/** WavLM's gate on the bias of relative positions, from the query of now. */
const gatedRelativePositionBias: ImportOp = (c) => {
  const heads = c.attrs.requiredInt("num_heads");
  const q = splitHeads(np.add(c.input(0), c.input(1)), heads);
  const gates = np.add(matmul(q, c.input(3)), c.input(4));
  const [batch, , rows, width] = gates.type.shape as [Dim, Dim, Dim, Dim];
  const pairs = reshapeTo(gates, [batch, heads, rows, 2, dimFloorDiv(width, 2)]);
  const summed = sigmoid([sumLast(pairs)]);
  const [a, b] = [sliceAxis(summed, 3, 0, 1), sliceAxis(summed, 3, 1, 1)];
  const factor = np.add(np.mul(a, np.sub(np.mul(b, c.input(5)), 1)), 2);
  return np.mul(factor, c.input(2));
};

const sumLast = (v: Value): Value =>
  split(v, rankOf(v) - 1, v.type.shape.at(-1) as number)
    .map((part) => squeeze(part, rankOf(v) - 1))
    .reduce((a, b) => np.add(a, b));

export const attentionRows: Readonly<Record<string, OpRow>> = {
  Attention: attention,
  QAttention: qAttention,
  MultiHeadAttention: multiHeadAttention,
  RotaryEmbedding: rotaryEmbedding,
  RelativePositionBias: relativePositionBias,
  GatedRelativePositionBias: gatedRelativePositionBias,
};
