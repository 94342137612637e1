/**
 * Random computations over sizes, of the ops that exporters compute shapes with: what the analysis says of each value holds at
 * every size, by the reference evaluator. WASMITH_FUZZ_VALUES and WASMITH_FUZZ_SEED ask for more or others.
 */
import { describe, expect, it } from "vitest";
import { np, reshapeTo, where } from "../../ir/build.js";
import { type Dim, dimSymbol, evaluateDim } from "../../ir/dim.js";
import type { DType } from "../../ir/dtype.js";
import type { Value } from "../../ir/graph.js";
import { cast } from "../../ir/ops/cast.js";
import { constant, dimSize, iota } from "../../ir/ops/constant.js";
import * as ew from "../../ir/ops/elementwise.js";
import { gather } from "../../ir/ops/indexing.js";
import * as lg from "../../ir/ops/logic.js";
import { broadcast, concat, pad, slice } from "../../ir/ops/movement.js";
import { all, any, argMax, prod, reduceMax, reduceMin, sum } from "../../ir/ops/reduce.js";
import { cumSum } from "../../ir/ops/sort.js";
import { evaluateValues } from "../../ir/reference.js";
import { element, scalar, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { contentsOf, dimOf, type Fact, factsOf } from "../../passes/values/index.js";
import { fuzzRuns, fuzzSeed } from "../fuzz/seed.js";

const symbols = [dimSymbol("n"), dimSymbol("m", { min: 0 }), dimSymbol("k", { min: 2, max: 40 })];
const sizes: readonly (readonly [number, number, number])[] = [
  [1, 0, 2],
  [2, 1, 3],
  [7, 7, 7],
  [10, 3, 40],
  [16, 9, 8],
  [49, 50, 12],
  [224, 33, 31],
  [1000, 640, 17],
];

function generator(seed: number) {
  let state = seed;
  const below = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  return { below, pick };
}

const lengthOf = (v: Value): number => v.type.shape[0] as number;
const sameLength = (values: readonly Value[], v: Value) => values.filter((w) => lengthOf(w) === lengthOf(v));

/** A vector of sizes and constants, or what an op makes of vectors before it. */
function grow(seed: number, count: number): readonly Value[] {
  const { below, pick } = generator(seed);
  const ints: Value[] = symbols.map((size) => reshapeTo(dimSize([], { size }), [1]));
  const floats: Value[] = [];
  const truths: Value[] = [];
  const constantOf = (dtype: DType, values: readonly number[]) =>
    constant([], { value: tensorFrom(dtype, [values.length], values) });
  const integer = () => pick([-7, -2, -1, 0, 1, 2, 3, 4, 7, 8, 16, 32, 100]);
  const real = () => Math.fround(pick([0.5, 2, 0.25, 1.5, 0.1, 0.7, 1 / 3, 3, 16, -0.5, -1, 1.1, 5]));
  const fill = (dtype: DType, n: number, draw: () => number) => constantOf(dtype, Array.from({ length: n }, draw));
  const steps: readonly (() => void)[] = [
    () => {
      const a = pick(ints);
      const b = below(2) ? pick(sameLength(ints, a)) : fill("i64", lengthOf(a), integer);
      ints.push(
        pick([np.add, np.sub, np.mul, np.div, np.rem, np.min, np.max])(
          ...((below(2) ? [a, b] : [b, a]) as [Value, Value]),
        ),
      );
    },
    () => {
      const a = pick(ints);
      const b = pick(sameLength(ints, a));
      truths.push(
        pick([lg.eq, lg.ne, lg.lt, lg.le, lg.gt, lg.ge])([a, below(2) ? b : fill("i64", lengthOf(a), integer)]),
      );
    },
    () => {
      const a = pick(ints);
      ints.push(pick([ew.neg, ew.abs, ew.sign, lg.not])([a]));
    },
    () => {
      // Python's remainder as import writes it.
      const a = pick(ints);
      const b = below(2) ? pick(sameLength(ints, a)) : fill("i64", lengthOf(a), integer);
      const r = ew.rem([a, b]);
      const zero = fill("i64", lengthOf(a), () => 0);
      const differs = lg.logicalXor([lg.lt([r, zero]), lg.lt([b, zero])]);
      ints.push(where(lg.logicalAnd([differs, lg.ne([r, zero])]), ew.add([r, b]), r));
    },
    () => {
      const a = pick(ints);
      const bits = fill("i64", lengthOf(a), () => pick([0, 1, 2, 3]));
      ints.push(pick([lg.shiftLeft, lg.shiftRight])([a, bits]));
      ints.push(lg.logicalAnd([a, fill("i64", lengthOf(a), () => pick([7, 1, -8, 15, 5]))]));
      ints.push(pick([lg.logicalOr, lg.logicalXor])([a, fill("i64", lengthOf(a), integer)]));
    },
    () => {
      if (truths.length === 0) return;
      const c = pick(truths);
      const [p, q] = [pick(truths), sameLength(ints, c)];
      if (lengthOf(p) === lengthOf(c))
        truths.push(pick([lg.logicalAnd, lg.logicalOr, lg.logicalXor])([c, p]), lg.not([c]));
      if (q.length > 0) ints.push(where(c, pick(q), pick(q)));
      ints.push(cast([c], { to: "i64" }));
      truths.push(pick([any, all])([c], { axes: [0], keepDims: true }));
    },
    () => {
      floats.push(cast([pick(ints)], { to: pick(["f32", "f32", "f64"]) }));
    },
    () => {
      if (floats.length === 0) return;
      const a = pick(floats);
      const { dtype } = a.type;
      const same = sameLength(floats, a).filter((v) => v.type.dtype === dtype);
      const b = below(3) === 0 ? pick(same) : fill(dtype, lengthOf(a), real);
      floats.push(pick([np.add, np.sub, np.mul, np.div, np.div, np.mul, np.min, np.max])(a, b));
    },
    () => {
      if (floats.length === 0) return;
      const a = pick(floats);
      floats.push(pick([ew.floor, ew.ceil, ew.trunc, ew.round, ew.neg, ew.abs])([a]));
      ints.push(cast([pick(floats)], { to: "i64" }));
      truths.push(lg.lt([a, fill(a.type.dtype, lengthOf(a), real)]), cast([a], { to: "bool" }));
    },
    () => {
      const a = pick(ints);
      ints.push(cast([cast([a], { to: pick(["i32", "u8", "i16"]) })], { to: "i64" }));
    },
    () => {
      const parts = [pick(ints), pick(ints)];
      if (lengthOf(parts[0]!) + lengthOf(parts[1]!) <= 8) ints.push(concat(parts, { axis: 0 }));
    },
    () => {
      const a = pick(ints);
      const size = 1 + below(lengthOf(a));
      const start = below(lengthOf(a) - size + 1);
      ints.push(slice([a], { starts: [start], sizes: [size], steps: [1] }));
      const indices = constantOf("i64", [below(lengthOf(a)), -1]);
      ints.push(gather([a, indices], { axis: 0 }));
    },
    () => {
      const a = pick(ints);
      ints.push(pick([sum, prod, reduceMax, reduceMin])([a], { axes: [0], keepDims: true }));
      ints.push(cumSum([a], { axis: 0, exclusive: below(2) === 1, reverse: below(2) === 1 }));
      ints.push(argMax([a], { axis: 0, keepDims: true }));
    },
    () => {
      const a = pick(ints);
      if (lengthOf(a) <= 6) ints.push(pad([a], { low: [1], high: [below(2)], interior: [0], value: integer() }));
      if (lengthOf(a) === 1)
        ints.push(broadcast([a], { shape: [3], axes: [0] }), iota([], { dtype: "i64", shape: [2], axis: 0 }));
    },
    () => {
      // Large values, of whose elements one thing is known.
      const n = symbols[0]!;
      const counter = iota([], { dtype: "i64", shape: [n], axis: 0 });
      const a = pick(ints.filter((v) => lengthOf(v) === 1));
      const large = pick([np.add, np.mul, np.min, np.max, np.rem])(counter, a);
      ints.push(reduceMax([large], { axes: [0], keepDims: true }), reduceMin([large], { axes: [0], keepDims: true }));
      ints.push(sum([broadcast([a], { shape: [n], axes: [0] })], { axes: [0], keepDims: true }));
      truths.push(all([np.lt(large, a)], { axes: [0], keepDims: true }));
    },
  ];
  for (let i = 0; i < count; i++) pick(steps)();
  return [...ints, ...floats, ...truths];
}

function envOf(size: readonly [number, number, number]): Map<string, number> {
  return new Map([
    ["n", size[0]],
    ["m", size[1]],
    ["k", size[2]],
  ]);
}

/** What is wrong with the facts about a tensor. */
function wrong(t: Tensor, facts: readonly Fact[], env: Map<string, number>): string | undefined {
  for (let i = 0; i < t.data.length; i++) {
    const x = element(t, i);
    const fact = facts[i]!;
    const show = () => JSON.stringify(fact, (key, v) => (key === "computed" ? "computed" : v));
    if (!Number.isNaN(x) && (x < fact.low || x > fact.high)) return `${x} is outside ${show()}`;
    if (fact.whole && !Number.isInteger(x)) return `${x} is not whole: ${show()}`;
    const d: Dim | undefined = dimOf(fact);
    if (d !== undefined && evaluateDim(d, env) !== x) return `${x} is not ${show()}`;
    if (fact.computed !== undefined && !Object.is(fact.computed.at(env) + 0, x + 0))
      return `${x} is not computed as ${fact.computed.at(env)}: ${show()}`;
    if (fact.most !== undefined && x > evaluateDim(fact.most, env)) return `${x} exceeds ${show()}`;
  }
  return undefined;
}

/** Sizes that no memory holds do not count: beyond these, expressions are taken neither to wrap nor to round. */
const LIMITS: Partial<Record<DType, number>> = { f32: 2 ** 24, i32: 2 ** 31, f64: 2 ** 53, i64: 2 ** 53 };

/** Finds the values that are made of an expression beyond its limit. */
function beyondLimits(env: Map<string, number>): (v: Value) => boolean {
  const known = new Map<Value, boolean>();
  return function beyond(v): boolean {
    let found = known.get(v);
    if (found === undefined) {
      const { elements, each } = contentsOf(v);
      const limit = LIMITS[v.type.dtype] ?? Infinity;
      found =
        (elements ?? [each]).some((f) => Math.abs(evaluateDim(dimOf(f) ?? 0, env)) >= limit) ||
        (v.def.op !== "param" && v.def.operands.some(beyond));
      known.set(v, found);
    }
    return found;
  };
}

function check(seed: number, count: number): { exact: number; all: number } {
  const values = grow(seed, count);
  const facts = values.map((v) => factsOf(v)!);
  for (const size of sizes) {
    const env = envOf(size);
    const tensors = evaluateValues(values, new Map(), new Map(env));
    const beyond = beyondLimits(env);
    tensors.forEach((t, i) => {
      if (beyond(values[i]!)) return;
      const what = wrong(t, facts[i]!, env);
      if (what !== undefined) {
        const def = values[i]!.def;
        const operands =
          def.op === "param"
            ? []
            : def.operands.map((v) =>
                JSON.stringify(contentsOf(v).elements ?? contentsOf(v).each, (key, x) =>
                  key === "computed" ? "computed" : key === "terms" ? undefined : x,
                ),
              );
        throw new Error(
          `seed ${seed}, sizes ${size}, ${def.op} of ${values[i]!.type.dtype}: ${what}\n${operands.join("\n")}`,
        );
      }
    });
  }
  const known = facts.flat().filter((f) => f.exact !== undefined);
  return { exact: known.length, all: facts.flat().length };
}

describe("what is known of computations over sizes", () => {
  const count = fuzzRuns("WASMITH_FUZZ_VALUES", 300);
  it(`holds for ${count} random ones`, () => {
    const first = 1_000_000 * fuzzSeed("values");
    let [exact, every] = [0, 0];
    for (let seed = first; seed < first + count; seed++) {
      const found = check(seed, 6 + (seed % 20));
      exact += found.exact;
      every += found.all;
    }
    // About 0.6 of it is known exactly: a rule that says nothing would hold, too.
    expect(exact / every).toBeGreaterThan(0.5);
  });

  it("is not what f32 rounds where sizes are multiplied", () => {
    const [n, m] = symbols.map((size) => dimSize([], { size }));
    const through = (v: Value, to: DType) => dimOf(factsOf(cast([cast([v], { to })], { to: "i64" }))![0]);
    expect(through(n!, "f32")).toMatchObject({ key: "n" });
    expect(through(ew.mul([n!, m!]), "f64")).toMatchObject({ key: "m*n" });
    const cube = ew.mul([ew.mul([n!, n!]), n!]);
    expect(through(cube, "f64")).toMatchObject({ key: "n*n*n" });
    // 257³ is odd and beyond 2²⁴.
    expect(through(cube, "f32")).toBeUndefined();
  });

  it("is linear in the length of a chain", () => {
    let v: Value = dimSize([], { size: symbols[0]! });
    for (let i = 0; i < 20_000; i++) v = ew.add([v, constant([], { value: scalar("i64", 1) })]);
    expect(dimOf(factsOf(v)![0])).toMatchObject({ key: "n + 20000" });
  });
});
