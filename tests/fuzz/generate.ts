/**
 * Random graphs. A graph is grown from a list of steps; each step has a seed of its own and works on whatever values there are, so
 * that dropping steps (what shrinking does) leaves the others nearly as they were.
 */

import { ifOp, scanOp } from "../../ir/control-build.js";
import { type Dim, dimAdd, dimMul, dimSub, dimSymbol, evaluateDim } from "../../ir/dim.js";
import { type DType, isFloat, isInt } from "../../ir/dtype.js";
import {
  type Attrs,
  definedSymbols,
  type Graph,
  type GraphNode,
  graph,
  isStaticShape,
  param,
  type Shape,
  sameShape,
  sameType,
  type Value,
} from "../../ir/graph.js";
import { makeNode, type OpFacts } from "../../ir/op.js";
import { bitcast, cast } from "../../ir/ops/cast.js";
import { constant, dimSize, full, iota } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { abs, add, mul, neg } from "../../ir/ops/elementwise.js";
import { ops } from "../../ir/ops/index.js";
import { gt, not, select } from "../../ir/ops/logic.js";
import { broadcast, concat, pad, reshape, slice, transpose } from "../../ir/ops/movement.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { type Random, randomTensor, sampleTensor, seeded } from "../graph/random.js";

export interface RandomGraph {
  readonly graph: Graph;
  readonly feeds: readonly Tensor[];
  /** Feeds of other sizes: drawn anew for parameters whose shapes the sizes decide. */
  readonly feedsAt: (sizes: Sizes, seed: number) => readonly Tensor[];
}

/** Values of the symbols n (from 1) and m (from 0 to 40). */
export type Sizes = Readonly<Record<"n" | "m", number>>;

export interface GrowthOptions {
  /** The share of inner values that are results too. Default 0: only those that nothing reads are. */
  readonly results?: number;
  /** Feeds without infinities, NaN and extremes. */
  readonly mild?: boolean;
}

const n = dimSymbol("n");
const m = dimSymbol("m", { min: 0, max: 40 });
const symbols = [n, m];

const unaryFloat = ["neg", "abs", "sign", "floor", "ceil", "round", "sqrt", "exp", "tanh", "sin", "sigmoid"] as const;
const unaryInt = ["neg", "abs", "sign"] as const;
const binary = ["add", "sub", "mul", "div", "rem", "min", "max", "pow"] as const;
const comparisons = ["eq", "ne", "lt", "le", "gt", "ge"] as const;
const bitwise = ["and", "or", "xor"] as const;
const castable: readonly DType[] = ["f32", "f64", "f16", "bf16", "i8", "u8", "i16", "i32", "u32", "i64", "bool"];
const specials = [0, -0, 1, -1, 2, 0.5, 4, 3, Infinity, -Infinity, Number.NaN, 1e-40, 3e38];

type Step = (this: Growth) => Value | readonly Value[] | undefined;

/** An op by name, on operands that suit it. */
const apply = (name: string, operands: readonly Value[], attrs: Attrs = {}): Value =>
  (makeNode(ops.get(name)!, operands, attrs) as unknown as GraphNode).results[0]!;

class Growth {
  readonly params: Value[] = [];
  readonly feeds: Tensor[] = [];
  readonly values: Value[] = [];
  readonly #sizes: ReadonlyMap<string, number>;
  readonly #mild: boolean;
  readonly #found = new Set<string>();
  readonly #facts: readonly OpFacts<string, Attrs>[];
  random: Random;

  constructor(seed: number, mild: boolean) {
    this.random = seeded(seed);
    this.#mild = mild;
    this.#facts = [...ops.values()];
    this.#sizes = new Map([
      ["n", this.below(4) + 1],
      ["m", this.below(5)],
    ]);
    const types: readonly (readonly [DType, Shape])[] = [
      ["f32", [n, 3]],
      ["f32", [m, 3]],
      ["f32", [3]],
      ["f32", []],
      ["i32", [n, m]],
      ["f64", [2, n]],
      ["f16", [n, 3]],
      ["u8", [4]],
      ["bool", [n, 3]],
      ["i64", [n]],
    ];
    for (const [dtype, shape] of types) this.feed(dtype, shape);
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

  /** A new parameter. Now and then its values are special ones. */
  feed(dtype: DType, shape: Shape, value?: Tensor): Value {
    const t = value ?? this.#drawn(dtype, shape, this.#sizes);
    const p = param(`x${this.params.length}`, { dtype, shape });
    this.params.push(p);
    this.feeds.push(t);
    this.values.push(p);
    return p;
  }

  #drawn(dtype: DType, shape: Shape, symbols: ReadonlyMap<string, number>): Tensor {
    const sizes = shape.map((d) => evaluateDim(d, symbols));
    const t = randomTensor(this.random, dtype, sizes);
    if (isFloat(dtype) && this.chance(0.3) && !this.#mild) {
      const mixed = Array.from({ length: t.data.length }, () => this.pick(specials));
      t.data.set(tensorFrom(dtype, sizes, mixed).data as never);
    }
    return t;
  }

  feedsAt(sizes: Sizes, seed: number): readonly Tensor[] {
    this.random = seeded(seed);
    const symbols = new Map(Object.entries(sizes));
    return this.params.map(({ type }, i) =>
      isStaticShape(type.shape) ? this.feeds[i]! : this.#drawn(type.dtype, type.shape, symbols),
    );
  }

  /** The newest value that fits, often, so that graphs get deep and neighbours meet. */
  any(accept: (v: Value) => boolean = () => true): Value | undefined {
    const fit = this.values.filter(accept);
    return this.chance(0.6) ? fit.at(-1) : fit[this.below(fit.length)];
  }

  /** A value of the type: one there is, a special constant everywhere, a row repeated, or a constant. */
  like({ type }: Value): Value {
    const choice = this.random();
    const same = this.any((v) => sameType(v.type, type));
    if (same !== undefined && choice < 0.3) return same;
    const special = this.pick(isFloat(type.dtype) ? specials : [0, 1, 2, 3]);
    if (choice < 0.85 || !isStaticShape(type.shape)) {
      const last = type.shape.at(-1);
      const row = this.any(
        (v) => v.type.dtype === type.dtype && v.type.shape.length === 1 && sameShape(v.type.shape, [last ?? -1]),
      );
      if (row !== undefined && this.chance(0.3)) {
        return broadcast([row], { shape: type.shape, axes: [type.shape.length - 1] });
      }
      return full(type.dtype, type.shape, isFloat(type.dtype) ? special : BigInt(special));
    }
    return constant([], { value: randomTensor(this.random, type.dtype, type.shape) });
  }

  step(seed: number): void {
    this.random = seeded(seed);
    const kinds: readonly Step[] = [
      this.#unary,
      this.#binary,
      this.#move,
      this.#move,
      this.#join,
      this.#reduce,
      this.#cast,
      this.#logic,
    ];
    const rare: readonly Step[] = [this.#product, this.#region, this.#source, this.#sample, this.#sample, this.#sample];
    const made = (this.chance(0.7) ? this.pick(kinds) : this.pick(rare)).call(this);
    for (const v of Array.isArray(made) ? made : made === undefined ? [] : [made as Value]) {
      if (v.type.shape.length <= 5) this.values.push(v);
    }
  }

  #unary(): Value | undefined {
    const x = this.any((v) => isFloat(v.type.dtype) || isInt(v.type.dtype));
    return x && apply(this.pick(isFloat(x.type.dtype) ? unaryFloat : unaryInt), [x]);
  }

  #binary(): Value | undefined {
    const x = this.any((v) => isFloat(v.type.dtype) || isInt(v.type.dtype));
    if (x === undefined) return undefined;
    const pair = this.chance(0.8) ? [x, this.like(x)] : [this.like(x), x];
    // Powers of large integers take for ever in exact arithmetic.
    const names = isFloat(x.type.dtype) ? binary : binary.slice(0, -1);
    return apply(this.pick(names), pair);
  }

  #logic(): Value | undefined {
    const x = this.any((v) => v.type.dtype === "bool" || isInt(v.type.dtype) || isFloat(v.type.dtype));
    if (x === undefined) return undefined;
    if (this.chance(0.3)) {
      const c = this.any((v) => v.type.dtype === "bool");
      if (c === undefined) return undefined;
      const a = this.any((v) => sameShape(v.type.shape, c.type.shape)) ?? c;
      return select([this.chance(0.3) ? not([c]) : c, a, this.like(a)]);
    }
    if (isFloat(x.type.dtype) || this.chance(0.4)) {
      const name = x.type.dtype === "bool" ? this.pick(["eq", "ne"] as const) : this.pick(comparisons);
      return apply(name, [x, this.like(x)]);
    }
    return this.chance(0.3) ? not([x]) : apply(this.pick(bitwise), [x, this.like(x)]);
  }

  #cast(): Value | undefined {
    const x = this.any();
    if (x === undefined) return undefined;
    return this.chance(0.1) && x.type.dtype === "f32"
      ? bitcast([x], { to: "i32" })
      : cast([x], { to: this.pick(castable) });
  }

  #move(): Value | undefined {
    const x = this.any((v) => v.type.shape.length > 0);
    if (x === undefined) return undefined;
    const { shape } = x.type;
    const axes = [...shape.keys()];
    switch (this.below(6)) {
      case 0: {
        const perm = [...axes];
        for (let i = perm.length - 1; i > 0; i--) {
          const j = this.below(i + 1);
          [perm[i], perm[j]] = [perm[j]!, perm[i]!];
        }
        return transpose([x], { perm });
      }
      case 1: {
        // Axes joined, or axes of size 1 put in and taken out.
        const at = this.below(shape.length);
        const next = shape[at + 1];
        if (this.chance(0.4) && next !== undefined) {
          return reshape([x], { shape: [...shape.slice(0, at), dimMul(shape[at]!, next), ...shape.slice(at + 2)] });
        }
        const dropped = shape.filter((d) => d !== 1);
        return reshape([x], { shape: this.chance(0.5) ? dropped : shape.toSpliced(at, 0, 1) });
      }
      case 2: {
        const at = this.below(shape.length + 1);
        const to: Dim[] = shape.map((d) => (d === 1 && this.chance(0.5) ? this.pick([2, n]) : d));
        const grown = this.chance(0.6) ? to.toSpliced(at, 0, this.pick([1, 2, n, m])) : to;
        return broadcast([x], {
          shape: grown,
          axes: axes.map((a) => (grown.length > to.length && a >= at ? a + 1 : a)),
        });
      }
      case 3: {
        const cuts = shape.map((d) => this.#cut(d));
        return slice([x], {
          starts: cuts.map((c) => c.start),
          sizes: cuts.map((c) => c.size),
          steps: cuts.map((c) => c.step),
        });
      }
      default: {
        const some = () => shape.map(() => (this.chance(0.6) ? 0 : this.below(3)));
        const interior = shape.map((d) => (this.chance(0.85) || typeof d !== "number" ? 0 : 1));
        const value = isFloat(x.type.dtype) ? this.pick(specials) : this.pick([0, 1]);
        return pad([x], { low: some(), high: some(), interior, value });
      }
    }
  }

  #cut(d: Dim): { start: Dim; size: Dim; step: number } {
    if (this.chance(0.5)) return { start: 0, size: d, step: 1 };
    if (this.chance(0.4)) return { start: dimSub(d, 1), size: d, step: -1 };
    if (typeof d !== "number") return { start: 0, size: d, step: 1 };
    const start = this.below(d);
    const step = this.pick([1, 1, 2, -1]);
    const most = d === 0 ? 0 : step > 0 ? Math.ceil((d - start) / step) : start + 1;
    return { start: d === 0 ? 0 : start, size: this.below(most + 1), step };
  }

  #join(): Value | undefined {
    const x = this.any((v) => v.type.shape.length > 0);
    if (x === undefined) return undefined;
    const axis = this.below(x.type.shape.length);
    const others = (d: Shape) => d.filter((_, a) => a !== axis);
    const fits = (v: Value) =>
      v.type.dtype === x.type.dtype &&
      v.type.shape.length === x.type.shape.length &&
      sameShape(others(v.type.shape), others(x.type.shape));
    const d = x.type.shape[axis]!;
    if (typeof d === "number" && d > 1 && this.chance(0.3)) {
      // Split, and perhaps joined again at once.
      const at = 1 + this.below(d - 1);
      const part = (from: number, size: number) =>
        slice([x], {
          starts: x.type.shape.map((_, a) => (a === axis ? from : 0)),
          sizes: x.type.shape.map((s, a) => (a === axis ? size : s)),
          steps: x.type.shape.map(() => 1),
        });
      return concat([part(0, at), part(at, d - at)], { axis });
    }
    const joined = concat([x, this.any(fits) ?? x], { axis });
    if (this.chance(0.5)) return joined;
    // A slice that may or may not lie in one part.
    const room = dimSub(joined.type.shape[axis]!, d);
    const start = this.chance(0.4) ? 0 : typeof room === "number" ? this.below(room + 1) : room;
    return slice([joined], {
      starts: joined.type.shape.map((_, a) => (a === axis ? start : 0)),
      sizes: joined.type.shape.map((s, a) => (a === axis ? d : s)),
      steps: joined.type.shape.map(() => 1),
    });
  }

  #reduce(): Value | undefined {
    const bools = this.chance(0.15);
    const x = this.any((v) => (bools ? v.type.dtype === "bool" : isFloat(v.type.dtype) || isInt(v.type.dtype)));
    if (x === undefined) return undefined;
    const axes = [...x.type.shape.keys()].filter(() => this.chance(0.5));
    const keepDims = this.chance(0.5);
    if (bools) return apply(this.pick(["any", "all"] as const), [x], { axes, keepDims });
    if (axes.length === 1 && this.chance(0.2) && x.type.shape[axes[0]!] !== 0 && isStaticShape(x.type.shape)) {
      return apply(this.pick(["argMax", "argMin"] as const), [x], { axis: axes[0]!, keepDims });
    }
    return apply(this.pick(["sum", "prod", "reduceMin", "reduceMax"] as const), [x], { axes, keepDims });
  }

  #product(): Value | undefined {
    const a = this.any((v) => v.type.dtype === "f32" && v.type.shape.length >= 1 && v.type.shape.at(-1) === 3);
    const weight = () => constant([], { value: randomTensor(this.random, "f32", this.pick([[3], [3, 4], [3, 3]])) });
    const b = this.chance(0.3)
      ? weight()
      : this.any((v) => v.type.dtype === "f32" && v.type.shape.length >= 1 && v.type.shape.includes(3));
    if (a === undefined || b === undefined) return undefined;
    const contractB = [b.type.shape.indexOf(3)];
    const perm = [...b.type.shape.keys()].reverse();
    const turned = this.chance(0.5);
    return dotGeneral([a, turned ? transpose([b], { perm }) : b], {
      batchA: [],
      batchB: [],
      contractA: [a.type.shape.length - 1],
      contractB: turned ? contractB.map((i) => perm.indexOf(i)) : contractB,
    });
  }

  #region(): readonly Value[] | undefined {
    const x = this.any((v) => isFloat(v.type.dtype));
    if (x === undefined) return undefined;
    const y = this.like(x);
    if (this.chance(0.5)) {
      const flag = this.chance(0.3) ? full("bool", [], this.below(2)) : gt([this.values[3]!, full("f32", [], 0)]);
      return ifOp(
        flag,
        () => [add([x, y]), neg([x])],
        () => [mul([x, this.like(x)]), y],
      );
    }
    const made = scanOp({ carried: [x, y], length: this.pick([0, 1, 3, n]) }, ([a, b]) => ({
      carried: [add([a!, y]), neg([b!])],
      scanned: [mul([a!, x]), abs([a!])],
    }));
    return [...made.carried, ...made.scanned].filter(() => this.chance(0.5));
  }

  #source(): Value {
    const shape: Shape = this.pick<Shape>([[3], [2, 3], [n, 3], [n, m], [dimAdd(n, 1)], [4]]);
    switch (this.below(4)) {
      case 0:
        return dimSize([], { size: dimAdd(dimMul(this.pick(symbols), 2), 1) });
      case 1:
        return iota([], { dtype: this.pick(["f32", "i32", "i64"] as const), shape, axis: 0 });
      case 2:
        return this.feed(this.pick(castable), shape);
      default:
        return isStaticShape(shape)
          ? constant([], { value: randomTensor(this.random, this.pick(["f32", "i32", "bool"] as const), shape) })
          : full("f32", shape, this.pick(specials));
    }
  }

  /** Any op of the table, on the operands of one of its samples: new parameters, constants, or values that fit. */
  #sample(): readonly Value[] | undefined {
    const facts = this.pick(this.#facts);
    const s = facts.samples[this.below(facts.samples.length)]!;
    if (s.operands.some((o) => o.shape.reduce((p, d) => p * d, 1) > 2000)) return undefined;
    const operands = s.operands.map((o) => {
      const free = o.values === undefined && o.range === undefined && !o.distinct;
      const found = free && this.chance(0.5) ? this.any((v) => sameType(v.type, o)) : undefined;
      if (found !== undefined) return found;
      const value = sampleTensor(this.random, o);
      return this.chance(0.3) ? constant([], { value }) : this.feed(o.dtype, o.shape, value);
    });
    const made = makeNode(facts, operands, s.attrs, s.regions?.() ?? []) as unknown as GraphNode;
    const names = definedSymbols(made).map((d) => d.name);
    // Each size is found once.
    if (names.some((name) => this.#found.has(name))) return undefined;
    for (const name of names) this.#found.add(name);
    return made.results;
  }
}

/**
 * The graph that the steps grow: its results are the values that nothing else uses, at most eight; with the option `results` some of
 * the others too.
 */
export function growGraph(seed: number, steps: readonly number[], options: GrowthOptions = {}): RandomGraph {
  const { results: share = 0, mild = false } = options;
  const growth = new Growth(seed, mild);
  for (const s of steps) growth.step(s);
  const used = new Set<Value>(growth.values.flatMap((v) => (v.def.op === "param" ? [] : v.def.operands)));
  const inner = growth.values.filter((v) => v.def.op !== "param");
  const random = seeded(seed ^ 0x5eed);
  const last = new Set(inner.filter((v) => !used.has(v)).slice(-8));
  const results = inner.filter((v) => last.has(v) || (random() < share && used.has(v)));
  const made = results.length > 0 ? results : growth.values.slice(-1);
  const sizes = growth.values.flatMap((v) =>
    v.def.op !== "param" && v.index === 0 && definedSymbols(v.def).length > 0 ? [v] : [],
  );
  return {
    graph: graph("fuzz", growth.params, made, undefined, undefined, sizes),
    feeds: growth.feeds,
    feedsAt: (at, s) => growth.feedsAt(at, s),
  };
}
