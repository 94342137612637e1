/** What feeds decide of a program: facts about the model's inputs, as a set that grows while a model is imported. */

import { isBig } from "../../ir/dtype.js";
import { ModelError, type Need, type Problem } from "../../ir/errors.js";
import { elementCount, type Tensor, zeros } from "../../ir/tensor.js";
import type { FixedFact, FixedTensor } from "../../runtime/format.js";
import type { ImportOptions } from "../onnx/inputs.js";
import type { OnnxDim } from "../onnx/model.js";
import type { SizeNeed } from "../onnx/needs.js";
import type { FlatFeeds } from "./feeds.js";

type SizeFact = Extract<FixedFact, { what: "size" }>;

/** Larger inputs are data: a program that is compiled for their values is of no use for others. */
export const MAX_FIXED_ELEMENTS = 1 << 16;

export function fixedTensor({ dtype, shape, data }: Tensor): FixedTensor {
  const text = (x: number | bigint): number | string =>
    typeof x === "bigint"
      ? Number.isSafeInteger(Number(x))
        ? Number(x)
        : String(x)
      : Number.isFinite(x) && !Object.is(x, -0)
        ? x
        : Object.is(x, -0)
          ? "-0"
          : String(x);
  return { dtype, shape: [...shape], data: Array.from(data as ArrayLike<number | bigint>, text) };
}

function tensorOf({ dtype, shape, data }: FixedTensor): Tensor {
  const made = zeros(dtype, shape);
  const elements = made.data as { [i: number]: number | bigint };
  data.forEach((x, i) => {
    elements[i] = isBig(dtype) ? BigInt(x) : Number(x);
  });
  return made;
}

function sameValue(fact: FixedTensor, given: Tensor | undefined): boolean {
  if (given?.dtype !== fact.dtype || given.data.length !== fact.data.length) return false;
  if (given.shape.length !== fact.shape.length || given.shape.some((d, i) => d !== fact.shape[i])) return false;
  const own = tensorOf(fact).data;
  return own.every((x: number | bigint, i: number) => Object.is(x, given.data[i]));
}

/** Whether the fact is true of the feeds. */
export function holds(fact: FixedFact, feeds: FlatFeeds): boolean {
  const tensor = feeds.tensors.get(fact.input);
  switch (fact.what) {
    case "rank":
      return tensor?.shape.length === fact.value;
    case "size": {
      const size = tensor?.shape[fact.axis];
      const [least, most] = typeof fact.value === "number" ? [fact.value, fact.value] : fact.value;
      return size !== undefined && size >= least && size <= (most ?? Number.POSITIVE_INFINITY);
    }
    case "value":
      return sameValue(fact.value, tensor);
    case "length":
      return feeds.lengths.get(fact.input) === fact.value;
    case "present":
      return feeds.present(fact.input) === fact.value;
    default:
      return fact satisfies never;
  }
}

const placeOf = (fact: { readonly input: string; readonly what: string; readonly axis?: number }): string =>
  JSON.stringify([fact.input, fact.what, fact.axis ?? -1]);

export class Facts {
  private readonly feeds: FlatFeeds;
  private readonly found = new Map<string, FixedFact>();
  /** Places of facts that may not be needed, and what was there before. */
  private readonly guesses = new Map<string, FixedFact | undefined>();
  /** Inputs whose values are needed but too large to be fixed. */
  readonly tooLarge = new Set<string>();

  constructor(feeds: FlatFeeds) {
    this.feeds = feeds;
    // Sizes are taken to be at least 1, which most models need; these feeds say otherwise.
    for (const { input, axis, dim } of feeds.emptyAxes) this.set({ input, what: "size", axis, dim, value: [0, null] });
    for (const name of feeds.overridden) this.set({ input: name, what: "present", value: true });
  }

  /** Those that leave something out. */
  get list(): readonly FixedFact[] {
    const isAny = (f: FixedFact) =>
      f.what === "size" && typeof f.value !== "number" && f.value[0] === 0 && f.value[1] === null;
    return [...this.found.values()].filter((f) => !isAny(f));
  }

  private set(fact: FixedFact): void {
    this.found.set(placeOf(fact), fact);
    this.guesses.delete(placeOf(fact));
  }

  /**
   * Fixes what problems need; else the sizes that they may be about; else, where that did not help, what decides whether their place
   * is reached at all. False if there is nothing more to fix.
   */
  resolve(problems: readonly Problem[]): boolean {
    if (this.answerAll(problems.flatMap((p) => p.needs ?? []))) return true;
    if (this.guess(problems.flatMap((p) => p.sizes ?? []))) return true;
    for (const [place, before] of this.guesses)
      if (before) this.found.set(place, before);
      else this.found.delete(place);
    this.guesses.clear();
    return this.answerAll(problems.flatMap((p) => p.unless ?? []));
  }

  /** Whether one of the answers fixes something that was open. */
  answerAll(needs: readonly Need[]): boolean {
    return needs.map((need) => this.answer(need)).some((fixed) => fixed);
  }

  private guess(sizes: readonly Need[]): boolean {
    const before = new Map(sizes.map((need) => [placeOf(need), this.found.get(placeOf(need))]));
    const fixed = sizes.filter((need) => this.answer(need));
    for (const need of fixed) this.guesses.set(placeOf(need), before.get(placeOf(need)));
    return fixed.length > 0;
  }

  private isAnswerable(need: Need): boolean {
    const tensor = this.feeds.tensors.get(need.input);
    if (need.what === "value") return tensor !== undefined && elementCount(tensor.shape) <= MAX_FIXED_ELEMENTS;
    return tensor !== undefined || need.what === "present" || need.what === "length";
  }

  /** Answers a need from the feeds; whether that fixes something that was open. */
  answer(need: Need): boolean {
    const known = this.found.get(placeOf(need));
    if (known && !(known.what === "size" && typeof known.value !== "number")) return false;
    const { input } = need;
    const tensor = this.feeds.tensors.get(input);
    switch (need.what) {
      case "present":
        this.set({ input, what: "present", value: this.feeds.present(input) });
        return true;
      case "length": {
        const length = this.feeds.lengths.get(input);
        if (length !== undefined) this.set({ input, what: "length", value: length });
        return length !== undefined;
      }
      case "rank":
        if (tensor) this.set({ input, what: "rank", value: tensor.shape.length });
        return tensor !== undefined;
      case "size": {
        const size = tensor?.shape[need.axis];
        if (size !== undefined) this.set({ input, what: "size", axis: need.axis, dim: need.dim, value: size });
        return size !== undefined;
      }
      case "value":
        if (!tensor) return false;
        if (elementCount(tensor.shape) > MAX_FIXED_ELEMENTS) {
          this.tooLarge.add(input);
          return false;
        }
        this.set({ input, what: "value", value: fixedTensor(tensor) });
        return true;
      default:
        return need satisfies never;
    }
  }

  /** Fixes a size to the given range where it lies in that, else to what it is. */
  narrow({ input, axis, dim }: SizeNeed, range: readonly [number, number]): number | readonly [number, number] {
    const size = this.feeds.tensors.get(input)?.shape[axis];
    if (size === undefined) return range;
    const wide = range[0] < range[1] && size >= range[0] && size <= range[1];
    const value = wide ? ([range[0], Number.isFinite(range[1]) ? range[1] : null] as const) : size;
    this.set({ input, what: "size", axis, dim, value });
    return wide ? range : size;
  }

  /** The options of an import that takes the facts for given, over those of the caller. */
  importOptions(options: ImportOptions): ImportOptions {
    const dims: Record<string, number | readonly [number, number]> = {};
    const values: Record<string, Tensor> = {};
    const structures: Record<string, number | boolean> = {};
    const shapes: Record<string, readonly OnnxDim[]> = Object.fromEntries(this.feeds.shapes);
    for (const fact of this.found.values()) {
      if (fact.what === "rank") shapes[fact.input] = Array<null>(fact.value).fill(null);
      else if (fact.what === "size") dims[fact.dim] = rangeOf(fact);
      else if (fact.what === "value") values[fact.input] = tensorOf(fact.value);
      else structures[fact.input] = fact.what === "present" ? (structures[fact.input] ?? fact.value) : fact.value;
    }
    return {
      ...options,
      dims: { ...dims, ...options.dims },
      values: { ...values, ...options.values },
      structures: { ...structures, ...options.structures },
      shapes: { ...shapes, ...options.shapes },
      overrides: [...this.feeds.overridden, ...(options.overrides ?? [])],
      feeds: {
        sizeOf: ({ input, axis }) => this.feeds.tensors.get(input)?.shape[axis],
        canAnswer: (needs) => needs.length > 0 && needs.every((need) => this.isAnswerable(need)),
        narrow: (size, range) => this.narrow(size, range),
      },
    };
  }
}

function rangeOf({ value }: SizeFact): number | readonly [number, number] {
  return typeof value === "number" ? value : [value[0], value[1] ?? Number.POSITIVE_INFINITY];
}

const MOST_ELEMENTS = 8;

/** The fact as a line of text. */
export function factText(fact: FixedFact): string {
  switch (fact.what) {
    case "rank":
      return `${fact.input} has ${fact.value} axes`;
    case "size": {
      const [least, most] = typeof fact.value === "number" ? [fact.value, fact.value] : fact.value;
      const size = least === most ? String(least) : `${least}..${most ?? "∞"}`;
      return `axis ${fact.axis} of ${fact.input} (${fact.dim}) is ${size}`;
    }
    case "value": {
      const { dtype, shape, data } = fact.value;
      const elements = data.slice(0, MOST_ELEMENTS).join(", ");
      return `${fact.input} is ${dtype}[${shape}] {${elements}${data.length > MOST_ELEMENTS ? ", …" : ""}}`;
    }
    case "length":
      return `${fact.input} has ${fact.value} items`;
    case "present":
      return `${fact.input} is ${fact.value ? "given" : "absent"}`;
    default:
      return fact satisfies never;
  }
}

/** An error that adds why the feeds could not help. */
export function withTooLarge(error: ModelError, tooLarge: ReadonlySet<string>): ModelError {
  if (tooLarge.size === 0) return error;
  const names = [...tooLarge].map((n) => JSON.stringify(n)).join(", ");
  return new ModelError([
    ...error.problems,
    {
      where: `input ${names}`,
      message: `its values decide what the program is, and it has more than ${MAX_FIXED_ELEMENTS} elements`,
      hint: "programs are not compiled for the values of such data; split the model where they decide",
    },
  ]);
}
