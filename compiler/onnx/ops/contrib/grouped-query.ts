/**
 * GroupQueryAttention: decoders that share keys among heads, with a cache that may be longer than what it holds.
 *
 * How long each sequence of the batch is now is data (seqlens_k, one less than its length). The keys of now are written into the
 * cache behind the ones of before; the cache grows to the total length where it is shorter.
 */
import {
  asType,
  broadcastTo,
  dimScalar,
  expandDims,
  full,
  np,
  padConstant,
  permute,
  rankOf,
  reshapeTo,
  split,
  where,
} from "../../../../ir/build.js";
import { type Dim, dimAdd, dimBounds, dimEqual, dimFloorDiv, dimMax, dimSub, dimText } from "../../../../ir/dim.js";
import { typeText, type Value } from "../../../../ir/graph.js";
import { iota } from "../../../../ir/ops/constant.js";
import { scatterElements } from "../../../../ir/ops/indexing.js";
import type { Bound, ImportOp, NodeContext } from "../../context.js";
import { joinHeads, maskBias, scaledDotProduct, splitHeads } from "../attention.js";
import { rotateAt } from "./attention.js";

interface Lengths {
  readonly batch: Dim;
  /** Queries of now. */
  readonly rows: Dim;
  /** Entries of the cache of before, used or not. */
  readonly cached: Dim;
  /** Entries of the cache of now. */
  readonly columns: Dim;
  /** Keys before the first query, i64[batch, 1]. */
  readonly past: Value;
  /** The last key of each sequence, i64[batch, 1]. */
  readonly last: Value;
}

function lengthsOf(c: NodeContext, q: Value, pastKey: Value | undefined): Lengths {
  const [batch, rows] = q.type.shape as [Dim, Dim];
  const cached = pastKey?.type.shape[2] ?? 0;
  const total = c.dimWithin(6, "the total length", dimAdd(cached, rows));
  const own = asType(reshapeTo(c.input(5), [batch, 1]), "i64");
  const before = np.sub(np.add(own, 1), dimScalar(rows, "i64"));
  // The first call has no keys from before, though sequences of the batch may be shorter than the longest.
  const none = full("i64", [batch, 1], 0);
  const past = dimEqual(total, rows)
    ? none
    : where(np.eq(dimScalar(total, "i64"), dimScalar(rows, "i64")), none, np.max(before, 0));
  return { batch, rows, cached, columns: dimMax(cached, total), past, last: own };
}

/** The cache [batch, heads, cached, size] with the entries of now [batch, heads, rows, size] behind those of before. */
function joined(cache: Value | undefined, now: Value, { batch, cached, columns, past, rows }: Lengths): Value {
  if (!cache && dimEqual(columns, rows)) return now;
  const shape = [now.type.shape[0]!, now.type.shape[1]!, columns, now.type.shape[3]!];
  const missing = dimSub(columns, cached);
  const old =
    cache ??
    full(
      now.type.dtype,
      shape.map((d, i) => (i === 2 ? 0 : d)),
      0,
    );
  const grown = missing === 0 ? old : padConstant(old, [0, 0, 0, 0], [0, 0, missing, 0]);
  const at = np.add(past, iota([], { dtype: "i64", shape: [1, rows], axis: 1 }));
  const index = broadcastTo(expandDims(at, 1, 3), now.type.shape);
  const filled = scatterElements([grown, index, now], { axis: 2, reduction: "none" });
  if (batch === 1 && dimEqual(columns, dimAdd(cached, rows))) return filled;
  // What lies behind the keys of a sequence is 0.
  const column = iota([], { dtype: "i64", shape: [1, 1, columns, 1], axis: 2 });
  return where(np.lt(column, expandDims(np.add(past, dimScalar(rows, "i64")), 2, 3)), filled, 0);
}

/** A term of the scores as wide as the cache. */
function asWide(c: NodeContext, bias: Value, columns: Dim): Value {
  const width = bias.type.shape.at(-1)!;
  if (width === 1 || dimEqual(width, columns)) return bias;
  const missing = dimSub(columns, width);
  if (dimBounds(missing).max < 0)
    throw c.error(`its bias ${typeText(bias.type)} is wider than ${dimText(columns)} keys`);
  const none = bias.type.shape.map(() => 0);
  return padConstant(bias, none, [...none.slice(0, -1), missing]);
}

export const groupQueryAttention: ImportOp = (c): readonly Bound[] => {
  const [heads, kvHeads] = [c.attrs.requiredInt("num_heads"), c.attrs.requiredInt("kv_num_heads")];
  if (c.has(12) || c.has(13)) throw c.error("a cache of quantised keys and values is not supported");
  if (c.attrs.int("qk_output", 0) !== 0) throw c.error("scores as an output (qk_output) are not supported");
  const given = c.input(0);
  if (rankOf(given) !== 3) throw c.error(`the query should have 3 axes, but is ${typeText(given.type)}`);
  const size = dimFloorDiv(given.type.shape[2]!, c.has(1) ? heads : heads + 2 * kvHeads);
  if (typeof size !== "number") throw c.error(`the head size ${dimText(size)} is dynamic`);
  const flat = c.has(1)
    ? [given, c.input(1), c.input(2)]
    : split(given, 2, [heads * size, kvHeads * size, kvHeads * size]);
  let [q, k, v] = flat.map((x, i) => splitHeads(x, i === 0 ? heads : kvHeads)) as [Value, Value, Value];
  const [pastKey, pastValue] = [c.optional(3), c.optional(4)];
  const lengths = lengthsOf(c, given, pastKey);
  const { rows, columns, past, last } = lengths;
  if (c.attrs.flag("do_rotary", false)) {
    const counted = np.add(past, iota([], { dtype: "i64", shape: [1, rows], axis: 1 }));
    const positions = c.optional(9) ?? counted;
    const turn = (x: Value) => {
      const byRow = permute(x, [0, 2, 1, 3]);
      const turned = rotateAt(byRow, c.input(7), c.input(8), positions, c.attrs.flag("rotary_interleaved", false));
      return permute(turned, [0, 2, 1, 3]);
    };
    [q, k] = [turn(q), turn(k)];
  }
  const [keys, values] = [joined(pastKey, k, lengths), joined(pastValue, v, lengths)];

  const key = iota([], { dtype: "i64", shape: [1, 1, 1, columns], axis: 3 });
  const query = expandDims(np.add(past, iota([], { dtype: "i64", shape: [1, rows], axis: 1 })), 1, 3);
  const window = c.attrs.int("local_window_size", -1);
  // Rows behind the end of a sequence, which fill up the batch, see what it has.
  const seen = np.le(key, np.min(query, expandDims(last, 1, 3)));
  const allowed = window >= 0 ? np.and(seen, np.gt(key, np.sub(query, window))) : seen;
  const { dtype } = q.type;
  const mask = maskBias(allowed, dtype);
  const bias = c.optional(10);
  const sink = c.optional(11);
  const smooth = c.attrs.int("smooth_softmax", 0) > 0;
  const { y } = scaledDotProduct({
    q,
    k: keys,
    v: values,
    scale: c.attrs.float("scale", 0) || 1 / Math.sqrt(size),
    bias: bias ? np.add(asWide(c, bias, columns), mask) : mask,
    softcap: c.attrs.float("softcap", 0),
    sink: sink ? reshapeTo(sink, [1, heads, 1, 1]) : smooth ? full(dtype, [1, 1, 1, 1], 0) : undefined,
  });
  return [joinHeads(y), keys, values];
};
