/**
 * Steps that grow graphs of elementwise ops, reductions and movements over one dtype or two. Values are small whole numbers, so
 * that sums are exact in any order; where a function of floats comes in, its results are known to within a bound.
 */

import { ifOp, scanOp } from "../../ir/control-build.js";
import { type Dim, dimBounds, dimMul, dimSub, dimSymbol } from "../../ir/dim.js";
import type { DType } from "../../ir/dtype.js";
import { type Attrs, type GraphNode, param, type Shape, sameShape, sameType, type Value } from "../../ir/graph.js";
import { makeNode } from "../../ir/op.js";
import { cast } from "../../ir/ops/cast.js";
import { constant, full, iota } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { ops } from "../../ir/ops/index.js";
import { gather } from "../../ir/ops/indexing.js";
import { gt } from "../../ir/ops/logic.js";
import { broadcast, concat, pad, productOf, reshape, slice, transpose } from "../../ir/ops/movement.js";
import { tensorFrom } from "../../ir/tensor.js";
import { type Random, seeded } from "../graph/random.js";

export interface Known {
  readonly value: Value;
  /** Of the magnitude. */
  readonly bound: number;
  /** Largest error of a correct kernel: 0 where every step is exact. */
  readonly reach: number;
}

/** Sizes that the run knows: at least 1, or at least 0. */
const symbolsFrom = (min: number) => [dimSymbol("n", { min, max: 70 }), dimSymbol("m", { min, max: 300 })] as const;

/** Whole numbers up to here are exact. */
const exactUpTo = (dtype: DType): number => (dtype === "f16" ? 2 ** 11 : dtype === "bf16" ? 2 ** 8 : 2 ** 20);
const narrowInts: Readonly<Partial<Record<DType, number>>> = { i8: 128, i16: 2 ** 15 };
const dtypes: readonly DType[] = ["f32", "f32", "f32", "f32", "i32", "i32", "f64", "i8", "f16", "bf16", "i16", "i64"];

const apply = (name: string, operands: readonly Value[], attrs: Attrs = {}): Value =>
  (makeNode(ops.get(name)!, operands, attrs) as unknown as GraphNode).results[0]!;

export interface GrowthOptions {
  /** Whether axes have sizes that only the run knows. */
  readonly symbolic: boolean;
  /** Whether those may be 0. */
  readonly empty?: boolean;
  /** Concatenations and paddings too. */
  readonly writers: boolean;
  /** Branches and scans too. */
  readonly control?: boolean;
  /** Products by matrices too. */
  readonly products?: boolean;
}

/** Products of symbolic sizes could be larger than what compiling allows a run to need. */
const mostElements = 2 ** 22;

/** Values so far, and the steps that add to them. */
export class Growth {
  readonly known: Known[] = [];
  readonly params: Value[] = [];
  random: Random;
  readonly #options: GrowthOptions;

  constructor(seed: number, options: GrowthOptions) {
    this.random = seeded(seed);
    this.#options = options;
    const dtype = this.pick(dtypes);
    const named = symbolsFrom(options.empty ? 0 : 1);
    const sizes: readonly Dim[] = options.symbolic ? [...named, 1, 2, 3, 4, 6] : [1, 2, 3, 4, 5, 6, 8, 17, 40];
    const shape: Dim[] = [];
    for (let rank = 1 + this.below(4); rank > 0; rank--) {
      shape.push(this.pick(sizes.filter((d) => typeof d === "number" || !shape.includes(d))));
    }
    const parts = [shape, shape, shape.slice(1), shape.slice(0, -1), shape.map((d) => (this.chance(0.5) ? 1 : d)), []];
    for (const part of parts.slice(0, 2 + this.below(parts.length - 1))) this.#param(dtype, part);
  }

  below(k: number): number {
    return Math.floor(this.random() * k);
  }
  chance(p: number): boolean {
    return this.random() < p;
  }
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  #param(dtype: DType, shape: Shape): void {
    const value = param(`x${this.params.length}`, { dtype, shape });
    this.params.push(value);
    this.known.push({ value, bound: 4, reach: 0 });
  }

  any(accept: (k: Known) => boolean = () => true): Known | undefined {
    const fit = this.known.filter(accept);
    return this.chance(0.5) ? fit.at(-1) : fit[this.below(fit.length)];
  }

  step(seed: number): void {
    this.random = seeded(seed);
    const kinds = [
      this.#unary,
      this.#binary,
      this.#binary,
      this.#binary,
      this.#reduce,
      this.#reduce,
      this.#move,
      this.#move,
      this.#cast,
      this.#source,
      ...(this.#options.writers ? [this.#write] : []),
      ...(this.#options.control ? [this.#control] : []),
      ...(this.#options.products ? [this.#product] : []),
    ];
    const made = this.pick(kinds).call(this);
    if (made === undefined) return;
    const { dtype, shape } = made.value.type;
    // Narrow integers wrap, which is exact, but their bound is that of the type.
    const bound = Math.min(made.bound, narrowInts[dtype] ?? Infinity);
    const fits = shape.length <= 5 && dimBounds(productOf(shape)).max <= mostElements;
    if (fits && bound <= exactUpTo(dtype)) this.known.push({ ...made, bound });
  }

  #unary(): Known | undefined {
    const x = this.any();
    if (x === undefined) return undefined;
    const { dtype } = x.value.type;
    const isFloat = dtype === "f32" || dtype === "f64";
    if (isFloat && this.chance(0.4)) {
      const value = apply(this.pick(["tanh", "sigmoid", "sin"]), [x.value]);
      return { value, bound: 1, reach: x.reach + 1e-5 };
    }
    const name = this.pick(["neg", "abs"]);
    return { value: apply(name, [x.value]), bound: x.bound, reach: x.reach };
  }

  /** The value over a shape that has its axes in order, or at its ranks' end; undefined where it has not. */
  #spread(x: Value, shape: Shape): Value | undefined {
    const own = x.type.shape;
    if (sameShape(own, shape)) return x;
    const axes: number[] = [];
    let from = 0;
    for (const [i, d] of own.entries()) {
      const last = shape.length - (own.length - i);
      let at = from;
      const matches = (k: number) => shape[k] === d || d === 1 || sameShape([shape[k]!], [d]);
      while (at <= last && !matches(at)) at++;
      if (at > last) return undefined;
      // Now and then a later axis that fits as well.
      while (at < last && matches(at + 1) && this.chance(0.3)) at++;
      axes.push(at);
      from = at + 1;
    }
    return broadcast([x], { shape, axes });
  }

  #binary(): Known | undefined {
    const a = this.any();
    if (a === undefined) return undefined;
    const b = this.any((k) => k.value.type.dtype === a.value.type.dtype) ?? a;
    const shape = a.value.type.shape;
    const other = this.chance(0.1)
      ? full(a.value.type.dtype, shape, a.value.type.dtype.startsWith("f") ? 3 : 3n)
      : this.#spread(b.value, shape);
    if (other === undefined) return undefined;
    const y = { value: other, bound: Math.max(b.bound, 3), reach: b.reach };
    const pair = this.chance(0.5) ? [a, y] : [y, a];
    const operands = pair.map((k) => k.value);
    const name = this.pick(["add", "sub", "mul", "min", "max"] as const);
    const value = apply(name, operands);
    switch (name) {
      case "add":
      case "sub":
        return { value, bound: a.bound + y.bound, reach: a.reach + y.reach + this.#rounding(a, y) };
      case "mul": {
        const bound = a.bound * y.bound;
        return {
          value,
          bound,
          reach: a.reach * y.bound + a.bound * y.reach + (this.#rounding(a, y) > 0 ? bound * 1e-6 : 0),
        };
      }
      default:
        return { value, bound: Math.max(a.bound, y.bound), reach: Math.max(a.reach, y.reach) };
    }
  }

  #rounding(a: Known, b: Known): number {
    return a.reach + b.reach > 0 ? (a.bound + b.bound) * 1e-6 : 0;
  }

  #reduce(): Known | undefined {
    const x = this.any((k) => k.value.type.shape.length > 0);
    if (x === undefined) return undefined;
    const { shape } = x.value.type;
    const axes = this.chance(0.4) ? [shape.length - 1] : [...shape.keys()].filter(() => this.chance(0.5));
    const mayBeEmpty = axes.some((a) => dimBounds(shape[a]!).min === 0);
    const name = mayBeEmpty ? "sum" : this.pick(["sum", "sum", "reduceMax", "reduceMin"] as const);
    const value = apply(name, [x.value], { axes, keepDims: this.chance(0.5) });
    if (name !== "sum") return { value, bound: x.bound, reach: x.reach };
    const count = axes.reduce((p, a) => p * (typeof shape[a] === "number" ? shape[a] : 300), 1);
    const bound = x.bound * count;
    return { value, bound, reach: x.reach > 0 ? x.reach * count + bound * 1e-6 : 0 };
  }

  #cast(): Known | undefined {
    const x = this.any((k) => k.reach === 0);
    if (x === undefined) return undefined;
    const { dtype } = x.value.type;
    const to = this.pick<DType>(dtype in narrowInts ? ["i32", "f32"] : ["f32", "i32", "f64", "i64", "f16"]);
    return to === dtype ? undefined : { value: cast([x.value], { to }), bound: x.bound, reach: 0 };
  }

  #source(): Known | undefined {
    const like = this.any((k) => k.value.type.shape.length > 0);
    if (like === undefined) return undefined;
    const { dtype, shape } = like.value.type;
    const axis = this.below(shape.length);
    if (this.chance(0.5)) {
      const bound = typeof shape[axis] === "number" ? shape[axis] : 300;
      return bound > 127 ? undefined : { value: iota([], { dtype, shape, axis }), bound, reach: 0 };
    }
    const d = shape[axis]!;
    if (typeof d !== "number" || d > 64) return undefined;
    const row = constant([], {
      value: tensorFrom(
        dtype,
        [d],
        Array.from({ length: d }, () => this.below(7) - 3),
      ),
    });
    return { value: broadcast([row], { shape, axes: [axis] }), bound: 3, reach: 0 };
  }

  #move(): Known | undefined {
    const x = this.any((k) => k.value.type.shape.length > 0);
    if (x === undefined) return undefined;
    const value = this.#moved(x.value);
    return value && { ...x, value };
  }

  #moved(x: Value): Value | undefined {
    const { shape } = x.type;
    switch (this.below(6)) {
      case 0: {
        const perm = [...shape.keys()];
        for (let i = perm.length - 1; i > 0; i--) {
          const j = this.below(i + 1);
          [perm[i], perm[j]] = [perm[j]!, perm[i]!];
        }
        return transpose([x], { perm });
      }
      case 1:
      case 2:
        return reshape([x], { shape: this.#reshaped(shape) });
      case 3: {
        const axis = this.below(shape.length);
        const d = shape[axis]!;
        if (typeof d !== "number" || d === 0 || d > 64) return undefined;
        const count = 1 + this.below(d + 2);
        const list = this.chance(0.6)
          ? Array.from({ length: d }, (_, i) => d - 1 - i)
          : Array.from({ length: count }, () => this.below(d));
        const indices = constant([], { value: tensorFrom("i64", [list.length], list) });
        return gather([x, indices], { axis });
      }
      default: {
        const cuts = shape.map((d) => this.#cut(d));
        return slice([x], {
          starts: cuts.map((c) => c.start),
          sizes: cuts.map((c) => c.size),
          steps: cuts.map((c) => c.step),
        });
      }
    }
  }

  /** Neighbours joined, whole numbers split. */
  #reshaped(shape: Shape): Shape {
    const joined: Dim[] = [];
    for (const d of shape) {
      if (joined.length > 0 && this.chance(0.5)) joined.push(dimMul(joined.pop()!, d));
      else joined.push(d);
    }
    return joined.flatMap((d): Dim[] => {
      if (this.chance(0.1)) return [d, 1];
      if (typeof d !== "number" || this.chance(0.3)) return [d];
      const divisors = [2, 3, 4, 5, 6].filter((k) => d > k && d % k === 0);
      if (divisors.length === 0) return [d];
      const by = this.pick(divisors);
      return this.chance(0.5) ? [by, d / by] : [d / by, by];
    });
  }

  #cut(d: Dim): { readonly start: Dim; readonly size: Dim; readonly step: number } {
    if (this.chance(0.4)) return { start: 0, size: d, step: 1 };
    if (this.chance(0.5) || typeof d !== "number") return { start: dimSub(d, 1), size: d, step: -1 };
    const step = this.pick([1, 1, 2, -1, -2]);
    const start = this.below(d);
    const most = step > 0 ? Math.ceil((d - start) / step) : Math.floor(start / -step) + 1;
    return { start, size: 1 + this.below(most), step };
  }

  /** What one branch or a few rounds make of values from outside. */
  #control(): Known | undefined {
    const x = this.any();
    if (x === undefined) return undefined;
    const y = this.any((k) => sameType(k.value.type, x.value.type)) ?? x;
    const reach = Math.max(x.reach, y.reach);
    const bound = Math.max(x.bound, y.bound);
    if (this.chance(0.5)) {
      const sample = this.any((k) => k.value.type.shape.length === 0 && k.reach === 0) ?? this.known[0]!;
      const least = apply("reduceMin", [sample.value], { axes: [...sample.value.type.shape.keys()], keepDims: false });
      const isPositive = gt([least, full(least.type.dtype, [], least.type.dtype.startsWith("f") ? 0 : 0n)]);
      // A value that the branches tell apart must be exact.
      if (sample.reach > 0) return undefined;
      const made = ifOp(
        isPositive,
        () => [this.chance(0.5) ? x.value : apply("neg", [y.value])],
        () => [this.chance(0.5) ? y.value : apply("add", [x.value, y.value])],
      );
      return { value: made[0]!, bound: x.bound + y.bound, reach: x.reach + y.reach };
    }
    // Two carried values that change places.
    const made = scanOp({ carried: [x.value, y.value], length: this.pick([1, 2, 3]) }, ([a, b]) => ({
      carried: this.chance(0.5) ? [b!, a!] : [b!, apply("max", [a!, b!])],
      scanned: this.chance(0.5) ? [a!] : [],
    }));
    return { value: this.pick([...made.carried, ...made.scanned]), bound, reach };
  }

  /** By a constant matrix, or by a value that has the axis. */
  #product(): Known | undefined {
    const isComputed = (k: Known) =>
      k.value.type.shape.length > 0 && ["f32", "f64", "i32"].includes(k.value.type.dtype);
    const x = this.any(isComputed);
    if (x === undefined) return undefined;
    const { dtype, shape } = x.value.type;
    const d = shape.at(-1)!;
    const other = this.any((k) => k.value.type.dtype === dtype && k.value.type.shape.includes(d));
    const count = typeof d === "number" ? d : 300;
    if (other !== undefined && this.chance(0.4)) {
      const axis = other.value.type.shape.indexOf(d);
      const attrs = { batchA: [], batchB: [], contractA: [shape.length - 1], contractB: [axis] };
      const bound = x.bound * other.bound * count;
      const reach = (x.reach * other.bound + x.bound * other.reach) * count;
      const rounding = reach > 0 ? bound * 1e-6 : 0;
      return { value: dotGeneral([x.value, other.value], attrs), bound, reach: reach + rounding };
    }
    if (typeof d !== "number") return undefined;
    const columns = this.pick([1, 3, 8]);
    const entries = Array.from({ length: d * columns }, () => this.below(5) - 2);
    const w = constant([], { value: tensorFrom(dtype, [d, columns], entries) });
    const bound = x.bound * 2 * d;
    const attrs = { batchA: [], batchB: [], contractA: [shape.length - 1], contractB: [0] };
    return { value: dotGeneral([x.value, w], attrs), bound, reach: x.reach > 0 ? x.reach * 2 * d + bound * 1e-6 : 0 };
  }

  #write(): Known | undefined {
    const x = this.any((k) => k.value.type.shape.length > 0);
    if (x === undefined) return undefined;
    const { shape, dtype } = x.value.type;
    const axis = this.below(shape.length);
    if (this.chance(0.5)) {
      const grown = (k: number) => shape.map((_, a) => (a === axis ? k : 0));
      const value = pad([x.value], {
        low: grown(this.below(3)),
        high: grown(this.below(3)),
        interior: grown(0),
        value: 1,
      });
      return { ...x, value };
    }
    const y = this.any((k) => k.value.type.dtype === dtype && sameShape(k.value.type.shape, shape)) ?? x;
    const value = concat([x.value, y.value], { axis });
    return { value, bound: Math.max(x.bound, y.bound), reach: Math.max(x.reach, y.reach) };
  }
}
