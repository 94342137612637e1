/**
 * DecoderMaskedMultiHeadAttention and DecoderMaskedSelfAttention: one query a sequence, over a cache that is as long as what it
 * holds, or (past_present_share_buffer) a buffer of a fixed length with a count. Beams of a search read the entries of other
 * beams (cache_indirection).
 *
 * Caches are [batch, heads, keys, size], as on ONNX Runtime's CPU; the other order of keys that its CUDA kernels use between calls is theirs
 * alone.
 */
import {
  asType,
  broadcastTo,
  concatenate,
  dimScalar,
  expandDims,
  full,
  np,
  padConstant,
  rankOf,
  reshapeTo,
  sliceAxis,
  split,
  squeeze,
  where,
} from "../../../../ir/build.js";
import { type Dim, dimAdd, dimFloorDiv, dimSub } from "../../../../ir/dim.js";
import { typeText, type Value } from "../../../../ir/graph.js";
import { iota } from "../../../../ir/ops/constant.js";
import { gatherElements, scatterElements } from "../../../../ir/ops/indexing.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../../context.js";
import { joinHeads, maskBias, scaledDotProduct, splitHeads } from "../attention.js";
import { matmul } from "../products.js";
import { headSize } from "./attention.js";

/** Where the inputs of a step stand. */
interface Places {
  readonly mask: number;
  readonly bias: number;
  readonly pastLength: number;
  readonly beamWidth: number;
  readonly indirection: number;
}

interface Step {
  /** [batch, heads, 1, size] */
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly pastKey: Value;
  readonly pastValue: Value;
}

/** The cache with the entry of now, and what hides the keys behind it. */
interface Cached {
  readonly key: Value;
  readonly value: Value;
  /** Keys that there are, of `columns` in the cache. */
  readonly total: Dim;
  readonly columns: Dim;
}

function withEntry(c: NodeContext, { k, v, pastKey, pastValue }: Step, places: Places): Cached {
  const room = pastKey.type.shape[2]!;
  if (!c.attrs.flag("past_present_share_buffer", false)) {
    c.leaveAside(places.pastLength);
    const total = dimAdd(room, 1);
    return { key: concatenate([pastKey, k], 2), value: concatenate([pastValue, v], 2), total, columns: total };
  }
  if (!c.has(places.pastLength))
    throw c.error("past_present_share_buffer needs the input past_sequence_length (how many entries the buffer holds)");
  const past = c.dimWithin(places.pastLength, "the length of the past", dimSub(room, 1));
  const put = (buffer: Value, now: Value) =>
    scatterElements([buffer, broadcastTo(dimScalar(past, "i64"), now.type.shape), now], {
      axis: 2,
      reduction: "none",
    });
  return { key: put(pastKey, k), value: put(pastValue, v), total: dimAdd(past, 1), columns: room };
}

/** The entries that each beam goes on from: [batch · beams, heads, keys, size], by the beam of each key. */
function fromBeams(c: NodeContext, cache: Value, { total, columns }: Cached, places: Places): Value {
  if (!c.has(places.indirection)) return cache;
  const indirection = c.input(places.indirection);
  if (rankOf(indirection) !== 3)
    throw c.error(`cache_indirection should be [batch, beams, keys], but is ${typeText(indirection.type)}`);
  const [batch, , , size] = cache.type.shape as [Dim, Dim, Dim, Dim];
  const [, beams, length] = indirection.type.shape as [Dim, Dim, Dim];
  const row = iota([], { dtype: "i64", shape: [batch, 1], axis: 0 });
  const width = dimScalar(beams, "i64");
  const first = np.mul(np.div(row, width), width);
  const given = np.add(asType(reshapeTo(indirection, [batch, length]), "i64"), first);
  const key = iota([], { dtype: "i64", shape: [1, columns], axis: 1 });
  // The entry of now, and what lies behind it, is each beam's own.
  const own = np.ge(key, np.sub(dimScalar(total, "i64"), 1));
  const from = where(own, row, asWide(given, columns));
  const index = broadcastTo(expandDims(from, 1, 3), [batch, cache.type.shape[1]!, columns, size]);
  return gatherElements([cache, index], { axis: 0 });
}

/** The last axis filled up with zeros, or cut. */
function asWide(x: Value, columns: Dim): Value {
  const missing = dimSub(columns, x.type.shape.at(-1)!);
  if (missing === 0) return x;
  const none = x.type.shape.map((): Dim => 0);
  return padConstant(x, none, [...none.slice(0, -1), missing]);
}

interface Scored {
  readonly q: Value;
  readonly key: Value;
  readonly value: Value;
  readonly mask: Value | undefined;
  readonly bias: Value | undefined;
  readonly total: Dim;
  readonly columns: Dim;
}

/** [batch, 1, heads · size], and the scores before the softmax, [batch, heads, 1, keys]. */
function attended(c: NodeContext, { q, key, value, mask, bias, total, columns }: Scored): readonly [Value, Value] {
  const { dtype } = q.type;
  const terms: Value[] = [];
  const wide = (x: Value) => (total === columns || x.type.shape.at(-1) === 1 ? x : asWide(x, columns));
  if (bias) terms.push(wide(bias));
  if (mask) {
    if (rankOf(mask) !== 2) throw c.error(`its mask should be [batch, keys], but is ${typeText(mask.type)}`);
    const filler = full(dtype, [], c.attrs.float("mask_filter_value", -10000));
    const shown = np.ne(expandDims(asType(mask, "i32"), 1, 2), 0);
    terms.push(wide(where(shown, full(dtype, [], 0), filler)));
  }
  if (total !== columns) {
    const at = iota([], { dtype: "i64", shape: [1, 1, 1, columns], axis: 3 });
    terms.push(maskBias(np.lt(at, dimScalar(total, "i64")), dtype));
  }
  const { y, stages } = scaledDotProduct({
    q,
    k: key,
    v: value,
    scale: c.attrs.float("scale", 0) || 1 / Math.sqrt(headSize(c, q)),
    bias: terms.length === 0 ? undefined : terms.reduce((a, b) => np.add(a, b)),
  });
  return [joinHeads(y), total === columns ? stages[2] : sliceAxis(stages[2], 3, 0, total)];
}

function stepOf(c: NodeContext, step: Step, places: Places): readonly [y: Value, scores: Value, cached: Cached] {
  const cached = withEntry(c, step, places);
  if (c.has(places.beamWidth) && !c.has(places.indirection) && Number(c.constant(places.beamWidth)?.data[0] ?? 0) !== 1)
    throw c.error("a beam_width other than 1 needs the input cache_indirection");
  const [key, value] = [fromBeams(c, cached.key, cached, places), fromBeams(c, cached.value, cached, places)];
  const { total, columns } = cached;
  const [mask, bias] = [c.optional(places.mask), c.optional(places.bias)];
  const [y, scores] = attended(c, { q: step.q, key, value, mask, bias, total, columns });
  return [y, scores, cached];
}

/** An operand of [batch, 1, features]; each run checks what the file leaves open. */
function ofOne(c: NodeContext, i: number): Value {
  const x = c.input(i);
  const [batch, length, features] = x.type.shape as [Dim, Dim, Dim];
  if (rankOf(x) !== 3 || (length !== 1 && typeof length === "number"))
    throw c.error(`input ${i} should be [batch, 1, features], but is ${typeText(x.type)}`);
  return length === 1 ? x : reshapeTo(x, [batch, 1, features]);
}

const multiHead: ImportOp = (c): readonly Bound[] => {
  const places: Places = { mask: 3, bias: 4, pastLength: 7, beamWidth: 8, indirection: 9 };
  const heads = c.attrs.requiredInt("num_heads");
  const given = ofOne(c, 0);
  // Keys and values of another layer come in heads; they are not of now.
  const cross = c.has(1) && rankOf(c.input(1)) === 4;
  const [query, ...entries] = c.has(1)
    ? [given, ...[1, 2].map((i) => (cross ? c.input(i) : ofOne(c, i)))]
    : split(given, 2, Array<Dim>(3).fill(dimFloorDiv(given.type.shape[2]!, 3)));
  const bias = c.optional(10);
  const hidden = query!.type.shape[2]!;
  const biases = bias ? split(bias, 0, [hidden, hidden, dimSub(bias.type.shape[0]!, dimAdd(hidden, hidden))]) : [];
  const inHeads = (x: Value, i: number) => splitHeads(biases[i] ? np.add(x, biases[i]) : x, heads);
  const q = inHeads(query!, 0);
  if (cross) {
    if (c.has(4))
      throw c.error("a bias of the scores (attention_bias) with the keys of another layer is not supported");
    const [key, value] = entries as [Value, Value];
    const columns = key.type.shape[2]!;
    const [y, scores] = attended(c, { q, key, value, mask: c.optional(3), bias: undefined, total: columns, columns });
    c.leaveAside(places.pastLength, places.beamWidth, places.indirection);
    return [y, { kind: "absent" }, { kind: "absent" }, scores];
  }
  const [k, v] = entries.map((x, i) => inHeads(x, i + 1)) as [Value, Value];
  const [y, scores, { key, value }] = stepOf(c, { q, k, v, pastKey: c.input(5), pastValue: c.input(6) }, places);
  return [y, key, value, scores];
};

const self: ImportOp = (c): readonly Bound[] => {
  const places: Places = { mask: 3, bias: 5, pastLength: 6, beamWidth: 7, indirection: 8 };
  if (c.attrs.flag("do_rotary", false)) throw c.error("rotary positions inside the op are not supported");
  const heads = c.attrs.requiredInt("num_heads");
  const projected = np.add(matmul(ofOne(c, 0), c.input(1)), c.input(2));
  const [q, k, v] = split(projected, 2, 3).map((part) => splitHeads(part, heads)) as [Value, Value, Value];
  const [pastKey, pastValue] = split(c.input(4), 0, 2).map((part) => squeeze(part, 0)) as [Value, Value];
  const [y, , { key, value }] = stepOf(c, { q, k, v, pastKey, pastValue }, places);
  return [y, concatenate([expandDims(key, 0), expandDims(value, 0)], 0)];
};

export const decoderMaskedRows: Readonly<Record<string, OpRow>> = {
  DecoderMaskedMultiHeadAttention: multiHead,
  DecoderMaskedSelfAttention: self,
};
