/** Attention and rotary position embedding of ONNX's newer opsets. */
import {
  amax,
  asType,
  broadcastTo,
  concatenate,
  dimScalar,
  expandDims,
  full,
  np,
  padConstant,
  permute,
  rankOf,
  repeatElements,
  reshapeTo,
  sliceAxis,
  split,
  where,
} from "../../../ir/build.js";
import { type Dim, dimFloorDiv, dimMul, dimSub, dimText } from "../../../ir/dim.js";
import type { DType } from "../../../ir/dtype.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { iota } from "../../../ir/ops/constant.js";
import { tanh } from "../../../ir/ops/elementwise.js";
import { gather } from "../../../ir/ops/indexing.js";
import { softmax } from "../../../ir/ops/softmax.js";
import type { Bound, ImportOp, OpRow } from "../context.js";
import { dtypeOfCode } from "../dtype.js";
import { matmul } from "./products.js";

/** [batch, sequence, heads · size] as [batch, heads, sequence, size]. */
export function splitHeads(x: Value, heads: number): Value {
  const [batch, length, hidden] = x.type.shape as [Dim, Dim, Dim];
  return permute(reshapeTo(x, [batch, length, heads, dimFloorDiv(hidden, heads)]), [0, 2, 1, 3]);
}

/** [batch, heads, sequence, size] as [batch, sequence, heads · size]. */
export function joinHeads(x: Value): Value {
  const [batch, heads, length, size] = x.type.shape as [Dim, Dim, Dim, Dim];
  return reshapeTo(permute(x, [0, 2, 1, 3]), [batch, length, dimMul(heads, size)]);
}

export interface AttentionParts {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly scale: number;
  /** Added to the scores; rank 2 to 4, broadcastable. */
  readonly bias?: Value | undefined;
  readonly softcap?: number;
  readonly precision?: DType | undefined;
  /** A score that takes part in the softmax and has no value, [1, heads, 1, 1]. */
  readonly sink?: Value | undefined;
  /** Whether rows without any key may occur: they give zeros. */
  readonly guardEmptyRows?: boolean;
}

export interface AttentionResult {
  readonly y: Value;
  /** Raw scores, after the soft cap, with bias, and the probabilities. */
  readonly stages: readonly [Value, Value, Value, Value];
}

/** Softmax along the last axis, with the sink as one more score. */
function softmaxBeside(scores: Value, sink: Value | undefined): Value {
  if (!sink) return softmax([scores], { axis: -1 });
  const more = broadcastTo(asType(sink, scores.type.dtype), [...scores.type.shape.slice(0, -1), 1]);
  return sliceAxis(softmax([concatenate([scores, more], -1)], { axis: -1 }), -1, 0, scores.type.shape.at(-1)!);
}

/** softmax(q·kᵀ·scale + bias)·v of [batch, heads, sequence, size] operands; keys and values may have fewer heads. */
export function scaledDotProduct({
  q,
  k,
  v,
  scale,
  bias,
  softcap = 0,
  precision,
  sink,
  guardEmptyRows,
}: AttentionParts): AttentionResult {
  const group = (x: Value): Value => {
    const [own, wanted] = [x.type.shape[1]!, q.type.shape[1]!];
    const repeats = dimFloorDiv(wanted, own);
    return repeats === 1 ? x : repeatElements(x, repeats, 1);
  };
  const root = Math.sqrt(scale);
  const keys = permute(group(k), [0, 1, 3, 2]);
  const raw = matmul(np.mul(q, root), np.mul(keys, root));
  const capped = softcap > 0 ? np.mul(tanh([np.div(raw, softcap)]), softcap) : raw;
  const biased = bias ? np.add(capped, bias) : capped;
  const working = precision ? asType(biased, precision) : biased;
  let probabilities = softmaxBeside(working, sink);
  if (guardEmptyRows && bias) {
    const none = np.eq(amax(bias, -1, { keepDims: true }), Number.NEGATIVE_INFINITY);
    probabilities = where(broadcastTo(none, [...biased.type.shape.slice(0, -1), 1]), 0, probabilities);
  }
  const weights = asType(probabilities, v.type.dtype);
  return { y: matmul(weights, group(v)), stages: [raw, capped, biased, weights] };
}

/** 0 where allowed, −∞ elsewhere. */
export const maskBias = (allowed: Value, dtype: DType): Value =>
  where(allowed, full(dtype, [], 0), full(dtype, [], Number.NEGATIVE_INFINITY));

/** Which keys a causal query may see: bool[rows, columns], `past` keys before the first row. */
export const causalKeys = (rows: Dim, columns: Dim, past: Dim): Value => {
  const at = (axis: number) => iota([], { dtype: "i64", shape: [rows, columns], axis });
  return np.le(at(1), np.add(at(0), dimScalar(past, "i64")));
};

const attention: ImportOp = (c): readonly Bound[] => {
  let [q, k, v] = [c.input(0), c.input(1), c.input(2)];
  const flat = rankOf(q) === 3;
  if (flat) {
    const [heads, kvHeads] = [c.attrs.requiredInt("q_num_heads"), c.attrs.requiredInt("kv_num_heads")];
    [q, k, v] = [splitHeads(q, heads), splitHeads(k, kvHeads), splitHeads(v, kvHeads)];
  }
  if (rankOf(q) !== 4) throw c.error(`the query should have 3 or 4 axes, but is ${typeText(q.type)}`);
  const { dtype } = q.type;
  const past = c.optional(4);
  const pastValue = c.optional(5);
  const pastLength: Dim = past?.type.shape[2] ?? 0;
  if (past) k = concatenate([past, k], 2);
  if (pastValue) v = concatenate([pastValue, v], 2);
  const rows = q.type.shape[2]!;
  const columns = k.type.shape[2]!;
  const valid = c.optional(6);

  // Terms of the bias: the given mask, causality and windows, padding.
  const bias: Value[] = [];
  const mask = c.optional(3);
  if (mask)
    bias.push(
      mask.type.dtype === "bool"
        ? maskBias(widen(mask, columns, 0), dtype)
        : widen(mask, columns, Number.NEGATIVE_INFINITY),
    );
  const at = (axis: 0 | 1): Value => iota([], { dtype: "i64", shape: [rows, columns], axis });
  /** Absolute position of the query row: [rows, columns] or [batch, 1, rows, columns]. */
  const position = (): Value => {
    if (valid && !past) {
      const offset = np.sub(asType(valid, "i64"), dimScalar(rows, "i64"));
      return np.add(at(0), reshapeTo(offset, [valid.type.shape[0]!, 1, 1, 1]));
    }
    return pastLength === 0 ? at(0) : np.add(at(0), dimScalar(pastLength, "i64"));
  };
  const allowed: Value[] = [];
  if (c.attrs.flag("is_causal", false)) allowed.push(np.le(at(1), position()));
  const left = c.attrs.int("left_window_size", -1);
  const right = c.attrs.int("right_window_size", -1);
  if (left >= 0) allowed.push(np.le(np.sub(position(), at(1)), left));
  if (right >= 0) allowed.push(np.le(np.sub(at(1), position()), right));
  if (valid) {
    const key = iota([], { dtype: "i64", shape: [1, 1, 1, columns], axis: 3 });
    allowed.push(np.lt(key, reshapeTo(asType(valid, "i64"), [valid.type.shape[0]!, 1, 1, 1])));
  }
  for (const a of allowed) bias.push(maskBias(a, dtype));
  const code = c.attrs.int("softmax_precision", 0);
  const precision = code ? dtypeOfCode(code) : undefined;
  const size = q.type.shape[3]!;
  const given = c.attrs.float("scale", undefined);
  if (given === undefined && typeof size !== "number")
    throw c.error(`the head size ${dimText(size)} is dynamic; the scale must be given`);
  const { y, stages } = scaledDotProduct({
    q,
    k,
    v,
    scale: given ?? 1 / Math.sqrt(size as number),
    bias: bias.length === 0 ? undefined : bias.reduce((a, b) => np.add(a, b)),
    softcap: c.attrs.float("softcap", 0),
    precision: precision === "string" ? undefined : precision,
    guardEmptyRows: true,
  });
  const stage = stages[c.attrs.int("qk_matmul_output_mode", 0)];
  if (!stage) throw c.error("qk_matmul_output_mode should be 0 to 3");
  return [flat ? joinHeads(y) : y, k, v, asType(stage, dtype)];
};

/** A mask whose last axis is shorter than the keys, filled up. */
function widen(mask: Value, columns: Dim, fill: number): Value {
  const last = mask.type.shape.at(-1)!;
  if (last === 1) return mask;
  const missing = dimSub(columns, last);
  if (missing === 0) return mask;
  const none = mask.type.shape.map(() => 0);
  const high = mask.type.shape.map((_, i): Dim => (i === rankOf(mask) - 1 ? missing : 0));
  if (mask.type.dtype !== "bool") return padConstant(mask, none, high, fill);
  return asType(padConstant(asType(mask, "u8"), none, high, fill), "bool");
}

/** Rotates pairs of the first `size` features of [batch, sequence, heads, features] by angles given as cos and sin. */
export function rotate(x: Value, cos: Value, sin: Value, size: Dim, interleaved: boolean): Value {
  const features = x.type.shape[3]!;
  const turned = sliceAxis(x, 3, 0, size);
  const rest = dimSub(features, size);
  const half = dimFloorDiv(size, 2);
  const [a, b] = interleaved
    ? [sliceAxis(turned, 3, 0, half, 2), sliceAxis(turned, 3, 1, half, 2)]
    : (split(turned, 3, 2) as [Value, Value]);
  const real = np.sub(np.mul(cos, a), np.mul(sin, b));
  const imaginary = np.add(np.mul(sin, a), np.mul(cos, b));
  const joined = interleaved
    ? reshapeTo(concatenate([expandDims(real, -1), expandDims(imaginary, -1)], -1), turned.type.shape)
    : concatenate([real, imaginary], 3);
  return rest === 0 ? joined : concatenate([joined, sliceAxis(x, 3, size, rest)], 3);
}

const rotaryEmbedding: ImportOp = (c) => {
  const x = c.input(0);
  const flat = rankOf(x) === 3;
  // [batch, sequence, heads, features]
  const heads = c.attrs.int("num_heads", 0);
  if (flat && heads === 0) throw c.error("num_heads is needed for an input of 3 axes");
  const [batch, length, hidden] = x.type.shape as [Dim, Dim, Dim];
  const split4 = flat ? reshapeTo(x, [batch, length, heads, dimFloorDiv(hidden, heads)]) : permute(x, [0, 2, 1, 3]);
  const positions = c.optional(3);
  const angles = (cache: Value): Value => expandDims(positions ? gather([cache, positions], { axis: 0 }) : cache, 2);
  const size = c.attrs.int("rotary_embedding_dim", 0) || split4.type.shape[3]!;
  const y = rotate(split4, angles(c.input(1)), angles(c.input(2)), size, c.attrs.flag("interleaved", false));
  return flat ? reshapeTo(y, x.type.shape) : permute(y, [0, 2, 1, 3]);
};

export const attentions = {
  Attention: attention,
  RotaryEmbedding: rotaryEmbedding,
} as const satisfies Readonly<Record<string, OpRow>>;
