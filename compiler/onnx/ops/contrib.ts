/** The ops of com.microsoft that ONNX Runtime's quantiser and transformer optimiser write most. */
import {
  asType,
  broadcastTo,
  concatenate,
  dimScalar,
  expandDims,
  full,
  mean,
  np,
  permute,
  rankOf,
  reshapeTo,
  rsqrt,
  split,
  square,
  sum,
  swapAxes,
  where,
} from "../../../ir/build.js";
import { type Dim, dimFloorDiv, dimText } from "../../../ir/dim.js";
import { typeText, type Value } from "../../../ir/graph.js";
import * as act from "../../../ir/ops/activation.js";
import { iota } from "../../../ir/ops/constant.js";
import { sigmoid, tanh } from "../../../ir/ops/elementwise.js";
import { gather } from "../../../ir/ops/indexing.js";
import { layerNorm, rmsNorm, softmax } from "../../../ir/ops/normalize.js";
import { tensorFrom, toNumbers } from "../../../ir/tensor.js";
import { host } from "../build.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../context.js";
import { causalKeys, joinHeads, maskBias, rotate, scaledDotProduct, splitHeads } from "./attention.js";
import { addBias, convolve } from "./conv.js";
import { averagePoolOf } from "./pool.js";
import { centred, matmul } from "./products.js";
import { dequantizeLinear, dynamicParameters, quantizeLinear, quantizeTo, requantize } from "./quantize.js";
import { integerMatmul } from "./quantized.js";

const scalar = (v: Value): Value => asType(reshapeTo(v, []), "f32");

/** The quantised value as f32: inputs i (values), i+1 (scale), i+2 (zero point). */
function dequantized(c: NodeContext, i: number): Value {
  return np.mul(asType(centred(c.input(i), c.optional(i + 2)), "f32"), scalar(c.input(i + 1)));
}

/** f32 as the quantised type of the zero point at input i+1, with the scale at input i. */
function quantized(c: NodeContext, y: Value, i: number): Value {
  const zero = c.optional(i + 1);
  const to = zero?.type.dtype ?? c.input(0).type.dtype;
  return quantizeTo(y, scalar(c.input(i)), zero && scalar(zero), to);
}

const qBinary =
  (op: (a: Value, b: Value) => Value): ImportOp =>
  (c) =>
    quantized(c, op(dequantized(c, 0), dequantized(c, 3)), 6);

const qUnary =
  (op: (x: Value, c: NodeContext) => Value): ImportOp =>
  (c) =>
    quantized(c, op(dequantized(c, 0), c), 3);

/** Runs `op` with the channels second, where they come last. */
function channelsSecond(c: NodeContext, x: Value, op: (x: Value) => Value): Value {
  if (!c.attrs.flag("channels_last", false)) return op(x);
  const rank = rankOf(x);
  const inner = Array.from({ length: rank - 2 }, (_, i) => i + 1);
  const y = op(permute(x, [0, rank - 1, ...inner]));
  return permute(y, [0, ...inner.map((i) => i + 1), 1]);
}

const qConcat: ImportOp = (c) => {
  const parts = Array.from({ length: (c.count - 2) / 3 }, (_, k) => dequantized(c, 2 + 3 * k));
  const y = concatenate(parts, c.attrs.requiredInt("axis"));
  return quantizeTo(y, scalar(c.input(0)), scalar(c.input(1)), c.input(1).type.dtype);
};

const qSoftmax: ImportOp = qUnary((x, c) => {
  const axis = c.axis(c.attrs.int("axis", -1), rankOf(x));
  if (c.attrs.int("opset", 13) >= 13 || axis === rankOf(x) - 1) return softmax([x], { axis });
  throw c.error("softmax over several axes (opset below 13) is not supported");
});

const qGemm: ImportOp = (c) => {
  const side = (i: number, transposed: boolean, axis: number): Value => {
    const v = centred(c.input(i), c.optional(i + 2), axis);
    return transposed ? swapAxes(v, 0, 1) : v;
  };
  const transB = c.attrs.flag("transB", false);
  let acc = matmul(side(0, c.attrs.flag("transA", false), 0), side(3, transB, transB ? 0 : 1));
  const bias = c.optional(6);
  if (bias) acc = np.add(acc, bias);
  const scales = np.mul(np.mul(scalar(c.input(1)), asType(flatScale(c.input(4)), "f32")), c.attrs.float("alpha", 1));
  if (!c.has(7)) return np.mul(asType(acc, "f32"), scales);
  const zero = c.optional(8) ?? full("u8", [], 0);
  return requantize(acc, np.div(scales, scalar(c.input(7))), zero, zero.type.dtype);
};

/** A scale of one value as a scalar. */
const flatScale = (v: Value): Value => (v.type.shape.length === 1 && v.type.shape[0] === 1 ? reshapeTo(v, []) : v);

const withBias = (y: Value, bias: Value | undefined): Value => (bias ? np.add(y, bias) : y);

const dynamicQuantizeMatMul: ImportOp = (c) => {
  const a = c.input(0);
  const { scale, zero } = dynamicParameters(a);
  const acc = integerMatmul(quantizeTo(a, scale, zero, "u8"), asType(zero, "u8"), c.input(1), c.optional(3));
  return withBias(np.mul(asType(acc, "f32"), np.mul(scale, flatScale(c.input(2)))), c.optional(4));
};

const matMulIntegerToFloat: ImportOp = (c) => {
  const [a, b] = [c.input(0), c.input(1)];
  const acc = integerMatmul(a, c.optional(4), b, c.optional(5));
  const scale = np.mul(flatScale(c.input(2)), flatScale(c.input(3)));
  return withBias(np.mul(asType(acc, "f32"), scale), c.optional(6));
};

const fusedMatMul: ImportOp = (c) => {
  const side = (i: number, letter: "A" | "B"): Value => {
    const v = c.input(i);
    const rank = rankOf(v);
    // The batch form moves the first axis before the last.
    const moved = c.attrs.flag(`transBatch${letter}`, false)
      ? permute(v, [...Array.from({ length: rank - 2 }, (_, k) => k + 1), 0, rank - 1])
      : v;
    return c.attrs.flag(`trans${letter}`, false) && rank > 1 ? swapAxes(moved, rank - 2, rank - 1) : moved;
  };
  const y = matmul(side(0, "A"), side(1, "B"));
  const alpha = c.attrs.float("alpha", 1);
  return alpha === 1 ? y : np.mul(y, alpha);
};

function activation(c: NodeContext, x: Value): Value {
  const [a = 0, b = 0] = c.attrs.floats("activation_params", []);
  switch (c.attrs.string("activation", "")) {
    case "":
      return x;
    case "Relu":
      return act.relu([x]);
    case "Sigmoid":
      return sigmoid([x]);
    case "Tanh":
      return tanh([x]);
    case "LeakyRelu":
      return act.leakyRelu([x], { slope: a });
    case "Clip":
      return np.min(np.max(x, a), b);
    case "HardSigmoid":
      return act.hardSigmoid([x], { alpha: a, beta: b });
    default:
      throw c.error(`the activation "${c.attrs.string("activation", "")}" is not supported`);
  }
}

const fusedConv: ImportOp = (c) => {
  const y = addBias(convolve(c, c.input(0), c.input(1)), c.optional(2));
  return activation(c, withBias(y, c.optional(3)));
};

/** Weights of 2, 4 or 8 bits in blocks along K, unpacked when compiling. */
const matMulNBits: ImportOp = (c) => {
  const [K, N] = [c.attrs.requiredInt("K"), c.attrs.requiredInt("N")];
  const bits = c.attrs.int("bits", 4);
  const block = c.attrs.requiredInt("block_size");
  if (c.has(4)) throw c.error("a group index (g_idx) is not supported");
  const packed = c.constant(1);
  const scales = c.constant(2);
  if (!packed || !scales) throw c.error("its weights should be constants");
  const blocks = Math.ceil(K / block);
  const field = (data: ArrayLike<number | bigint>, rowBytes: number, row: number, i: number): number =>
    (Number(data[row * rowBytes + Math.floor((i * bits) / 8)]) >> ((i * bits) % 8)) & (2 ** bits - 1);
  const zeros = c.has(3) ? c.constant(3) : undefined;
  if (c.has(3) && !zeros) throw c.error("its zero points should be constants");
  const packedZeros = zeros?.dtype === "u8" ? zeros.data : undefined;
  const floatZeros = zeros && !packedZeros ? toNumbers(zeros) : undefined;
  const scale = toNumbers(scales);
  if (packed.data.length * 8 < N * blocks * block * bits || scale.length < N * blocks)
    throw c.error(
      `its weights have ${packed.data.length} bytes and ${scale.length} scales, too few for K = ${K}, N = ${N}`,
    );
  const weight = new Float32Array(K * N);
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  for (let n = 0; n < N; n++)
    for (let k = 0; k < K; k++) {
      const b = Math.floor(k / block);
      const zero = floatZeros
        ? floatZeros[n * blocks + b]!
        : packedZeros
          ? field(packedZeros, zeroBytes, n, b)
          : 2 ** (bits - 1);
      weight[k * N + n] = (field(packed.data, (blocks * block * bits) / 8, n, k) - zero) * scale[n * blocks + b]!;
    }
  const a = c.input(0);
  return withBias(matmul(a, asType(host(tensorFrom("f32", [K, N], weight)), a.type.dtype)), c.optional(5));
};

// ------------------------------------------------------------------------------------------------- transformers

/** input + skip (+ bias), normalised; the sum is a result as well. */
const skipNorm =
  (norm: (x: Value, c: NodeContext) => Value, bias: number): ImportOp =>
  (c): readonly Bound[] => {
    const [x, skip] = [c.input(0), c.input(1)];
    const total = withBias(np.add(x, broadcastTo(skip, x.type.shape)), c.optional(bias));
    const average = mean(total, -1, { keepDims: true });
    const deviation = rsqrt(
      np.add(mean(square(np.sub(total, average)), -1, { keepDims: true }), c.attrs.float("epsilon", 1e-12)),
    );
    return [norm(total, c), average, deviation, total];
  };

const present = (values: readonly (Value | undefined)[]): readonly Value[] => values.filter((v) => v !== undefined);

const headSize = (c: NodeContext, v: Value): number => {
  const size = v.type.shape[3]!;
  if (typeof size !== "number") throw c.error(`the head size ${dimText(size)} is dynamic`);
  return size;
};

/** [batch, keys] of 0 and 1, or lengths [batch]: keys that may be attended, as [batch, 1, 1, keys]. */
function keyMask(c: NodeContext, mask: Value, keys: Dim): Value {
  if (rankOf(mask) === 2) return np.ne(expandDims(asType(mask, "i32"), 1, 2), 0);
  if (rankOf(mask) === 3) return np.ne(expandDims(asType(mask, "i32"), 1), 0);
  if (rankOf(mask) === 1) {
    const at = iota([], { dtype: "i32", shape: [1, 1, 1, keys], axis: 3 });
    return np.lt(at, reshapeTo(asType(mask, "i32"), [mask.type.shape[0]!, 1, 1, 1]));
  }
  throw c.error(`a mask of the shape ${typeText(mask.type)} is not supported`);
}

function attend(
  c: NodeContext,
  q: Value,
  k: Value,
  v: Value,
  mask: Value | undefined,
  bias: Value | undefined,
  past: Dim,
): Value {
  const { dtype } = q.type;
  const [rows, columns] = [q.type.shape[2]!, k.type.shape[2]!];
  const terms: Value[] = bias ? [bias] : [];
  const filler = c.attrs.float("mask_filter_value", -10000);
  if (mask) terms.push(where(keyMask(c, mask, columns), full(dtype, [], 0), full(dtype, [], filler)));
  if (c.attrs.flag("unidirectional", false)) terms.push(maskBias(causalKeys(rows, columns, past), dtype));
  return scaledDotProduct({
    q,
    k,
    v,
    scale: c.attrs.float("scale", 0) || 1 / Math.sqrt(headSize(c, q)),
    bias: terms.length === 0 ? undefined : terms.reduce((a, b) => np.add(a, b)),
  }).y;
}

const multiHeadAttention: ImportOp = (c): readonly Bound[] => {
  const heads = c.attrs.requiredInt("num_heads");
  if (!c.has(1) || !c.has(2)) throw c.error("packed query, key and value are not supported");
  let [q, k, v] = [c.input(0), c.input(1), c.input(2)];
  const bias = c.optional(3);
  if (bias) {
    const [hidden, hiddenV] = [q.type.shape[2]!, v.type.shape[2]!];
    const [bq, bk, bv] = split(bias, 0, [hidden, hidden, hiddenV]) as [Value, Value, Value];
    [q, k, v] = [np.add(q, bq), rankOf(k) === 3 ? np.add(k, bk) : k, rankOf(v) === 3 ? np.add(v, bv) : v];
  }
  const apart = (x: Value) => (rankOf(x) === 3 ? splitHeads(x, heads) : x);
  [q, k, v] = [apart(q), apart(k), apart(v)];
  const [pastKey, pastValue] = [c.optional(6), c.optional(7)];
  const past: Dim = pastKey?.type.shape[2] ?? 0;
  if (pastKey) k = concatenate([pastKey, k], 2);
  if (pastValue) v = concatenate([pastValue, v], 2);
  return [joinHeads(attend(c, q, k, v, c.optional(4), c.optional(5), past)), k, v];
};

const attention: ImportOp = (c): readonly Bound[] => {
  const heads = c.attrs.requiredInt("num_heads");
  const x = c.input(0);
  const projected = withBias(matmul(x, c.input(1)), c.optional(2));
  const total = projected.type.shape[2]!;
  const sizes: readonly Dim[] =
    c.attrs.ints("qkv_hidden_sizes", undefined) ?? Array<Dim>(3).fill(dimFloorDiv(total, 3));
  const [q, ...kv] = split(projected, 2, sizes).map((p) => splitHeads(p, heads)) as [Value, Value, Value];
  let [k, v] = kv as [Value, Value];
  const past = c.optional(4);
  let pastLength: Dim = 0;
  if (past) {
    const [oldKey, oldValue] = split(past, 0, 2).map((p) => reshapeTo(p, p.type.shape.slice(1))) as [Value, Value];
    pastLength = oldKey.type.shape[2]!;
    [k, v] = [concatenate([oldKey, k], 2), concatenate([oldValue, v], 2)];
  }
  const y = joinHeads(attend(c, q, k, v, c.optional(3), c.optional(5), pastLength));
  return [y, concatenate([expandDims(k, 0), expandDims(v, 0)], 0)];
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
  const angles = (cache: Value) => expandDims(gather([cache, at], { axis: 0 }), 2);
  const y = rotate(apart, angles(cos), angles(sin), size, c.attrs.flag("interleaved", false));
  return flat ? reshapeTo(y, x.type.shape) : permute(y, [0, 2, 1, 3]);
};

const embedLayerNorm: ImportOp = (c): readonly Bound[] => {
  const ids = c.input(0);
  const [batch, length] = ids.type.shape as [Dim, Dim];
  const positions = c.has(8) ? c.input(8) : expandDims(iota([], { dtype: "i64", shape: [length], axis: 0 }), 0);
  let total = np.add(gather([c.input(2), ids], { axis: 0 }), gather([c.input(3), positions], { axis: 0 }));
  if (c.has(1) && c.has(4)) total = np.add(total, gather([c.input(4), c.input(1)], { axis: 0 }));
  const y = layerNorm([total, c.input(5), c.input(6)], { axis: -1, epsilon: c.attrs.float("epsilon", 1e-12) });
  const mask = c.optional(7);
  const counts = mask ? sum(asType(mask, "i32"), 1) : broadcastTo(asType(dimScalar(length, "i64"), "i32"), [batch]);
  return [y, counts, total];
};

const gelu = (x: Value): Value => act.gelu([x], { approximate: "none" });
const fastGelu = (x: Value): Value => act.gelu([x], { approximate: "tanh" });

/** com.microsoft */
export const contrib: Readonly<Record<string, OpRow>> = {
  QuantizeLinear: quantizeLinear,
  DequantizeLinear: dequantizeLinear,
  QLinearAdd: qBinary((a, b) => np.add(a, b)),
  QLinearMul: qBinary((a, b) => np.mul(a, b)),
  QLinearSigmoid: qUnary((x) => sigmoid([x])),
  QLinearLeakyRelu: qUnary((x, c) => act.leakyRelu([x], { slope: c.attrs.float("alpha", 0.01) })),
  QLinearSoftmax: qSoftmax,
  QLinearConcat: qConcat,
  QLinearAveragePool: qUnary((x, c) => channelsSecond(c, x, (v) => averagePoolOf(c, v))),
  QLinearGlobalAveragePool: qUnary((x, c) =>
    channelsSecond(c, x, (v) =>
      mean(
        v,
        v.type.shape.map((_, i) => i).filter((i) => i >= 2),
        { keepDims: true },
      ),
    ),
  ),
  QLinearReduceMean: qUnary((x, c) =>
    mean(x, c.axes(c.attrs.ints("axes", undefined) ?? x.type.shape.map((_, i) => i), rankOf(x)), {
      keepDims: c.attrs.flag("keepdims", true),
    }),
  ),
  QLinearWhere: (c) => quantized(c, where(c.input(0), dequantized(c, 1), dequantized(c, 4)), 7),
  QGemm: qGemm,
  DynamicQuantizeMatMul: dynamicQuantizeMatMul,
  MatMulIntegerToFloat: matMulIntegerToFloat,
  MatMulNBits: matMulNBits,
  FusedMatMul: fusedMatMul,
  TransposeMatMul: fusedMatMul,
  FusedConv: fusedConv,
  Gelu: (c) => gelu(c.input(0)),
  BiasGelu: (c) => gelu(np.add(c.input(0), c.input(1))),
  FastGelu: (c) => fastGelu(withBias(c.input(0), c.optional(1))),
  QuickGelu: (c) => {
    const x = c.input(0);
    return np.mul(x, sigmoid([np.mul(x, c.attrs.float("alpha", 1.702))]));
  },
  SkipLayerNormalization: skipNorm(
    (x, c) =>
      layerNorm(present([x, c.input(2), c.optional(3)]), { axis: -1, epsilon: c.attrs.float("epsilon", 1e-12) }),
    4,
  ),
  SkipSimplifiedLayerNormalization: skipNorm(
    (x, c) => rmsNorm([x, c.input(2)], { axis: -1, epsilon: c.attrs.float("epsilon", 1e-12) }),
    3,
  ),
  SimplifiedLayerNormalization: (c) =>
    rmsNorm([c.input(0), c.input(1)], { axis: c.attrs.int("axis", -1), epsilon: c.attrs.float("epsilon", 1e-5) }),
  EmbedLayerNormalization: embedLayerNorm,
  Attention: attention,
  MultiHeadAttention: multiHeadAttention,
  RotaryEmbedding: rotaryEmbedding,
};
