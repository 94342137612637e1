/**
 * Mixtures of experts: MoE and QMoE. All experts see all tokens; the routing weighs what they give, with 0 for those that a token is
 * not sent to.
 */
import {
  asType,
  expandDims,
  np,
  oneHot,
  rankOf,
  reshapeTo,
  sliceAxis,
  split,
  sum,
  swapAxes,
} from "../../../../ir/build.js";
import { type Dim, dimFloorDiv } from "../../../../ir/dim.js";
import { typeText, type Value } from "../../../../ir/graph.js";
import * as act from "../../../../ir/ops/activation.js";
import { sigmoid } from "../../../../ir/ops/elementwise.js";
import { productOf } from "../../../../ir/ops/movement.js";
import { unpackedFields } from "../../../../ir/ops/quantized.js";
import { softmax } from "../../../../ir/ops/softmax.js";
import { topK } from "../../../../ir/ops/sort.js";
import type { ImportOp, NodeContext, OpRow } from "../../context.js";
import { matmul } from "../products.js";
import { fastGelu } from "./fused.js";

/**
 * Weight of each expert for each token, f[tokens, experts], 0 for most: the shares of the chosen ones among themselves
 * (`normalized`) or among all.
 */
function routing(c: NodeContext, scores: Value, normalized: boolean): Value {
  const k = c.attrs.int("k", 1);
  const experts = scores.type.shape[1]!;
  if (c.attrs.flag("use_sparse_mixer", false)) throw c.error("the sparse mixer is not supported");
  const [best, at] = topK([scores], { k, axis: 1, largest: true });
  const shares = normalized
    ? softmax([best!], { axis: 1 })
    : topK([softmax([scores], { axis: 1 })], { k, axis: 1, largest: true })[0]!;
  return sum(np.mul(expandDims(shares, -1), oneHot(at!, experts, scores.type.dtype)), 1);
}

interface Expert {
  /** [experts, out, in] */
  readonly weight: Value;
  /** [experts, out] */
  readonly bias: Value | undefined;
}

const through = (x: Value, { weight, bias }: Expert): Value => {
  const y = matmul(x, swapAxes(asType(weight, x.type.dtype), 1, 2));
  return bias ? np.add(y, expandDims(asType(bias, x.type.dtype), 1)) : y;
};

/** x · σ(αx) · (linear + β), with the two limited. The halves alternate, or stand one after the other. */
function swiglu(c: NodeContext, x: Value, other: Value | undefined): Value {
  const [alpha, beta] = [c.attrs.float("activation_alpha", 1), c.attrs.float("activation_beta", 0)];
  const limit = c.attrs.float("swiglu_limit", Number.POSITIVE_INFINITY);
  const width = x.type.shape[2]!;
  const half = dimFloorDiv(width, 2);
  const fusion = c.attrs.int("swiglu_fusion", 0);
  const [gate, linear] = other
    ? [x, other]
    : fusion === 1
      ? [sliceAxis(x, 2, 0, half, 2), sliceAxis(x, 2, 1, half, 2)]
      : (split(x, 2, [half, half]) as [Value, Value]);
  const limited = Number.isFinite(limit);
  const g = limited ? np.min(gate, limit) : gate;
  const l = limited ? np.min(np.max(linear, -limit), limit) : linear;
  return np.mul(np.mul(g, sigmoid([np.mul(g, alpha)])), np.add(l, beta));
}

function activated(c: NodeContext, x: Value, linear: () => Value | undefined): Value {
  const name = c.attrs.oneOf("activation_type", ["relu", "gelu", "silu", "identity", "swiglu"], "relu");
  if (name === "swiglu") return swiglu(c, x, linear());
  const y = name === "relu" ? act.relu([x]) : name === "gelu" ? fastGelu(x) : name === "silu" ? act.silu([x]) : x;
  const other = linear();
  return other ? np.mul(y, other) : y;
}

function mixture(c: NodeContext, normalized: boolean, expert: (i: number) => Expert | undefined): Value {
  const x = c.input(0);
  const hidden = x.type.shape.at(-1)!;
  const tokens = reshapeTo(x, [productOf(x.type.shape.slice(0, -1)), hidden]);
  const wide = asType(tokens, x.type.dtype === "f64" ? "f64" : "f32");
  const weights = routing(
    c,
    asType(reshapeTo(c.input(1), [tokens.type.shape[0]!, c.input(1).type.shape.at(-1)!]), wide.type.dtype),
    normalized,
  );
  const [first, second, third] = [expert(0), expert(1), expert(2)];
  if (!first || !second) throw c.error("the weights of the experts are missing");
  // [experts, tokens, …]
  const all = expandDims(wide, 0);
  const inner = activated(c, through(all, first), () => third && through(all, third));
  const given = through(inner, second);
  const y = sum(np.mul(given, expandDims(swapAxes(weights, 0, 1), -1)), 0);
  return asType(reshapeTo(y, x.type.shape), x.type.dtype);
}

const moe: ImportOp = (c) =>
  mixture(c, c.attrs.flag("normalize_routing_weights", false), (i) => {
    const weight = c.optional(2 + 2 * i);
    return weight && { weight, bias: c.optional(3 + 2 * i) };
  });

/** Weights of bytes [experts, out, in · bits / 8] with scales [experts, out] or [experts, out, blocks]. */
const qMoe: ImportOp = (c) => {
  const bits = c.attrs.int("expert_weight_bits", 4);
  if (bits !== 4 && bits !== 8) throw c.error(`weights of ${bits} bits are not supported (4 or 8)`);
  // ONNX Runtime's kernel normalises the weights whatever normalize_routing_weights says.
  return mixture(c, true, (i) => {
    const packed = c.optional(2 + 3 * i);
    if (!packed) return undefined;
    if (rankOf(packed) !== 3)
      throw c.error(`the weights of its experts should have 3 axes, but are ${typeText(packed.type)}`);
    const fields = asType(unpackedFields(packed, bits), "f32");
    const scales = asType(c.input(3 + 3 * i), "f32");
    const zeros = c.optional(11 + i);
    const [experts, rows, width] = fields.type.shape as [Dim, Dim, Dim];
    const blocks = rankOf(scales) === 3 ? scales.type.shape[2]! : 1;
    const apart = reshapeTo(fields, [experts, rows, blocks, dimFloorDiv(width, blocks)]);
    const shift = zeros
      ? asType(
          reshapeTo(
            sliceAxis(unpackedFields(zeros, bits), rankOf(zeros) - 1, 0, rankOf(scales) === 3 ? blocks : rows),
            [experts, rows, blocks, 1],
          ),
          "f32",
        )
      : 2 ** (bits - 1);
    const values = np.mul(np.sub(apart, shift), reshapeTo(scales, [experts, rows, blocks, 1]));
    return { weight: reshapeTo(values, fields.type.shape), bias: c.optional(4 + 3 * i) };
  });
};

export const moeRows: Readonly<Record<string, OpRow>> = { MoE: moe, QMoE: qMoe };
