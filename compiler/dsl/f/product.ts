/** Products of matrices and vectors, distances. */

import * as build from "../../../ir/build.js";
import { isInt } from "../../../ir/dtype.js";
import { linear as affine, einsum as contract, matmul as product } from "../../../ir/einsum.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { normalizeAxis } from "../../../ir/infer.js";
import { type DotAttrs, dotGeneral as general } from "../../../ir/ops/contraction.js";
import { lpNormalize } from "../../../ir/ops/normalize.js";
import { norm } from "./reduce.js";
import { diagonal } from "./shape.js";

const { np, rankOf } = build;

function expectRank(x: Value, rank: number, what: string): Value {
  if (rankOf(x) !== rank) throw new ModelError(`${what} takes rank ${rank}, but got ${typeText(x.type)}`);
  return x;
}

/** Matrix product with numpy's rules: [..., m, k] · [..., k, n] with broadcast leading axes; vectors count as a row or a column. */
export const matmul = (a: Value, b: Value): Value => product(a, b);
/** [m, k] · [k, n]. */
export const mm = (a: Value, b: Value): Value => product(expectRank(a, 2, "mm"), expectRank(b, 2, "mm"));
/** [b, m, k] · [b, k, n]. */
export const bmm = (a: Value, b: Value): Value => product(expectRank(a, 3, "bmm"), expectRank(b, 3, "bmm"));
/** [m, k] · [k]. */
export const mv = (a: Value, b: Value): Value => product(expectRank(a, 2, "mv"), expectRank(b, 1, "mv"));
/** Inner product of vectors. */
export const dot = (a: Value, b: Value): Value => product(expectRank(a, 1, "dot"), expectRank(b, 1, "dot"));
/** Products of all pairs of two vectors. */
export const outer = (a: Value, b: Value): Value =>
  np.mul(build.expandDims(expectRank(a, 1, "outer"), 1), expectRank(b, 1, "outer"));

export interface AddProductOptions {
  /** Of what is added. Default 1. */
  readonly beta?: number;
  /** Of the product. Default 1. */
  readonly alpha?: number;
}
/** beta · x + alpha · (a · b), of matrices. */
export const addmm = (x: Value, a: Value, b: Value, { beta = 1, alpha = 1 }: AddProductOptions = {}): Value =>
  np.add(beta === 1 ? x : np.mul(x, beta), alpha === 1 ? mm(a, b) : np.mul(mm(a, b), alpha));
/** beta · x + alpha · (a · b), of batches of matrices. */
export const baddbmm = (x: Value, a: Value, b: Value, { beta = 1, alpha = 1 }: AddProductOptions = {}): Value =>
  np.add(beta === 1 ? x : np.mul(x, beta), alpha === 1 ? bmm(a, b) : np.mul(bmm(a, b), alpha));

/** Einstein summation: `einsum("bij,bjk->bik", a, b)`, with `...` and diagonals. */
export const einsum = (equation: string, ...operands: readonly Value[]): Value => contract(equation, ...operands);
/** Products summed over paired axes: the last `dims` of a with the first of b, or the axes listed. */
export function tensordot(
  a: Value,
  b: Value,
  dims: number | readonly [a: readonly number[], b: readonly number[]] = 2,
): Value {
  const [axesA, axesB] =
    typeof dims === "number"
      ? [Array.from({ length: dims }, (_, i) => rankOf(a) - dims + i), Array.from({ length: dims }, (_, i) => i)]
      : dims;
  return general([a, b], {
    batchA: [],
    batchB: [],
    contractA: axesA.map((d) => normalizeAxis(d, rankOf(a))),
    contractB: axesB.map((d) => normalizeAxis(d, rankOf(b))),
  });
}
/** The contraction that all products are: see `dotGeneral` of the op reference. */
export const dotGeneral = (a: Value, b: Value, attrs: DotAttrs): Value => general([a, b], attrs);

/** x · weightᵀ + bias over the last axis: x [..., in], weight [out, in], bias [out]. */
export const linear = (x: Value, weight: Value, bias?: Value): Value => affine(x, weight, bias);
/** Σ a[i] · weight[o, i, j] · b[j] + bias: a [..., m], b [..., n], weight [out, m, n]. */
export function bilinear(a: Value, b: Value, weight: Value, bias?: Value): Value {
  const y = contract("...i,oij,...j->...o", a, weight, b);
  return bias === undefined ? y : np.add(y, bias);
}
/** Sum of the diagonal of a matrix, or of each of the last two axes. */
export const trace = (x: Value): Value => build.sum(diagonal(x), -1);

// ----------------------------------------------------------------------------------------------- distances

/** x divided by max(eps, its p-norm along an axis). */
export const normalize = (x: Value, p = 2, dim = 1, eps = 1e-12): Value =>
  lpNormalize([x], { axis: normalizeAxis(dim, rankOf(x)), p, epsilon: eps });
/** a · b / max(eps, |a| · |b|) along an axis. */
export function cosineSimilarity(a: Value, b: Value, dim = 1, eps = 1e-8): Value {
  const length = (v: Value) => np.max(norm(v, 2, dim, true), eps);
  const product = np.mul(np.div(a, length(a)), np.div(b, length(b)));
  return build.sum(product, dim);
}
/** p-norm of a − b + eps over the last axis. */
export const pairwiseDistance = (a: Value, b: Value, p = 2, eps = 1e-6, keepDim = false): Value =>
  norm(np.add(np.sub(a, b), eps), p, -1, keepDim);
/** p-norms of the differences of all pairs of rows: a [..., m, d], b [..., n, d] give [..., m, n]. */
export function cdist(a: Value, b: Value, p = 2): Value {
  if (isInt(build.dtypeOf(a))) throw new ModelError(`distances are of floats, but got ${typeText(a.type)}`);
  return norm(np.sub(build.expandDims(a, -2), build.expandDims(b, -3)), p, -1);
}
