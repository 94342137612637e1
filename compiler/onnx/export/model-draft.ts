/** What all graphs of one exported model share: initializers, the opset that is needed, what went wrong. */

import type { DType } from "../../../ir/dtype.js";
import type { Problem } from "../../../ir/errors.js";
import { bytesOf, sameTensor, type Tensor } from "../../../ir/tensor.js";
import { opsOf } from "../schema.js";
import type { Ref } from "./draft.js";

/** Rows are written for the op definitions of this opset; older ones can't be asked for. */
export const OLDEST_TARGET = 18;
/** What is written where the graph needs nothing newer: has Gelu, and every current runtime loads it. */
export const DEFAULT_TARGET = 20;

const VERSIONS: ReadonlyMap<string, readonly number[]> = new Map(opsOf(""));

/** The opset that brought element types that are newer than the oldest target. */
const TYPES_SINCE: { readonly [D in DType]?: number } = {
  f8e4m3fn: 19,
  f8e4m3fnuz: 19,
  f8e5m2: 19,
  f8e5m2fnuz: 19,
  i4: 21,
  u4: 21,
  f4e2m1: 23,
  f8e8m0: 24,
  i2: 25,
  u2: 25,
};

export class ModelDraft {
  /** Named constants: weights. */
  readonly initializers = new Map<Ref, Tensor>();
  /** Other constants: these become nodes, so that a reader can tell weights from settings. */
  readonly constants = new Map<Ref, Tensor>();
  readonly problems: Problem[] = [];
  /** Names of `weights` that were asked for. */
  readonly replaced = new Set<string>();
  readonly #asked: number | undefined;
  readonly #weights: ReadonlyMap<string, Tensor>;
  readonly #reserved: ReadonlySet<string>;
  readonly #byContent = new Map<string, { readonly tensor: Tensor; readonly ref: Ref }[]>();
  readonly #named = new Map<string, { readonly tensor: Tensor; readonly ref: Ref }>();
  #opset: number;
  #reported = new Set<string>();

  /** `weights` replaces the values of named constants; `reserved`: names that constants may not bear. */
  constructor(asked: number | undefined, weights: ReadonlyMap<string, Tensor>, reserved: ReadonlySet<string>) {
    this.#asked = asked;
    this.#weights = weights;
    this.#reserved = reserved;
    this.#opset = asked ?? DEFAULT_TARGET;
  }

  get opset(): number {
    return this.#opset;
  }

  /** Whether ops of this opset may be used where older ones would do as well. */
  allows(opset: number): boolean {
    return this.#opset >= opset;
  }

  /** Raises the opset; where the caller asked for an older one, that is a problem of `what`. */
  need(opset: number, what: string, where: string | undefined): void {
    if (opset <= this.#opset) return;
    if (this.#asked === undefined) {
      this.#opset = opset;
      return;
    }
    const key = `${what} ${where}`;
    if (this.#reported.has(key)) return;
    this.#reported.add(key);
    this.problems.push({
      where,
      message: `${what} needs opset ${opset}, but opset ${this.#asked} was asked for`,
      hint: "leave the option opset out, or raise it",
    });
  }

  needOp(op: string, where: string | undefined): void {
    this.need(VERSIONS.get(op)?.[0] ?? 1, `the op ${op}`, where);
  }

  needType(dtype: DType, op: string, where: string | undefined): void {
    const since = TYPES_SINCE[dtype];
    if (since !== undefined) this.need(since, `the element type ${dtype}`, where);
    // Opset 22 brought bf16 to all ops that it changed.
    if (dtype === "bf16" && VERSIONS.get(op)?.includes(22)) this.need(22, `${op} of bf16`, where);
  }

  /** The value to write for a weight. */
  weight(name: string, given: Tensor): Tensor {
    const other = this.#weights.get(name);
    if (!other) return given;
    this.replaced.add(name);
    const same = other.dtype === given.dtype && String(other.shape) === String(given.shape);
    if (!same)
      this.problems.push({
        where: name,
        message: `its new value is ${other.dtype}[${other.shape}], but the weight is ${given.dtype}[${given.shape}]`,
      });
    return same ? other : given;
  }

  /** A constant. Those without a name are shared by equal content. */
  constant(given: Tensor, name?: string): Ref {
    const tensor = name === undefined ? given : this.weight(name, given);
    const known = name === undefined ? undefined : this.#named.get(name);
    if (known && sameTensor(known.tensor, tensor)) return known.ref;
    const key = `${tensor.dtype}[${tensor.shape}]${hashOf(bytesOf(tensor))}`;
    const bucket = this.#byContent.get(key) ?? [];
    const same = name === undefined ? bucket.find((e) => sameTensor(e.tensor, tensor)) : undefined;
    if (same) return same.ref;
    const free = name !== undefined && !known && !this.#reserved.has(name);
    const ref: Ref = free ? { hint: name, fixed: name } : { hint: name ?? "constant" };
    (name === undefined ? this.constants : this.initializers).set(ref, tensor);
    const entry = { tensor, ref };
    if (name === undefined) this.#byContent.set(key, [...bucket, entry]);
    else if (!known) this.#named.set(name, entry);
    return ref;
  }
}

function hashOf(bytes: Uint8Array): number {
  const step = Math.max(1, Math.floor(bytes.length / 4096));
  let h = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i += step) h = Math.imul(h ^ bytes[i]!, 0x01000193);
  return h >>> 0;
}
