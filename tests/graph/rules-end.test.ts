/**
 * Rules come to an end, and soon: graphs of elementwise ops in which many operands are constants (scalars, tensors of other shapes
 * and ranks, spread, moved, shared), all of them in the end too, go through every pass alone and through the pipeline.
 */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultPipeline, graphPasses } from "../../compiler/pipeline.js";
import { type DType, isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import {
  type Attrs,
  type Graph,
  type GraphNode,
  graph,
  graphNodes,
  param,
  sameType,
  type Value,
} from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { makeNode } from "../../ir/op.js";
import { elementwiseNames } from "../../ir/ops/classes.js";
import { constant } from "../../ir/ops/constant.js";
import { ops } from "../../ir/ops/index.js";
import { broadcast, concat, reshape, slice, transpose } from "../../ir/ops/movement.js";
import { evaluate } from "../../ir/reference.js";
import { scalar, type Tensor, tensorFrom } from "../../ir/tensor.js";
import type { GraphPass } from "../../passes/pass.js";
import { runPipeline } from "../../passes/pipeline.js";
import { fuzzRuns, fuzzSeed } from "../fuzz/seed.js";
import { disagreement } from "../ops/accuracy.js";
import { type Random, randomTensor, seeded } from "./random.js";

const shape = [2, 3, 4] as const;
const dtypes: readonly DType[] = ["f32", "i32", "i64", "u8", "bool", "f16", "f64"];

class Growth {
  readonly #random: Random;
  readonly #constants: number;
  readonly params: Value[] = [];
  readonly values: Value[] = [];

  /** `constants`: the share of leaves that are constant. */
  constructor(seed: number, constants: number) {
    this.#random = seeded(seed);
    this.#constants = constants;
  }

  below = (n: number): number => Math.floor(this.#random() * n);
  pick = <T>(list: readonly T[]): T => list[this.below(list.length)]!;

  #data(dtype: DType, dims: readonly number[]): Value {
    const special = [0, 1, -1, -0, 2, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].slice(
      0,
      isFloat(dtype) ? 7 : 2,
    );
    const plain = this.#random() < 0.5;
    const count = dims.reduce((a, b) => a * b, 1);
    const value = plain
      ? randomTensor(this.#random, dtype, dims)
      : tensorFrom(dtype, dims, new Array(count).fill(this.pick(special)));
    return constant([], { value });
  }

  /** A value of the full shape, moved there in one of the ways that models do. */
  leaf(dtype: DType): Value {
    if (this.#random() >= this.#constants) {
      const p = param(`x${this.params.length}`, { dtype, shape });
      this.params.push(p);
      return p;
    }
    switch (this.below(7)) {
      case 0:
        return broadcast([this.#data(dtype, [])], { shape, axes: [] });
      case 1:
        return broadcast([this.#data(dtype, [4])], { shape, axes: [2] });
      case 2:
        return broadcast([this.#data(dtype, [3, 1])], { shape, axes: [1, 2] });
      case 3:
        return transpose([this.#data(dtype, [4, 2, 3])], { perm: [1, 2, 0] });
      case 4:
        return reshape([this.#data(dtype, [6, 4])], { shape });
      case 5:
        return slice([this.#data(dtype, [2, 5, 4])], { starts: [0, 1, 0], sizes: shape, steps: [1, 1, 1] });
      default:
        return this.#data(dtype, shape);
    }
  }

  operand(dtype: DType): Value {
    const fit = this.values.filter((v) => v.type.dtype === dtype);
    return fit.length > 0 && this.#random() < 0.6 ? this.pick(fit) : this.leaf(dtype);
  }

  /** One of the ops on what there is; nothing where it does not take the dtype. */
  step(names: readonly string[], dtype: DType): void {
    const facts = ops.get(this.pick(names))!;
    const operands = facts.operands.map((name) => this.operand(name === "condition" ? "bool" : dtype));
    const attrs: Attrs =
      facts.name === "cast" ? { to: this.pick(dtypes) } : facts.name === "bitcast" ? { to: dtype } : {};
    try {
      const made = (makeNode(facts, operands, attrs) as unknown as GraphNode).results[0]!;
      this.values.push(this.#random() < 0.15 ? this.#moved(made) : made);
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
    }
  }

  #moved(v: Value): Value {
    switch (this.below(3)) {
      case 0:
        return transpose([reshape([v], { shape: [4, 2, 3] })], { perm: [1, 2, 0] });
      case 1: {
        const half = slice([v], { starts: [0, 0, 0], sizes: [2, 3, 2], steps: [1, 1, 2] });
        return concat([half, half], { axis: 2 });
      }
      default:
        return transpose([transpose([v], { perm: [0, 2, 1] })], { perm: [0, 2, 1] });
    }
  }

  graph(): Graph {
    const used = new Set(this.values.flatMap((v) => (v.def.op === "param" ? [] : v.def.operands)));
    const results = this.values.filter((v) => !used.has(v));
    return graph("g", this.params, results.length > 0 ? results : [this.leaf("f32")]);
  }
}

const pipelines: readonly (readonly [string, readonly GraphPass[]])[] = [
  ...[...graphPasses].map(([name, pass]) => [name, [pass]] as const),
  ["what rounds not", defaultPipeline.filter((p) => !p.rounds)] as const,
  ["all", defaultPipeline] as const,
];

/** Firings of one pass over a graph: each is a step of the pass's measure, which a graph of n nodes has few of. */
const mostFirings = (nodes: number): number => 30 + 6 * nodes;

function check(g: Graph, seed: number): void {
  const random = seeded(seed);
  const feeds = g.params.map((p) => randomTensor(random, p.type.dtype, [...shape]));
  const want = evaluate(g, feeds);
  for (const [name, passes] of pipelines) {
    let fired = 0;
    const after = runPipeline(passes, g, { verify: true, trace: { fired: () => fired++ } });
    const most = passes.length * mostFirings(graphNodes(g).length);
    if (fired > most) throw new Error(`${name} fires ${fired} times\n${printGraph(g)}`);
    if (passes.some((p) => p.rounds)) continue;
    const got = evaluate(after, feeds);
    const wrong = want.map((w, i) => disagreement(got[i]!, w, "exact")).find((d) => d !== undefined);
    if (wrong !== undefined) throw new Error(`${name}: ${wrong}\n${printGraph(g)}\nbecame\n${printGraph(after)}`);
  }
}

/** Trees of one op (and of its inverse), where every rule that regroups is at home. */
const families: readonly (readonly string[])[] = [
  ["add"],
  ["mul"],
  ["min"],
  ["max"],
  ["and"],
  ["or"],
  ["xor"],
  ["add", "sub"],
  ["add", "sub", "neg"],
  ["mul", "div"],
  ["mul", "add"],
  ["min", "max"],
  ["and", "or", "xor", "not"],
  ["eq", "ne"],
  ["lt", "le", "gt", "ge", "eq"],
  ["select", "not", "and"],
  ["cast", "max", "min"],
];

const seedOf = fc.noBias(fc.nat());
const runs = { numRuns: fuzzRuns("WASMITH_FUZZ_RULES", 40), seed: fuzzSeed("rules") };

describe("rules end", () => {
  for (const names of families) {
    it(`on trees of ${names.join(", ")}`, () => {
      fc.assert(
        fc.property(seedOf, fc.constantFrom(...dtypes), fc.constantFrom(1, 0.8), (seed, dtype, constants) => {
          const growth = new Growth(seed, constants);
          for (let i = 0; i < 10; i++) growth.step(names, dtype);
          check(growth.graph(), seed);
        }),
        runs,
      );
    });
  }

  it("on graphs of all elementwise ops and moves", () => {
    fc.assert(
      fc.property(seedOf, fc.constantFrom(1, 0.8, 0.5), (seed, constants) => {
        const growth = new Growth(seed, constants);
        const few = [growth.pick(dtypes), growth.pick(dtypes)];
        // Powers of large integers take for ever in exact arithmetic.
        for (let i = 0; i < 25; i++) {
          const dtype = growth.pick(few);
          growth.step(isFloat(dtype) ? elementwiseNames : elementwiseNames.filter((n) => n !== "pow"), dtype);
        }
        check(growth.graph(), seed);
      }),
      { ...runs, numRuns: 4 * runs.numRuns },
    );
  });

  it("max of constants of other shapes with an input", () => {
    const c = (value: number): Value => constant([], { value: scalar("f32", value) });
    const row: Tensor = tensorFrom("f32", [3], [1, 5, 2]);
    const x = param("x", { dtype: "f32", shape: [3] });
    const max = (a: Value, b: Value): Value =>
      (makeNode(ops.get("max")!, [a, b], {}) as unknown as GraphNode).results[0]!;
    const spread = (v: Value): Value => broadcast([v], { shape: [3], axes: [] });
    const constants = max(max(constant([], { value: row }), spread(c(1))), spread(c(2)));
    const out = runPipeline(defaultPipeline, graph("g", [x], [max(constants, x)]), { verify: true });
    expect(sameType(out.results[0]!.type, x.type)).toBe(true);
    expect(printGraph(out).match(/= max /g)).toHaveLength(1);
    expect([...evaluate(out, [tensorFrom("f32", [3], [0, 9, 0])])[0]!.data]).toEqual([2, 9, 2]);
  });
});
