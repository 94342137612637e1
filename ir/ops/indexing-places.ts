/** What gathers and scatters share: checks of indices, and walks over the places they name. */

import { dimMin, dimProduct } from "../dim.js";
import { isFloat } from "../dtype.js";
import { ModelError } from "../errors.js";
import { type TensorType, typeText } from "../graph.js";
import { normalizeAxis, requireAtLeast, requireAtMost, requireDType } from "../infer.js";
import { bigElement, element, elementCount, setElement, stridesOf, type Tensor } from "../tensor.js";

export function requireIndices(t: TensorType): TensorType {
  return requireDType(t, ["i32", "i64"], "indices");
}

export function requireAxis(axis: number, x: TensorType): void {
  if (normalizeAxis(axis, x.shape.length) !== axis || x.shape.length === 0) {
    throw new ModelError(`axis ${axis} of ${typeText(x)}: an axis counted from 0 is needed`);
  }
}

/** The index stored at a place, counted from the front. */
export function indexAt(indices: Tensor, flat: number, size: number): number {
  const given = Number(indices.data[flat]!);
  const index = given < 0 ? given + size : given;
  if (index < 0 || index >= size) {
    throw new ModelError({
      message: `index ${given} is out of range for an axis of ${size}`,
      hint: `indices must lie in [${-size}, ${size - 1}]`,
    });
  }
  return index;
}

/** An axis that indices point into has elements, unless there are no indices. */
export function requireElements(x: TensorType, axis: number, indices: TensorType): void {
  const text = () =>
    `axis ${axis} of ${typeText(x)} must have elements, since indices ${typeText(indices)} point into it`;
  requireAtLeast(x.shape[axis]!, dimMin(dimProduct(indices.shape), 1), text);
}

/** Indices of the rank of x that lie within it on all axes but the indexed one. */
export function requireWithin(x: TensorType, axis: number, indices: TensorType): void {
  if (x.shape.length !== indices.shape.length) {
    throw new ModelError(`${typeText(x)} and indices ${typeText(indices)} must have one rank`);
  }
  indices.shape.forEach((d, a) => {
    const text = () => `axis ${a} of indices ${typeText(indices)} must be no longer than that of ${typeText(x)}`;
    if (a !== axis) requireAtMost(d, x.shape[a]!, text);
  });
}

/** Depth of the index tuples: the static last axis of indices. */
export function tupleSize(indices: TensorType, rank: number): number {
  const k = indices.shape.at(-1);
  if (typeof k !== "number" || k < 0 || k > rank) {
    throw new ModelError(`the last axis of indices ${typeText(indices)} must be a fixed size of at most ${rank}`);
  }
  return k;
}

/** For each index tuple: start of its slice in x, start of the corresponding slice in a tensor of one slice per tuple, slice length. */
export function forEachSlice(
  x: { readonly shape: readonly number[] },
  indices: Tensor,
  batchDims: number,
  visit: (at: number, ordinal: number, inner: number) => void,
): void {
  const k = indices.shape.at(-1)!;
  const strides = stridesOf(x.shape);
  const inner = elementCount(x.shape.slice(batchDims + k));
  const tuples = elementCount(indices.shape.slice(0, -1));
  const perBatch = tuples / Math.max(1, elementCount(indices.shape.slice(0, batchDims)));
  const batchStride = elementCount(x.shape.slice(batchDims));
  for (let t = 0; t < tuples; t++) {
    let at = Math.floor(t / perBatch) * batchStride;
    for (let i = 0; i < k; i++) {
      at += indexAt(indices, t * k + i, x.shape[batchDims + i]!) * strides[batchDims + i]!;
    }
    visit(at, t * inner, inner);
  }
}

export type ScatterReduction = "none" | "add" | "mul" | "min" | "max";

/** Applies an update to an element. */
export function update(out: Tensor, to: number, updates: Tensor, from: number, reduction: ScatterReduction): void {
  if (reduction === "none") {
    out.data[to] = updates.data[from]!;
    return;
  }
  if (isFloat(out.dtype)) setElement(out, to, combine(element(out, to), element(updates, from), reduction));
  else setElement(out, to, combineExact(bigElement(out, to), bigElement(updates, from), reduction));
}

function combine(a: number, b: number, reduction: Exclude<ScatterReduction, "none">): number {
  switch (reduction) {
    case "add":
      return a + b;
    case "mul":
      return a * b;
    case "min":
      return Math.min(a, b);
    case "max":
      return Math.max(a, b);
  }
}

function combineExact(a: bigint, b: bigint, reduction: Exclude<ScatterReduction, "none">): bigint {
  switch (reduction) {
    case "add":
      return a + b;
    case "mul":
      return a * b;
    case "min":
      return a < b ? a : b;
    case "max":
      return a > b ? a : b;
  }
}

export function requireScatter(
  x: TensorType,
  indices: TensorType,
  updates: TensorType,
  reduction: ScatterReduction,
): void {
  requireIndices(indices);
  if (reduction !== "none") requireDType(x, "number", `x with reduction ${reduction}`);
  if (updates.dtype !== x.dtype) {
    throw new ModelError({
      message: `updates ${typeText(updates)} must have the dtype of ${typeText(x)}`,
      hint: "cast them",
    });
  }
}
