/**
 * Whatever kernel and tile a tuner chooses, the results are right: tiles of a kernel give the same bits, and every kernel gives what the
 * reference evaluator gives. Random products, convolutions and gradients, half of them with an epilogue, in sizes around the tiles.
 */

import { describe, expect, it } from "vitest";
import type { Candidate, Tuner } from "../../compiler/lower/core/tuner.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { np } from "../../ir/build.js";
import { type Dim, dimSymbol } from "../../ir/dim.js";
import type { DType } from "../../ir/dtype.js";
import { type Graph, graph, param, paramName, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { conv, convInputGrad, convWeightGrad } from "../../ir/ops/conv.js";

import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { runPipeline } from "../../passes/pipeline.js";
import { fuzzRuns, fuzzSeed } from "../fuzz/seed.js";
import { seeded } from "../graph/random.js";
import { runAll } from "./run.js";

interface Case {
  readonly text: string;
  readonly graph: Graph;
  readonly feeds: readonly Tensor[];
}

/** Draws cases of one seed. */
class Draw {
  readonly #random: () => number;
  readonly #params: Value[] = [];
  readonly #feeds: Tensor[] = [];
  readonly #words: string[] = [];

  constructor(seed: number) {
    this.#random = seeded(seed);
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)]!;
  }

  /** A parameter, or a constant, of random elements: small integers, so that i32 stays exact, or fractions. */
  value(dtype: DType, shape: readonly number[], { fixed = false, open = false } = {}): Value {
    const count = shape.reduce((a, b) => a * b, 1);
    const isFloat = dtype.startsWith("f");
    const elements = Array.from({ length: count }, () =>
      isFloat ? Math.fround(this.#random() * 2 - 1) : Math.floor(this.#random() * 15) - 7,
    );
    const tensor = tensorFrom(dtype, shape, elements);
    this.#words.push(`${fixed ? "constant " : ""}${dtype}[${shape}]${open ? " of any number" : ""}`);
    if (fixed) return constant([], { value: tensor });
    const sizes: readonly Dim[] = shape.map((d, axis) => (open && axis === 0 ? dimSymbol("n", { min: 1 }) : d));
    const p = param(`p${this.#params.length}`, { dtype, shape: sizes });
    this.#params.push(p);
    this.#feeds.push(tensor);
    return p;
  }

  /** With a bias along its last axis and a relu, or as it is. */
  finished(y: Value): Value {
    const { dtype, shape } = y.type;
    const last = shape.at(-1)!;
    if (this.pick([true, false]) || typeof last !== "number" || dtype === "f64") return y;
    const bias = this.value(dtype, [last], { fixed: true });
    const zero = constant([], { value: tensorFrom(dtype, [], [0]) });
    return np.max(np.add(y, bias), zero);
  }

  done(op: string, attrs: object, y: Value): Case {
    const g = graph("g", this.#params, [y]);
    return { text: `${op} ${this.#words.join(" ")} ${JSON.stringify(attrs)}`, graph: g, feeds: this.#feeds };
  }
}

const sizes = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 33] as const;

function product(d: Draw): Case {
  const dtype = d.pick<DType>(["f32", "f32", "f32", "f64", "i32"]);
  const [m, n, k] = [d.pick([...sizes, 480 + 5]), d.pick(sizes), d.pick(sizes)];
  const batch = d.pick([[], [], [2]]);
  const [turnedA, turnedB] = [d.pick([true, false]), d.pick([true, false])];
  const isOpen = batch.length === 0 && !turnedA && d.pick([true, false]);
  const a = d.value(dtype, [...batch, ...(turnedA ? [k, m] : [m, k])], { open: isOpen });
  const b = d.value(dtype, [...batch, ...(turnedB ? [n, k] : [k, n])], { fixed: d.pick([true, false]) });
  const axes = batch.map((_, i) => i);
  const attrs = {
    batchA: axes,
    batchB: axes,
    contractA: [batch.length + (turnedA ? 0 : 1)],
    contractB: [batch.length + (turnedB ? 1 : 0)],
  };
  return d.done("dotGeneral", attrs, d.finished(dotGeneral([a, b], attrs)));
}

type Direction = "conv" | "convInputGrad" | "convWeightGrad";

function convolution(d: Draw, direction: Direction): Case {
  const dtype = d.pick<DType>(["f32", "f32", "f32", "f64"]);
  const window = d.pick([
    [1, 1],
    [3, 3],
    [3, 3],
    [5, 2],
  ]);
  const strides = d.pick([
    [1, 1],
    [1, 1],
    [2, 2],
    [2, 1],
  ]);
  const dilations = d.pick([
    [1, 1],
    [1, 1],
    [1, 2],
  ]);
  const groups = d.pick([1, 1, 1, 2]);
  const [padLow, padHigh] = [window.map((w) => d.pick([0, (w - 1) >> 1])), window.map((w) => d.pick([0, w >> 1]))];
  const [images, cin, cout] = [
    d.pick([1, 2, 6]),
    groups * d.pick([1, 3, 4, 8, 12]),
    groups * d.pick([1, 4, 7, 12, 16]),
  ];
  const input = [d.pick([5, 8, 13]), d.pick([6, 9, 17])];
  const output = input.map((s, a) => {
    const reach = (window[a]! - 1) * dilations[a]! + 1;
    return Math.floor((s + padLow[a]! + padHigh[a]! - reach) / strides[a]!) + 1;
  });
  const attrs = { strides, dilations, padLow, padHigh, groups, layout: "channelsLast" } as const;
  const [xShape, wShape] = [
    [images, ...input, cin],
    [cout, ...window, cin / groups],
  ];
  const yShape = [images, ...output, cout];
  const fixed = d.pick([true, false]);
  if (direction === "conv") {
    const x = d.value(dtype, xShape, { open: d.pick([true, false]) });
    return d.done("conv", attrs, d.finished(conv([x, d.value(dtype, wShape, { fixed })], attrs)));
  }
  if (direction === "convInputGrad") {
    const dy = d.value(dtype, yShape);
    const w = d.value(dtype, wShape, { fixed });
    const dx = convInputGrad([dy, w], { ...attrs, inputSize: input });
    return d.done(direction, { ...attrs, inputSize: input }, d.finished(dx));
  }
  const [x, dy] = [d.value(dtype, xShape), d.value(dtype, yShape)];
  return d.done(direction, attrs, convWeightGrad([x, dy], { ...attrs, kernelSize: window }));
}

/** The candidates of each choice that the graph leaves; cases have one. */
function candidatesOf(g: Graph): readonly Candidate[] {
  const found = new Map<string, readonly Candidate[]>();
  const tuner: Tuner = {
    choose: (kind, candidates) => {
      found.set(kind, candidates);
      return 0;
    },
  };
  lowerGraph(g, { tuner });
  expect(found.size).toBeLessThanOrEqual(1);
  return [...found.values()][0] ?? [];
}

/** Problems of a case's candidates. */
async function problemsOf({ text, graph: given, feeds }: Case, seen: Set<string>): Promise<readonly string[]> {
  const g = runPipeline(defaultPipeline, given, { verify: true });
  const candidates = candidatesOf(g);
  const results = await runAll(
    candidates.map((_, i) => ({
      graph: g,
      runs: [g.params.map((p) => feeds[given.params.findIndex((q) => paramName(q) === paramName(p))]!)],
      tuner: { choose: () => i },
    })),
  );
  const want = toNumbers(evaluate(given, feeds)[0]!);
  const scale = Math.max(1, ...want.map(Math.abs));
  const first = new Map<string, readonly number[]>();
  return candidates.flatMap(({ kernel, tile }, i) => {
    seen.add(`${kernel} ${tile ? `${tile.mr}x${tile.nr}` : ""}`);
    const got = toNumbers(results[i]![0]![0]!);
    const same = first.get(kernel);
    const of = `${text}: ${kernel} ${JSON.stringify(tile ?? null)}`;
    if (same === undefined) {
      first.set(kernel, got);
      const worst = Math.max(0, ...want.map((w, k) => Math.abs(w - got[k]!)));
      return got.length === want.length && worst <= 3e-5 * scale ? [] : [`${of} is off by ${worst}`];
    }
    return got.every((x, k) => Object.is(x, same[k])) ? [] : [`${of} has other bits than the kernel's first tile`];
  });
}

const runs = fuzzRuns("WASMITH_CANDIDATES", 25, 150);
const draws: { readonly [op: string]: (d: Draw) => Case } = {
  dotGeneral: product,
  conv: (d) => convolution(d, "conv"),
  convInputGrad: (d) => convolution(d, "convInputGrad"),
  convWeightGrad: (d) => convolution(d, "convWeightGrad"),
};

describe("kernels and tiles to choose from", () => {
  const seed = fuzzSeed("candidates");
  for (const [op, draw] of Object.entries(draws)) {
    it(`of ${runs} random ${op} compute the same`, { timeout: 600_000 }, async () => {
      const problems: string[] = [];
      const seen = new Set<string>();
      for (let i = 0; i < runs; i++) problems.push(...(await problemsOf(draw(new Draw(seed * 10_000 + i)), seen)));
      expect(problems).toEqual([]);
      expect(seen.size, [...seen].join(", ")).toBeGreaterThan(5);
    });
  }
});
