/** Ops that stand alone: determinants, deformable and causal convolution, linear and flexible attention, gated activations. */

import {
  asType,
  concatenate,
  expandDims,
  full,
  np,
  permute,
  repeatElements,
  reshapeTo,
  sliceAxis,
  squeeze,
  stack,
  takeAt,
} from "../../../ir/build.js";
import { scanOp } from "../../../ir/control-build.js";
import { type Dim, dimFloorDiv, dimMul, dimSub } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { requireMultiple } from "../../../ir/infer.js";
import { silu } from "../../../ir/ops/activation.js";
import { iota } from "../../../ir/ops/constant.js";
import { conv } from "../../../ir/ops/conv.js";
import { exp, sigmoid } from "../../../ir/ops/elementwise.js";
import { softmax } from "../../../ir/ops/softmax.js";
import { fetchInterpolated, type Plane } from "../../../ir/sampling.js";
import { type Bound, type ImportOp, isValue, type OpRow } from "../context.js";
import { dtypeOfCode } from "../dtype.js";
import { joinHeads, splitHeads } from "./attention.js";
import { addBias } from "./conv.js";
import { det } from "./det.js";
import { matmul } from "./products.js";
import { perAxis, perPads } from "./window.js";

/** Convolution whose taps are moved by learned offsets and weighed by a mask. */
const deformConv: ImportOp = (c) => {
  const [x, w, offset] = [c.input(0), c.input(1), c.input(2)];
  const [n, channels, height, width] = x.type.shape as [Dim, Dim, Dim, Dim];
  const [outputs, perGroup, kh, kw] = w.type.shape;
  if (
    typeof channels !== "number" ||
    typeof outputs !== "number" ||
    typeof perGroup !== "number" ||
    typeof kh !== "number" ||
    typeof kw !== "number"
  )
    throw c.error("channels and kernel should be of fixed size");
  const groups = c.attrs.int("group", 1);
  const offsetGroups = c.attrs.int("offset_group", 1);
  const strides = perAxis(c, "strides", 2, 1);
  const dilations = perAxis(c, "dilations", 2, 1);
  const pads = perPads(c, 2);
  const [rows, columns] = offset.type.shape.slice(2) as [Dim, Dim];
  const points = dimMul(rows, columns);
  const taps = kh * kw;
  const mask = c.optional(4);
  const { dtype } = x.type;
  const own = channels / offsetGroups;
  const shifts = reshapeTo(offset, [n, offsetGroups, taps, 2, points]);
  const masks = mask && reshapeTo(mask, [n, offsetGroups, taps, points]);
  const base = (axis: 0 | 1) => reshapeTo(iota([], { dtype, shape: [rows, columns], axis }), [1, points]);
  const parts = Array.from({ length: offsetGroups }, (_, o) => {
    const flat = reshapeTo(sliceAxis(x, 1, o * own, own), [n, own, dimMul(height, width)]);
    const plane: Plane = { flat, spatial: [height, width] };
    const sampled = Array.from({ length: taps }, (_, t) => {
      const at = ([0, 1] as const).map((axis) => {
        const k = axis === 0 ? Math.floor(t / kw) : t % kw;
        const start = np.add(np.mul(base(axis), strides[axis]!), k * dilations[axis]! - pads[axis]!);
        return np.add(takeAt(takeAt(takeAt(shifts, 1, o), 1, t), 1, axis), start);
      });
      const value = fetchInterpolated(plane, at);
      return masks ? np.mul(value, expandDims(takeAt(takeAt(masks, 1, o), 1, t), 1)) : value;
    });
    return stack(sampled, 2);
  });
  // [n, channels, taps, points] · [groups, outputs / groups, channels / group · taps]
  const patches = reshapeTo(concatenate(parts, 1), [n, groups, perGroup * taps, points]);
  const weights = reshapeTo(w, [1, groups, outputs / groups, perGroup * taps]);
  return addBias(reshapeTo(matmul(weights, patches), [n, outputs, rows, columns]), c.optional(3));
};

/** A depthwise convolution that sees the present and the past, whose end is kept for the next call. */
const causalConv: ImportOp = (c): readonly Bound[] => {
  const [x, w] = [c.input(0), c.input(1)];
  const [n, channels] = x.type.shape as [Dim, Dim, Dim];
  const kernel = w.type.shape[2]!;
  if (typeof kernel !== "number" || typeof channels !== "number")
    throw c.error("channels and kernel should be of fixed size");
  const past = c.optional(3) ?? full(x.type.dtype, [n, channels, kernel - 1], 0);
  const padded = kernel > 1 ? concatenate([past, x], 2) : x;
  const attrs = {
    strides: [1],
    dilations: [1],
    padLow: [0],
    padHigh: [0],
    groups: channels,
    layout: "channelsFirst" as const,
  };
  const y = addBias(conv([padded, w], attrs), c.optional(2));
  const activation = c.attrs.oneOf("activation", ["none", "silu", "swish"], "none");
  const result =
    activation === "none" ? y : asType(silu([asType(y, y.type.dtype === "f64" ? "f64" : "f32")]), y.type.dtype);
  return [result, sliceAxis(padded, 2, dimSub(padded.type.shape[2]!, kernel - 1), kernel - 1)];
};

/** Attention whose state is a matrix per head that decays and is corrected step by step. */
const linearAttention: ImportOp = (c): readonly Bound[] => {
  const [heads, kvHeads] = [c.attrs.requiredInt("q_num_heads"), c.attrs.requiredInt("kv_num_heads")];
  requireMultiple(heads, kvHeads, () => `q_num_heads ${heads} must be a multiple of kv_num_heads ${kvHeads}`);
  const rule = c.attrs.oneOf("update_rule", ["linear", "gated", "delta", "gated_delta"], "gated_delta");
  const dtype = c.input(0).type.dtype;
  const wide = dtype === "f64" ? "f64" : "f32";
  /** [time, batch, heads, size] */
  const rows = (v: Value, h: number) => permute(splitHeads(asType(v, wide), h), [2, 0, 1, 3]);
  const [q, k, v] = [rows(c.input(0), heads), rows(c.input(1), kvHeads), rows(c.input(2), kvHeads)];
  const [, batch, , size] = k.type.shape as [Dim, Dim, Dim, Dim];
  const valueSize = v.type.shape[3]!;
  const past = c.optional(3);
  const state = past ? asType(past, wide) : full(wide, [batch, kvHeads, size, valueSize], 0);
  const decay = rule.startsWith("gated") ? c.input(4) : undefined;
  const beta = rule.endsWith("delta") ? c.input(5) : undefined;
  const betaHeads = beta?.type.shape[2] === 1 ? 1 : kvHeads;
  if (typeof size !== "number") throw c.error("the head size is dynamic");
  const scale = c.attrs.float("scale", 0) || 1 / Math.sqrt(size);
  const inputs = [q, k, v, ...(decay ? [rows(decay, kvHeads)] : []), ...(beta ? [rows(beta, betaHeads)] : [])];
  const made = scanOp({ carried: [state], inputs }, ([before], given) => {
    const [qt, kt, vt, ...more] = given as [Value, Value, Value, ...Value[]];
    let kept = before!;
    if (decay) kept = np.mul(kept, expandDims(exp([more.shift()!]), -1));
    const column = expandDims(kt, -1);
    let added = vt;
    if (beta) {
      const retrieved = squeeze(matmul(expandDims(kt, 2), kept), 2);
      added = np.mul(more.shift()!, np.sub(vt, retrieved));
    }
    const next = np.add(kept, np.mul(column, expandDims(added, 2)));
    const read = heads === kvHeads ? next : repeatElements(next, heads / kvHeads, 1);
    return { carried: [next], scanned: [np.mul(squeeze(matmul(expandDims(qt, 2), read), 2), scale)] };
  });
  const y = joinHeads(permute(made.scanned[0]!, [1, 2, 0, 3]));
  return [asType(y, dtype), asType(made.carried[0]!, past?.type.dtype ?? dtype)];
};

/** ai.onnx.preview: attention with graphs that change the scores and the probabilities. */
const flexAttention: ImportOp = (c) => {
  const [q, k, v] = [c.input(0), c.input(1), c.input(2)];
  const size = q.type.shape[3]!;
  if (typeof size !== "number" && !c.attrs.has("scale")) throw c.error("the head size is dynamic");
  const root = Math.sqrt(c.attrs.float("scale", undefined) ?? 1 / Math.sqrt(size as number));
  const code = c.attrs.int("softmax_precision", 0);
  const asked = code ? dtypeOfCode(code) : undefined;
  const precision = asked === undefined || asked === "string" ? (q.type.dtype === "f64" ? "f64" : "f32") : asked;
  const group = (x: Value): Value => {
    const repeats = dimFloorDiv(q.type.shape[1]!, x.type.shape[1]!);
    return repeats === 1 ? x : repeatElements(x, repeats, 1);
  };
  const modify = (name: string, x: Value): Value => {
    if (!c.attrs.has(name)) return x;
    const [y] = c.services.inline(c.attrs.graph(name), [x], c.scope);
    if (!isValue(y)) throw c.error(`its graph ${name} does not give a tensor`);
    return asType(y, precision);
  };
  const scores = matmul(np.mul(q, root), permute(np.mul(group(k), root), [0, 1, 3, 2]));
  const probabilities = softmax([modify("score_mod", asType(scores, precision))], { axis: -1 });
  return asType(matmul(modify("prob_mod", probabilities), asType(group(v), precision)), v.type.dtype);
};

const swiGlu: ImportOp = (c) => {
  const [a, b] = [c.input(0), c.input(1)];
  const alpha = c.attrs.float("alpha", 1);
  return np.mul(np.mul(a, sigmoid([alpha === 1 ? a : np.mul(a, alpha)])), b);
};

export const misc = {
  Det: det,
  DeformConv: deformConv,
  CausalConvWithState: causalConv,
  LinearAttention: linearAttention,
  SwiGLU: swiGlu,
} as const satisfies Readonly<Record<string, OpRow>>;

export const preview = { FlexAttention: flexAttention } as const satisfies Readonly<Record<string, OpRow>>;
