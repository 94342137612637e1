/** What is known of a tensor: of every element, and of each one of a small tensor. */

import type { DType } from "../../ir/dtype.js";
import { isStaticShape, type Value } from "../../ir/graph.js";
import { element, elementCount, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { type Fact, factOfDType, factOfNumber, hullOf, isSafe } from "./fact.js";

export interface Contents {
  /** Holds of every element. */
  readonly each: Fact;
  /** Of a small tensor: what holds of each element, in row-major order. */
  readonly elements?: readonly Fact[] | undefined;
  /** All of it, where it follows from constants. */
  readonly tensor?: Tensor | undefined;
}

/** Elements of larger values are not told apart: they are data, not shapes. */
export const MOST_ELEMENTS = 4096;
/** Floats are not searched for their range beyond. */
const MOST_FLOATS = 1 << 16;

export const unknownContents = (dtype: DType): Contents => ({ each: factOfDType(dtype) });

class ElementsContents implements Contents {
  readonly elements: readonly Fact[];
  #each: Fact | undefined;

  constructor(elements: readonly Fact[]) {
    this.elements = elements;
  }

  get each(): Fact {
    this.#each ??= hullOf(this.elements);
    return this.#each;
  }
}

export const contentsOfElements = (elements: readonly Fact[]): Contents => new ElementsContents(elements);

class TensorContents implements Contents {
  readonly tensor: Tensor;
  #each: Fact | undefined;
  #elements: readonly Fact[] | undefined;

  constructor(tensor: Tensor) {
    this.tensor = tensor;
  }

  get each(): Fact {
    this.#each ??= rangeOfTensor(this.tensor);
    return this.#each;
  }

  get elements(): readonly Fact[] | undefined {
    const { tensor } = this;
    if (tensor.data.length > MOST_ELEMENTS) return undefined;
    this.#elements ??= Array.from({ length: tensor.data.length }, (_, i) => factOfNumber(element(tensor, i)));
    return this.#elements;
  }
}

const ofTensor = new WeakMap<Tensor, Contents>();

export function contentsOfTensor(t: Tensor): Contents {
  let contents = ofTensor.get(t);
  if (contents === undefined) {
    contents = new TensorContents(t);
    ofTensor.set(t, contents);
  }
  return contents;
}

function rangeOfTensor(t: Tensor): Fact {
  const { length } = t.data;
  if (length === 1) return factOfNumber(element(t, 0));
  if (t.data instanceof Float32Array && length > MOST_FLOATS) return factOfDType(t.dtype);
  const first = length > 0 ? element(t, 0) : 0;
  let whole = true;
  let same = true;
  // From the first element, not from ±∞: where V8 of Node 20 replaces this loop by optimised code in its midst, it takes −∞ for an integer, and the
  // greatest of positive numbers comes out as 0.
  let low = first;
  let high = first;
  for (let i = 0; i < length; i++) {
    const x = element(t, i);
    whole &&= Number.isInteger(x);
    same &&= Object.is(x, first);
    // NaN is in no range.
    if (x < low || Number.isNaN(low)) low = x;
    if (x > high || Number.isNaN(high)) high = x;
  }
  if (same && length > 0) return factOfNumber(first);
  return Number.isNaN(low) ? { low: 0, high: 0, whole } : { low, high, whole };
}

/** Elements of a static shape, if they are few. */
export function fewElements({ type: { shape } }: Value): number | undefined {
  if (!isStaticShape(shape)) return undefined;
  const count = elementCount(shape);
  return count <= MOST_ELEMENTS ? count : undefined;
}

/** The elements of a small value; where they are not told apart, what holds of every one. */
export function elementsOf(v: Value, contents: Contents): readonly Fact[] | undefined {
  const count = fewElements(v);
  if (count === undefined) return undefined;
  return contents.elements ?? new Array<Fact>(count).fill(contents.each);
}

/** The value as a tensor, where every element is known. */
export function tensorOf(v: Value, contents: Contents): Tensor | undefined {
  if (contents.tensor) return contents.tensor;
  const elements = elementsOf(v, contents);
  if (elements === undefined) return undefined;
  const numbers: number[] = [];
  for (const { exact, computed } of elements) {
    if (typeof exact !== "number" || computed !== undefined || !isSafe(exact)) return undefined;
    numbers.push(exact);
  }
  return tensorFrom(v.type.dtype, v.type.shape as readonly number[], numbers);
}
