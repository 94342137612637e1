/**
 * GroupQueryAttention: decoders that share keys among heads, with a cache that may be longer than what it holds.
 *
 * How long each sequence of the batch is now is data (seqlens_k, one less than its length). The keys of now are written into the
 * cache behind the ones of before; the cache grows to the total length where it is shorter.
 */
import {
  asType,
  expandDims,
  full,
  mean,
  np,
  padConstant,
  permute,
  reshapeTo,
  rsqrt,
  split,
  square,
} from "../../../../ir/build.js";
import { type Dim, dimAdd, dimBounds, dimEqual, dimSub, dimText } from "../../../../ir/dim.js";
import { typeText, type Value } from "../../../../ir/graph.js";
import { iota } from "../../../../ir/ops/constant.js";
import type { Bound, ImportOp, NodeContext } from "../../context.js";
import { joinHeads, maskBias, scaledDotProduct, splitHeads } from "../attention.js";
import { rotateAt } from "./attention.js";
import { headSizeOf, joined, lengthsOf, positionsOf, storageOf } from "./cache.js";

/** A term of the scores as wide as the cache. */
export function asWide(c: NodeContext, bias: Value, columns: Dim): Value {
  const width = bias.type.shape.at(-1)!;
  if (width === 1 || dimEqual(width, columns)) return bias;
  const missing = dimSub(columns, width);
  if (dimBounds(missing).max < 0)
    throw c.error(`its bias ${typeText(bias.type)} is wider than ${dimText(columns)} keys`);
  const none = bias.type.shape.map(() => 0);
  return padConstant(bias, none, [...none.slice(0, -1), missing]);
}

interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly size: number;
}

/** Query, keys and values [batch, heads, rows, size], out of three operands or one. */
export function operandsOf(c: NodeContext): Heads & { readonly parts: readonly [Value, Value, Value] } {
  const [heads, kvHeads] = [c.attrs.requiredInt("num_heads"), c.attrs.requiredInt("kv_num_heads")];
  const given = c.input(0);
  const size = headSizeOf(c, given, c.has(1) ? heads : heads + 2 * kvHeads);
  const flat = c.has(1)
    ? [given, c.input(1), c.input(2)]
    : split(given, 2, [heads * size, kvHeads * size, kvHeads * size]);
  const parts = flat.map((x, i) => splitHeads(x, i === 0 ? heads : kvHeads)) as [Value, Value, Value];
  return { heads, kvHeads, size, parts };
}

/** Turns [batch, heads, rows, size] by the angles of positions i64[batch, rows]; caches of cos and sin are inputs from `first` on. */
export function turnedBy(c: NodeContext, first: number, positions: Value): (x: Value) => Value {
  const interleaved = c.attrs.flag("rotary_interleaved", false);
  return (x) =>
    permute(
      rotateAt(permute(x, [0, 2, 1, 3]), c.input(first), c.input(first + 1), positions, interleaved),
      [0, 2, 1, 3],
    );
}

/** Each head divided by the root of its mean square, in f32, and weighted (the norm of Qwen3 before rotation). */
function normedBy(c: NodeContext, weight: Value): (x: Value) => Value {
  const epsilon = c.attrs.float("qk_norm_epsilon", 1e-6);
  return (x) => {
    const wide = asType(x, "f32");
    const scaled = np.mul(wide, rsqrt(np.add(mean(square(wide), [3], { keepDims: true }), epsilon)));
    return asType(np.mul(scaled, asType(weight, "f32")), x.type.dtype);
  };
}

export const groupQueryAttention: ImportOp = (c): readonly Bound[] => {
  if (c.attrs.int("qk_output", 0) !== 0) throw c.error("scores as an output (qk_output) are not supported");
  if (c.attrs.flag("sliding_window_cache", false))
    throw c.error("a cache that drops old entries itself (sliding_window_cache) is not supported");
  const { heads, kvHeads, size, parts } = operandsOf(c);
  let [q, k, v] = parts;
  const { dtype } = q.type;
  const [pastKey, pastValue] = [c.optional(3), c.optional(4)];
  const [batch, rows] = c.input(0).type.shape as [Dim, Dim];
  const cached = pastKey?.type.shape[2] ?? 0;
  const total = c.dimWithin(6, "the total length", dimAdd(cached, rows));
  const last = asType(reshapeTo(c.input(5), [batch, 1]), "i64");
  const lengths = lengthsOf({ batch, rows, cached, total, last });
  const { columns } = lengths;
  const rowPositions = positionsOf(lengths);
  const [qNorm, kNorm] = [c.optional(14), c.optional(15)];
  if (!qNorm !== !kNorm) throw c.error("q_norm_weight and k_norm_weight should be given together");
  if (qNorm && kNorm) [q, k] = [normedBy(c, qNorm)(q), normedBy(c, kNorm)(k)];
  if (c.attrs.flag("do_rotary", false)) {
    const turn = turnedBy(c, 7, c.optional(9) ?? rowPositions);
    [q, k] = [turn(q), turn(k)];
  } else c.leaveAside(7, 8, 9);
  const form = { size, heads: kvHeads, dtype };
  const keyStorage = storageOf(c, { ...form, which: "k", cache: pastKey, scale: 12 });
  const valueStorage = storageOf(c, { ...form, which: "v", cache: pastValue, scale: 13 });
  const keys = joined(pastKey, keyStorage.store(k), lengths);
  const values = joined(pastValue, valueStorage.store(v), lengths);

  const key = iota([], { dtype: "i64", shape: [1, 1, 1, columns], axis: 3 });
  const query = expandDims(rowPositions, 1, 3);
  const window = c.attrs.int("local_window_size", -1);
  const causal = c.attrs.flag("causal", true);
  if (!causal && window !== -1) throw c.error("a window (local_window_size) needs causal to be 1");
  // Rows behind the end of a sequence, which fill up the batch, see what it has.
  const end = expandDims(last, 1, 3);
  const seen = np.le(key, causal ? np.min(query, end) : end);
  const allowed = window >= 0 ? np.and(seen, np.gt(key, np.sub(query, window))) : seen;
  const mask = maskBias(allowed, dtype);
  const bias = c.optional(10);
  const sink = c.optional(11);
  const smooth = c.attrs.int("smooth_softmax", 0) > 0;
  const { y } = scaledDotProduct({
    q,
    k: keyStorage.read(keys),
    v: valueStorage.read(values),
    scale: c.attrs.float("scale", 0) || 1 / Math.sqrt(size),
    bias: bias ? np.add(asWide(c, bias, columns), mask) : mask,
    softcap: c.attrs.float("softcap", 0),
    sink: sink ? reshapeTo(sink, [1, heads, 1, 1]) : smooth ? full(dtype, [1, 1, 1, 1], 0) : undefined,
  });
  return [joinHeads(y), keys, values];
};
