/**
 * Attention. Composites: the decomposition is the definition. The pass `tile-attention` puts primitives in their place, whose kernels do
 * without the matrix of weights.
 */

import {
  concatenate,
  lowerTriangle,
  np,
  rankOf,
  reshapeTo,
  sizeOf,
  split,
  stack,
  sum,
  sumToShape,
  swapAxes,
  where,
} from "../build.js";
import { type Dim, dimDiffers } from "../dim.js";
import { matmul } from "../einsum.js";
import { ModelError } from "../errors.js";
import { type Shape, type TensorType, typeText, type Value } from "../graph.js";
import { mergeDims, requireAtMost, requireDType } from "../infer.js";
import {
  type Accuracy,
  type CompositeOp,
  defineComposite,
  defineMultiComposite,
  defineMultiOp,
  defineOp,
  type PrimitiveOp,
} from "../op.js";
import { bool, exactly, f32, noGrad, sampleWith } from "../sample.js";
import { stridesOf, type Tensor, tensorFrom, toFloat64 } from "../tensor.js";
import { softmax } from "./softmax.js";

const accuracy: Accuracy = { rtol: 1e-5, atol: 1e-5 };

export type AttentionAttrs = { readonly scale: number; readonly causal: boolean };

/** Scores of keys that a query does not see become `dropped`. */
function masked(scores: Value, mask: Value | undefined, causal: boolean, dropped: number): Value {
  const kept = mask?.type.dtype === "bool" ? where(mask, scores, dropped) : scores;
  return causal ? where(lowerTriangle(sizeOf(kept, -2), sizeOf(kept, -1)), kept, dropped) : kept;
}

/** softmax(scale · query · keyᵀ + mask): how much each query sees of each key, [..., L, S]. */
export function attentionWeights(
  query: Value,
  key: Value,
  mask: Value | undefined,
  { scale, causal }: AttentionAttrs,
): Value {
  requireDType(query.type, "float");
  if (rankOf(query) < 2 || rankOf(key) < 2 || dimDiffers(sizeOf(query, -1), sizeOf(key, -1))) {
    throw new ModelError(`query ${typeText(query.type)} and key ${typeText(key.type)} must have one last size`);
  }
  const products = matmul(np.mul(query, scale), swapAxes(key, -1, -2));
  const scores = mask === undefined || mask.type.dtype === "bool" ? products : np.add(products, mask);
  return softmax([masked(scores, mask, causal, -Infinity)], { axis: -1 });
}

/** Cotangents of query, key and value, and of the scores before the mask, each with all batch axes. */
function cotangents(
  [query, key, value, dy, mask]: readonly [Value, Value, Value, Value, Value?],
  attrs: AttentionAttrs,
): { readonly query: Value; readonly key: Value; readonly value: Value; readonly scores: Value } {
  const weights = attentionWeights(query, key, mask, attrs);
  const dWeights = matmul(dy, swapAxes(value, -1, -2));
  const mean = sum(np.mul(weights, dWeights), [-1], { keepDims: true });
  const scores = masked(np.mul(weights, np.sub(dWeights, mean)), mask, attrs.causal, 0);
  return {
    query: np.mul(matmul(scores, key), attrs.scale),
    key: matmul(swapAxes(scores, -1, -2), np.mul(query, attrs.scale)),
    value: matmul(swapAxes(weights, -1, -2), dy),
    scores,
  };
}

export const attention: CompositeOp<"attention", AttentionAttrs> = defineComposite<"attention", AttentionAttrs>({
  name: "attention",
  operands: ["query", "key", "value", "mask?"],
  summary:
    "softmax(scale · query · keyᵀ + mask) · value over the last two axes: query [..., L, D], key [..., S, D], value [..., S, E]. The mask broadcasts to [..., L, S]: floats are added, bool keeps where true. A row without any kept key is NaN. https://arxiv.org/abs/1706.03762",
  attrs: { scale: "of the scores, usually 1/√D", causal: "query i sees the keys 0 … i only" },
  decompose: ([query, key, value, mask], attrs) => matmul(attentionWeights(query!, key!, mask, attrs), value!),
  vjp: ({ dy, operands, attrs, needs }) => {
    const [query, key, value, mask] = operands as readonly [Value, Value, Value, Value?];
    const all = [query, key, value, dy, ...(mask ? [mask] : [])] as const;
    if (mask === undefined || !needs[3] || mask.type.dtype === "bool") return attentionGrad(all, attrs);
    const d = cotangents([query, key, value, dy, mask], attrs);
    return [d.query, d.key, d.value, d.scores].map((v, i) => sumToShape(v, operands[i]!.type.shape));
  },
  accuracy,
  samples: [
    sampleWith({ scale: 0.5, causal: false }, f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 6)),
    sampleWith({ scale: 0.35, causal: true }, f32(2, 2, 5, 8), f32(2, 2, 5, 8), f32(2, 2, 5, 8)),
    sampleWith({ scale: 1, causal: false }, f32(3, 4), f32(9, 4), f32(9, 4), f32(3, 9)),
    sampleWith(
      { scale: 1, causal: false },
      f32(1, 2, 4),
      f32(1, 3, 4),
      f32(1, 3, 4),
      noGrad(exactly([1, 0, 1, 0, 0, 1], bool(2, 3))),
    ),
  ],
});

export const attentionGrad: CompositeOp<"attentionGrad", AttentionAttrs, "many"> = defineMultiComposite<
  "attentionGrad",
  AttentionAttrs
>({
  name: "attentionGrad",
  operands: ["query", "key", "value", "dy", "mask?"],
  summary: "Cotangents of query, key and value of `attention` from that of its result.",
  attrs: { scale: "as of `attention`", causal: "as of `attention`" },
  decompose: (operands, attrs) => {
    const d = cotangents(operands as readonly [Value, Value, Value, Value, Value?], attrs);
    return [d.query, d.key, d.value].map((v, i) => sumToShape(v, operands[i]!.type.shape));
  },
  accuracy,
  samples: [
    sampleWith({ scale: 0.5, causal: false }, f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 6), f32(2, 3, 6)),
    sampleWith({ scale: 0.35, causal: true }, f32(2, 5, 8), f32(2, 5, 8), f32(2, 5, 8), f32(2, 5, 8)),
    sampleWith({ scale: 1, causal: false }, f32(3, 2, 4), f32(1, 9, 4), f32(9, 4), f32(3, 2, 4), f32(9)),
  ],
});

export type TiledAttentionAttrs = AttentionAttrs & { readonly keys?: Dim };

/**
 * f32 of shapes [batch…, L, D], [batch…, S, D], [batch…, S, E] with the same batch axes, or 1 in key and value; a mask of f32 or bool [batch…, L, keys] of which
 * all axes but the last may be 1. Throws ModelError.
 */
function checkTiled(types: readonly TensorType[], keys?: Dim, mask?: TensorType): void {
  const [q, k, v] = types.map((t) => t.shape) as [Shape, Shape, Shape];
  const wrong = () => `no attention by blocks of ${types.map(typeText).join(", ")}`;
  const isOfRank = (t: TensorType) => t.shape.length === q.length && q.length >= 2;
  const isMatrices =
    types.every((t) => t.dtype === "f32" && isOfRank(t)) &&
    (mask === undefined || (["f32", "bool"].includes(mask.dtype) && isOfRank(mask)));
  if (!isMatrices) throw new ModelError(wrong());
  for (const shape of [k, v])
    for (const [a, n] of shape.slice(0, -2).entries()) if (n !== 1) mergeDims(n, q[a]!, wrong);
  mergeDims(q.at(-1)!, k.at(-1)!, wrong);
  mergeDims(k.at(-2)!, v.at(-2)!, wrong);
  if (keys !== undefined) requireAtMost(keys, k.at(-2)!, wrong);
  if (mask === undefined) return;
  mergeDims(mask.shape.at(-1)!, keys ?? k.at(-2)!, wrong);
  for (const [a, n] of mask.shape.slice(0, -1).entries()) if (n !== 1) mergeDims(n, q[a]!, wrong);
}

/** Weights of one query: softmax over the keys that it sees. `mask` is added to their scores. */
function referenceWeights(
  q: Rows,
  k: Rows,
  i: number,
  { scale, causal }: AttentionAttrs,
  mask?: Float64Array,
): Float64Array {
  const count = causal ? Math.min(i + 1, k.length) : k.length;
  const scores = k.slice(0, count).map((row, j) => scale * dot(q[i]!, row) + (mask?.[j] ?? 0));
  const top = Math.max(...scores);
  const e = Float64Array.from(scores, (s) => Math.exp(s - top));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((x) => x / total);
}

type Rows = readonly Float64Array[];
const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const addScaled = (to: Float64Array, by: number, row: Float64Array): void => {
  row.forEach((x, i) => {
    to[i] = to[i]! + by * x;
  });
};

/** Matrices of the last two axes, for each index of the first operand's batch axes; axes of 1 are repeated. */
function matrices(t: Tensor, batch: readonly number[]): readonly Rows[] {
  const [rows, columns] = t.shape.slice(-2) as [number, number];
  const data = toFloat64(t);
  const strides = stridesOf(t.shape);
  const starts = batch.reduce<readonly number[]>(
    (at, size, a) =>
      at.flatMap((from) => Array.from({ length: size }, (_, i) => from + (t.shape[a] === 1 ? 0 : i * strides[a]!))),
    [0],
  );
  const rowAt = (start: number, r: number) => data.subarray(start + r * columns, start + (r + 1) * columns);
  return starts.map((start) => Array.from({ length: rows }, (_, r) => rowAt(start, r)));
}

/** Row i, or the only one. */
const rowOf = (rows: Rows | undefined, i: number): Float64Array | undefined => rows?.[rows.length === 1 ? 0 : i];

const joined = (dtype: Tensor["dtype"], shape: readonly number[], all: readonly Rows[]): Tensor =>
  tensorFrom(
    dtype,
    shape,
    all.flatMap((rows) => rows.flatMap((row) => [...row])),
  );
const zeroRows = (rows: number, columns: number): Rows => Array.from({ length: rows }, () => new Float64Array(columns));

/** What a mask adds to the scores. */
const asAdded = (mask: Tensor): Tensor =>
  mask.dtype === "bool"
    ? tensorFrom(
        "f32",
        mask.shape,
        [...toFloat64(mask)].map((seen) => (seen ? 0 : Number.NEGATIVE_INFINITY)),
      )
    : mask;

export const tiledAttention: PrimitiveOp<"tiledAttention", TiledAttentionAttrs> = defineOp<
  "tiledAttention",
  TiledAttentionAttrs
>({
  name: "tiledAttention",
  operands: ["query", "key", "value", "mask?"],
  summary:
    "`attention` as a kernel over blocks of queries has it: [batch…, L, D], [batch…, S, D], [batch…, S, E], where batch axes of key and value may be 1, and a mask [batch…, L, S], where all axes but the last may be. Made by the pass tile-attention.",
  attrs: {
    scale: "as of `attention`",
    causal: "as of `attention`",
    keys: "as many rows of key and value are there, from the first on: caches have room for more. Default: all",
  },
  infer: (types, { keys }) => {
    checkTiled(types.slice(0, 3), keys, types[3]);
    const [query, , value] = types as readonly [TensorType, TensorType, TensorType];
    return { dtype: query.dtype, shape: [...query.shape.slice(0, -1), value.shape.at(-1)!] };
  },
  reference: ([query, key, value, mask], { attrs, types: [type], dim }) => {
    const shape = type!.shape.map(dim);
    const batch = shape.slice(0, -2);
    const masks = mask && matrices(asAdded(mask), batch);
    const q = matrices(query!, batch);
    const there = attrs.keys === undefined ? key!.shape.at(-2)! : dim(attrs.keys);
    const [k, v] = [key!, value!].map((t) => matrices(t, batch).map((rows): Rows => rows.slice(0, there)));
    const y = q.map((rows, b) =>
      rows.map((_, i) => {
        const out = new Float64Array(shape.at(-1)!);
        for (const [j, w] of referenceWeights(rows, k![b]!, i, attrs, rowOf(masks?.[b], i)).entries())
          addScaled(out, w, v![b]![j]!);
        return out;
      }),
    );
    return joined(type!.dtype, shape, y);
  },
  // Passes make it after differentiation.
  vjp: "none",
  accuracy,
  samples: [
    sampleWith({ scale: 0.5, causal: false }, f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 6)),
    sampleWith({ scale: 0.35, causal: true }, f32(2, 2, 35, 8), f32(2, 1, 35, 8), f32(2, 2, 35, 8)),
    sampleWith({ scale: -1, causal: true }, f32(67, 5), f32(40, 5), f32(40, 18)),
    sampleWith({ scale: 1, causal: false }, f32(3, 32, 16), f32(1, 65, 16), f32(1, 65, 1)),
    sampleWith({ scale: 1, causal: true }, f32(1, 2, 4), f32(1, 0, 4), f32(1, 0, 4)),
    sampleWith({ scale: 0.3, causal: false }, f32(2, 3, 1, 8), f32(2, 1, 37, 8), f32(2, 1, 37, 12), f32(1, 1, 1, 37)),
    sampleWith({ scale: 0.3, causal: true }, f32(2, 45, 8), f32(1, 45, 8), f32(2, 45, 4), f32(1, 45, 45)),
    sampleWith({ scale: 0.3, causal: false }, f32(2, 13, 3), f32(2, 21, 3), f32(2, 21, 4), f32(2, 1, 21)),
    sampleWith(
      { scale: 1, causal: false },
      f32(2, 2, 4),
      f32(2, 3, 4),
      f32(2, 3, 4),
      noGrad(exactly([1, 0, 1, 0, 0, 1], bool(1, 2, 3))),
    ),
    sampleWith({ scale: 0.5, causal: false, keys: 19 }, f32(2, 3, 1, 8), f32(2, 1, 32, 8), f32(2, 1, 32, 4)),
    sampleWith({ scale: 0.5, causal: false, keys: 18 }, f32(2, 33, 5), f32(1, 40, 5), f32(2, 40, 3), f32(1, 33, 18)),
  ],
});

export const tiledAttentionGrad: PrimitiveOp<"tiledAttentionGrad", AttentionAttrs, "many"> = defineMultiOp<
  "tiledAttentionGrad",
  AttentionAttrs
>({
  name: "tiledAttentionGrad",
  operands: ["query", "key", "value", "dy"],
  summary:
    "Cotangents of query, key and value of `tiledAttention`; those of key and value have all batch axes. The weights are computed again, block by block.",
  attrs: { scale: "as of `attention`", causal: "as of `attention`" },
  infer: (types) => {
    const [query, key, value, dy] = types as readonly [TensorType, TensorType, TensorType, TensorType];
    checkTiled(types);
    const result = [...query.shape.slice(0, -1), value.shape.at(-1)!];
    dy.shape.forEach((n, a) => {
      mergeDims(n, result[a]!);
    });
    const batch = query.shape.slice(0, -2);
    const whole = (t: TensorType): TensorType => ({ dtype: t.dtype, shape: [...batch, ...t.shape.slice(-2)] });
    return [query, whole(key), whole(value)];
  },
  reference: ([query, key, value, dy], { attrs, types, dim }) => {
    const shapes = types.map((t) => t.shape.map(dim));
    const batch = shapes[0]!.slice(0, -2);
    const all = [query!, key!, value!, dy!].map((t) => matrices(t, batch)) as [Rows[], Rows[], Rows[], Rows[]];
    const out = shapes.map((s) => all[0].map(() => zeroRows(s.at(-2)!, s.at(-1)!)));
    all[0].forEach((q, b) => {
      const [k, v, d] = [all[1][b]!, all[2][b]!, all[3][b]!];
      const [dq, dk, dv] = out.map((o) => o[b]!) as [Rows, Rows, Rows];
      q.forEach((row, i) => {
        const w = referenceWeights(q, k, i, attrs);
        const dw = Float64Array.from(w, (_, j) => dot(d[i]!, v[j]!));
        const mean = dot(w, dw);
        w.forEach((x, j) => {
          const ds = attrs.scale * x * (dw[j]! - mean);
          addScaled(dq[i]!, ds, k[j]!);
          addScaled(dk[j]!, ds, row);
          addScaled(dv[j]!, x, d[i]!);
        });
      });
    });
    return types.map((t, i) => joined(t.dtype, shapes[i]!, out[i]!));
  },
  vjp: "none",
  accuracy,
  samples: [
    sampleWith({ scale: 0.5, causal: false }, f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 6), f32(2, 3, 6)),
    sampleWith({ scale: 0.35, causal: true }, f32(2, 2, 35, 8), f32(2, 1, 35, 8), f32(2, 2, 35, 8), f32(2, 2, 35, 8)),
    sampleWith({ scale: -1, causal: true }, f32(67, 5), f32(40, 5), f32(40, 18), f32(67, 18)),
    sampleWith({ scale: 1, causal: false }, f32(3, 32, 16), f32(1, 65, 16), f32(1, 65, 1), f32(3, 32, 1)),
  ],
});

type RotaryAttrs = { readonly interleaved: boolean };

export const rotary: CompositeOp<"rotary", RotaryAttrs> = defineComposite<"rotary", RotaryAttrs>({
  name: "rotary",
  operands: ["x", "cos", "sin"],
  summary:
    "Pairs of features of the last axis turned by angles: (a, b) → (a·cos − b·sin, a·sin + b·cos). cos and sin broadcast to [..., L, D/2]. https://arxiv.org/abs/2104.09864",
  attrs: { interleaved: "pairs are neighbours; otherwise feature i pairs with i + D/2" },
  decompose: ([x, cos, sin], { interleaved }) => {
    requireDType(x!.type, "float");
    const { shape } = x!.type;
    const paired = interleaved ? reshapeTo(x!, [...shape.slice(0, -1), -1, 2]) : x!;
    const [a, b] = interleaved
      ? split(paired, -1, 2).map((v) => reshapeTo(v, v.type.shape.slice(0, -1)))
      : split(paired, -1, 2);
    const first = np.sub(np.mul(a!, cos!), np.mul(b!, sin!));
    const second = np.add(np.mul(a!, sin!), np.mul(b!, cos!));
    return interleaved ? reshapeTo(stack([first, second], -1), shape) : concatenate([first, second], -1);
  },
  accuracy,
  samples: [
    sampleWith({ interleaved: false }, f32(2, 3, 8), f32(3, 4), f32(3, 4)),
    sampleWith({ interleaved: true }, f32(2, 3, 8), f32(3, 4), f32(3, 4)),
  ],
});
