/**
 * Where an element of a tensor is, as expressions over loop variables (which are dim symbols of their own). Movement ops only
 * change the place that is asked for; no element is copied for them.
 */

import {
  type Dim,
  dimAdd,
  dimBounds,
  dimEqual,
  dimFloorDiv,
  dimMax,
  dimMod,
  dimMul,
  dimSub,
  dimText,
} from "../../../ir/dim.js";
import type { Shape } from "../../../ir/graph.js";

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): readonly Dim[] {
  const strides: Dim[] = new Array<Dim>(shape.length).fill(1);
  for (let a = shape.length - 2; a >= 0; a--) strides[a] = dimMul(strides[a + 1]!, shape[a + 1]!);
  return strides;
}

export const sizeOf = (shape: Shape): Dim => shape.reduce<Dim>((p, d) => dimMul(p, d), 1);

/** A place in a tensor of some shape: an index for each axis, and the flat row-major index. Both are found when asked for. */
export class Place {
  readonly shape: Shape;
  #index: readonly Dim[] | undefined;
  #flat: Dim | undefined;
  readonly #makeIndex: () => readonly Dim[];
  readonly #makeFlat: () => Dim;

  private constructor(shape: Shape, index: () => readonly Dim[], flat: () => Dim) {
    this.shape = shape;
    this.#makeIndex = index;
    this.#makeFlat = flat;
  }

  static at(shape: Shape, index: readonly Dim[]): Place {
    return new Place(
      shape,
      () => index,
      () => stridesOf(shape).reduce<Dim>((sum, s, a) => dimAdd(sum, dimMul(index[a]!, s)), 0),
    );
  }

  get index(): readonly Dim[] {
    this.#index ??= this.#makeIndex();
    return this.#index;
  }

  get flat(): Dim {
    this.#flat ??= this.#makeFlat();
    return this.#flat;
  }

  get key(): string {
    return this.index.map(dimText).join(",");
  }

  /** The place of the same element in the tensor under another shape. */
  reshaped(shape: Shape): Place {
    return new Place(
      shape,
      () => reshapeIndex(this.shape, this.index, shape),
      () => this.flat,
    );
  }
}

/** Index of an element under `to`, from its index under `from`: axes are matched in groups of equal products. */
function reshapeIndex(from: Shape, index: readonly Dim[], to: Shape): readonly Dim[] {
  const out: Dim[] = to.map(() => 0);
  if (sizeOf(from) === 0) return out;
  const sources = from.map((_, a) => a).filter((a) => from[a] !== 1);
  const targets = to.map((_, a) => a).filter((a) => to[a] !== 1);
  // Equal last axes are one axis; before them, symbolic products may leave open where groups end.
  while (sources.length > 0 && targets.length > 0 && dimEqual(from[sources.at(-1)!]!, to[targets.at(-1)!]!)) {
    out[targets.pop()!] = index[sources.pop()!]!;
  }
  let i = 0;
  let j = 0;
  while (i < sources.length && j < targets.length) {
    const first = i;
    const start = j;
    let p = from[sources[i++]!]!;
    let q = to[targets[j++]!]!;
    while (!dimEqual(p, q)) {
      const { min, max } = dimBounds(dimSub(p, q));
      const moreLeft = i < sources.length;
      const moreRight = j < targets.length;
      if (max < 0 && moreLeft) p = dimMul(p, from[sources[i++]!]!);
      else if (min > 0 && moreRight) q = dimMul(q, to[targets[j++]!]!);
      else {
        // Undecidable: the rest is one group.
        i = sources.length;
        j = targets.length;
        break;
      }
    }
    // Axes beyond the last match belong to the last group.
    if (i === sources.length || j === targets.length) {
      i = sources.length;
      j = targets.length;
    }
    split(
      sources.slice(first, i).reduce<Dim>((flat, a) => dimAdd(dimMul(flat, from[a]!), index[a]!), 0),
      targets.slice(start, j),
      to,
      out,
    );
  }
  return out;
}

function split(flat: Dim, axes: readonly number[], to: Shape, out: Dim[]): void {
  let left = flat;
  for (let k = axes.length - 1; k > 0; k--) {
    const size = positive(to[axes[k]!]!);
    out[axes[k]!] = dimMod(left, size);
    left = dimFloorDiv(left, size);
  }
  if (axes.length > 0) out[axes[0]!] = left;
}

/** A divisor: sizes that may be 0 have no elements to ask for, but their index arithmetic may still be hoisted. */
const positive = (d: Dim): Dim => (dimBounds(d).min >= 1 ? d : dimMax(d, 1));
