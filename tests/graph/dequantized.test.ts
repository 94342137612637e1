/** What moves dequantised weights moves the integers, to the same bits: random shapes, types, axes and blocks. */

import { describe, expect, it } from "vitest";
import { F } from "../../compiler/dsl/index.js";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { type Graph, type GraphNode, graph, graphNodes, param, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { gather } from "../../ir/ops/indexing.js";
import { concat, reshape, slice, transpose } from "../../ir/ops/movement.js";
import { dequantize } from "../../ir/ops/quantized.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { simplify } from "../../passes/graph/simplify.js";
import { loopPipeline } from "../../passes/loop/pipeline.js";
import { runPipeline } from "../../passes/pipeline.js";
import { runCases } from "../lower/run.js";
import { compareTensors } from "../onnx/compare.js";
import { type Random, randomTensor, seeded } from "./random.js";

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
const upTo = (random: Random, most: number): number => 1 + Math.floor(random() * most);

interface Form {
  readonly dtype: "i8" | "u8";
  readonly bits: 2 | 4 | 8;
  readonly block: number;
  readonly zero: "none" | "u8" | "f32";
}

function formOf(random: Random): Form {
  const bits = pick(random, [2, 4, 8, 8] as const);
  return {
    bits,
    dtype: bits < 8 ? "u8" : pick(random, ["i8", "u8"] as const),
    block: random() < 0.5 ? 0 : 4,
    zero: pick(random, ["none", "u8", "f32"] as const),
  };
}

const fixed = (t: Tensor): Value => constant([], { value: t });

/** Weights of a shape, whose scales are of all, of an axis, of each element or of blocks. */
function weights(random: Random, { dtype, bits, block, zero }: Form, shape: readonly number[]): Value {
  const stored = shape.map((d, a) => (a === shape.length - 1 ? (d * bits) / 8 : d));
  const ofOne = (d: number) => (random() < 0.5 ? 1 : d);
  const parameter = () =>
    block > 0 ? [...shape.slice(0, -1).map(ofOne), Math.ceil(shape.at(-1)! / block)] : shape.map(ofOne);
  const values = fixed(randomTensor(random, dtype, stored, dtype === "i8" ? [-128, 127] : [0, 255]));
  const scale = fixed(randomTensor(random, "f32", parameter(), [0.01, 2]));
  const rest = zero === "none" ? [] : [fixed(randomTensor(random, zero, parameter(), [0, 15]))];
  return dequantize([values, scale, ...rest], { bits, block });
}

/** One of what moves, and whether nothing stands in the way of moving integers. */
function moved(random: Random, form: Form, shape: readonly number[]): readonly [Value, boolean] {
  const x = weights(random, form, shape);
  const last = shape.length - 1;
  const joined = form.bits < 8 || form.block > 0;
  const axis = Math.floor(random() * shape.length);
  switch (pick(random, ["gather", "slice", "transpose", "reshape", "concat"])) {
    case "gather": {
      const at = pick(random, [[1], [2], [1, 2], []]).map((d) => Math.min(d, shape[axis]!));
      const count = at.reduce((a, b) => a * b, 1);
      const places = Array.from({ length: count }, () => Math.floor((2 * random() - 1) * shape[axis]!));
      const y = gather([x, fixed(tensorFrom("i64", at, places.map(BigInt)))], { axis });
      return [y, !(joined && axis === last) && count <= shape[axis]!];
    }
    case "slice": {
      const whole = (a: number) => joined && a === last && random() < 0.8;
      const sizes = shape.map((d, a) => (whole(a) ? d : upTo(random, d)));
      const starts = shape.map((d, a) => (whole(a) ? 0 : Math.floor(random() * (d - sizes[a]! + 1))));
      return [slice([x], { starts, sizes, steps: shape.map(() => 1) }), !joined || sizes[last] === shape[last]];
    }
    case "transpose": {
      const perm = shape.map((_, a) => a);
      for (let i = perm.length - 1; i > 0; i--) {
        const j = Math.floor(random() * (i + 1));
        [perm[i], perm[j]] = [perm[j]!, perm[i]!];
      }
      return [transpose([x], { perm }), !joined || perm[last] === last];
    }
    case "reshape":
      return [reshape([x], { shape: [shape.reduce((a, b) => a * b, 1)] }), false];
    default: {
      const other = shape.map((d, a) => (a === axis ? (a === last ? 8 : upTo(random, 3)) : d));
      return [concat([x, weights(random, form, other)], { axis }), false];
    }
  }
}

const bits = (t: Tensor): readonly number[] => [...new Uint32Array((t.data as Float32Array).slice().buffer)];

describe("moving dequantised weights", () => {
  it("gives the same bits", async () => {
    const cases = Array.from({ length: 150 }, (_, seed) => {
      const random = seeded(seed + 1);
      const rank = 1 + Math.floor(random() * 3);
      const shape = Array.from({ length: rank }, (_, a) => (a === rank - 1 ? 8 * upTo(random, 2) : upTo(random, 4)));
      const [y, moves] = moved(random, formOf(random), shape);
      return { graph: graph("g", [], [y], ["y"]), feeds: [] as readonly Tensor[], moves, op: y.def.op };
    });
    const got = await runCases(
      cases.map((c) => ({ ...c, graph: runPipeline(defaultPipeline, c.graph) })),
      { optimize: loopPipeline },
    );
    for (const [i, c] of cases.entries()) {
      const [want] = evaluate(c.graph, []);
      const simple = simplify.run(c.graph);
      const what = `seed ${i + 1}, ${c.op}`;
      expect(bits(evaluate(simple, [])[0]!), what).toEqual(bits(want!));
      expect(bits(got[i]![0]!), what).toEqual(bits(want!));
      if (c.moves) expect(simple.results[0]!.def.op, what).toBe("dequantize");
    }
  });

  it("takes rows of an embedding, and dequantises those alone", () => {
    const random = seeded(1);
    const table = weights(random, { dtype: "u8", bits: 4, block: 4, zero: "u8" }, [1000, 64]);
    const ids = param("ids", { dtype: "i64", shape: [3] });
    const simple = simplify.run(graph("g", [ids], [gather([table, ids], { axis: 0 })], ["y"]));
    const def = simple.results[0]!.def as GraphNode;
    expect(def.op).toBe("dequantize");
    expect(def.operands[0]!.type).toEqual({ dtype: "u8", shape: [3, 32] });
  });
});

const opsOf = (g: Graph): readonly string[] => [...graphNodes(g)].flatMap((n) => [n.op, ...n.regions.flatMap(opsOf)]);

it.each([8, 4, 2])("products read weights of %i bits that F.dequantize makes as they are stored", (bits) => {
  const random = seeded(bits);
  const levels = randomTensor(random, bits === 8 ? "i8" : "u8", [100, (784 * bits) / 8], [0, bits === 8 ? 127 : 255]);
  const scale = randomTensor(random, "f32", [100, 1], [0.01, 0.1]);
  const options = bits === 8 ? {} : { bits, zero: F.constant(2 ** (bits - 1), "u8") };
  const x = param("x", { dtype: "f32", shape: [1, 784] });
  const weights = F.dequantize(F.constant(levels), F.constant(scale), options);
  const made = runPipeline(defaultPipeline, graph("g", [x], [F.linear(x, weights)], ["y"]));
  expect(opsOf(made)).toContain("weightProduct");
  const feeds = [randomTensor(random, "f32", [1, 784], [-1, 1])];
  const dense = F.linear(x, F.constant(evaluate(graph("w", [], [weights], ["w"]), [])[0]!));
  const [want] = evaluate(graph("dense", [x], [dense], ["y"]), feeds);
  const [got] = evaluate(made, feeds);
  expect(compareTensors(got!, want!, { rtol: 1e-4, atol: 1e-3 })).toBeUndefined();
});
