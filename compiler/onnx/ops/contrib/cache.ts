/**
 * Caches of keys and values of decoders: how long each sequence is, where the entries of now go, and how entries are stored
 * (com.microsoft's GroupQueryAttention and SparseAttention).
 */
import {
  asType,
  broadcastTo,
  clamp,
  dimScalar,
  expandDims,
  full,
  np,
  padConstant,
  rankOf,
  reshapeTo,
  sliceAxis,
  where,
} from "../../../../ir/build.js";
import { type Dim, dimAdd, dimEqual, dimFloorDiv, dimMax, dimSub } from "../../../../ir/dim.js";
import type { DType } from "../../../../ir/dtype.js";
import { typeText, type Value } from "../../../../ir/graph.js";
import { bitcast } from "../../../../ir/ops/cast.js";
import { iota } from "../../../../ir/ops/constant.js";
import { round } from "../../../../ir/ops/elementwise.js";
import { scatterElements } from "../../../../ir/ops/indexing.js";
import { unpackedFields } from "../../../../ir/ops/quantized.js";
import type { NodeContext } from "../../context.js";

export interface Lengths {
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

interface Counts {
  readonly batch: Dim;
  readonly rows: Dim;
  readonly cached: Dim;
  /** Keys of the longest sequence. */
  readonly total: Dim;
  /** The last key of each sequence, i64[batch, 1]. */
  readonly last: Value;
}

export function lengthsOf({ batch, rows, cached, total, last }: Counts): Lengths {
  const before = np.sub(np.add(last, 1), dimScalar(rows, "i64"));
  // The first call has no keys from before, though sequences of the batch may be shorter than the longest.
  const none = full("i64", [batch, 1], 0);
  const past = dimEqual(total, rows)
    ? none
    : where(np.eq(dimScalar(total, "i64"), dimScalar(rows, "i64")), none, np.max(before, 0));
  return { batch, rows, cached, columns: dimMax(cached, total), past, last };
}

/** Positions of the queries of now, i64[batch, rows]. */
export const positionsOf = ({ past, rows }: Pick<Lengths, "past" | "rows">): Value =>
  np.add(past, iota([], { dtype: "i64", shape: [1, rows], axis: 1 }));

/** The cache [batch, heads, cached, size] with the entries of now [batch, heads, rows, size] behind those of before. */
export function joined(cache: Value | undefined, now: Value, lengths: Lengths): Value {
  const { batch, cached, columns, past, rows } = lengths;
  if (!cache && dimEqual(columns, rows)) return now;
  const { dtype } = now.type;
  if (dtype.startsWith("f8"))
    return bitcast([joined(cache && bitcast([cache], { to: "u8" }), bitcast([now], { to: "u8" }), lengths)], {
      to: dtype,
    });
  const shape = [now.type.shape[0]!, now.type.shape[1]!, columns, now.type.shape[3]!];
  const missing = dimSub(columns, cached);
  const old =
    cache ??
    full(
      dtype,
      shape.map((d, i) => (i === 2 ? 0 : d)),
      0,
    );
  const grown = missing === 0 ? old : padConstant(old, [0, 0, 0, 0], [0, 0, missing, 0]);
  const index = broadcastTo(expandDims(positionsOf(lengths), 1, 3), now.type.shape);
  const filled = scatterElements([grown, index, now], { axis: 2, reduction: "none" });
  if (batch === 1 && dimEqual(columns, dimAdd(cached, rows))) return filled;
  // What lies behind the keys of a sequence is 0.
  const column = iota([], { dtype: "i64", shape: [1, 1, columns, 1], axis: 2 });
  return where(np.lt(column, expandDims(np.add(past, dimScalar(rows, "i64")), 2, 3)), filled, 0);
}

/** How entries [batch, heads, keys, size] lie in a cache. */
export interface Storage {
  readonly store: (entries: Value) => Value;
  readonly read: (stored: Value) => Value;
}

const QUANTIZATIONS = ["NONE", "PER_TENSOR", "PER_CHANNEL"] as const;
const widths: { readonly [D in DType]?: 4 | 8 } = { i8: 8, f8e4m3fn: 8, u8: 4 };

interface Quantized {
  readonly which: "k" | "v";
  readonly cache: Value | undefined;
  /** Index of the input with the scale. */
  readonly scale: number;
  readonly heads: number;
  readonly size: number;
  readonly dtype: DType;
}

/**
 * Entries are multiples of a scale, one for all or one for each head and feature: signed bytes, 4 bits (two a byte, the even feature
 * low, 8 added), or float8e4m3fn.
 */
export function storageOf(c: NodeContext, { which, cache, scale: input, heads, size, dtype }: Quantized): Storage {
  const kind = c.attrs.oneOf(`${which}_quant_type`, QUANTIZATIONS, "NONE");
  if (kind === "NONE") {
    if (c.has(input)) throw c.error(`it has a scale for its cache, but ${which}_quant_type is "NONE"`);
    if (cache && cache.type.dtype !== dtype)
      throw c.error(`its cache is ${typeText(cache.type)}, which needs ${which}_quant_type and ${which}_scale`);
    return { store: (x) => x, read: (x) => x };
  }
  if (!c.has(input)) throw c.error(`${which}_quant_type is "${kind}", which needs the input ${which}_scale`);
  const own = cache && widths[cache.type.dtype];
  if (cache && !own) throw c.error(`its quantised cache should be i8, u8 or f8e4m3fn, but is ${typeText(cache.type)}`);
  const bits = c.attrs.int("kv_cache_bit_width", 0) || own || 8;
  if ((bits !== 4 && bits !== 8) || (own && own !== bits))
    throw c.error(
      `kv_cache_bit_width is ${bits}${cache ? `, and its cache ${typeText(cache.type)}` : ""}; expected 8 with i8 or f8e4m3fn, 4 with u8`,
    );
  const given = asType(c.input(input), "f32");
  const scale = reshapeTo(given, kind === "PER_TENSOR" ? [] : [1, heads, 1, size]);
  // ONNX Runtime multiplies by the reciprocal, and takes a scale of 0 (nothing seen yet) for 1 where it stores.
  const inverse = where(np.eq(scale, 0), 1, np.div(1, scale));
  const scaled = (x: Value) => np.mul(asType(x, "f32"), inverse);
  const unscaled = (x: Value) => asType(np.mul(asType(x, "f32"), scale), dtype);
  const stepsOf = (x: Value) => clamp(round([scaled(x)]), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1);
  if (bits === 4)
    return { store: (x) => packed(np.add(stepsOf(x), 8)), read: (x) => unscaled(np.sub(nibbles(x, size), 8)) };
  const element = cache?.type.dtype === "f8e4m3fn" ? "f8e4m3fn" : "i8";
  return { store: (x) => asType(element === "i8" ? stepsOf(x) : scaled(x), element), read: unscaled };
}

/** Numbers of 4 bits, two a byte along the last axis; an odd one stands alone. */
function packed(x: Value): Value {
  const last = rankOf(x) - 1;
  const size = x.type.shape[last] as number;
  const none = x.type.shape.map(() => 0);
  const even = size % 2 === 0 ? x : padConstant(x, none, [...none.slice(0, -1), 1]);
  const half = Math.ceil(size / 2);
  return asType(np.add(sliceAxis(even, last, 0, half, 2), np.mul(sliceAxis(even, last, 1, half, 2), 16)), "u8");
}

const nibbles = (x: Value, size: number): Value => sliceAxis(unpackedFields(x, 4), rankOf(x) - 1, 0, size);

/** Of how many features each of `heads` heads is. */
export function headSizeOf(c: NodeContext, query: Value, heads: number): number {
  if (rankOf(query) !== 3) throw c.error(`the query should have 3 axes, but is ${typeText(query.type)}`);
  const size = dimFloorDiv(query.type.shape[2]!, heads);
  if (typeof size !== "number") throw c.error(`the head size ${size.key} is dynamic`);
  return size;
}
