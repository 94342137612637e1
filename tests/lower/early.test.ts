/** What an epilogue computes of its columns before the rows: the same numbers, whatever is added in which order, in tiles and their edges. */

import { describe, expect, it } from "vitest";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { asType, np } from "../../ir/build.js";
import { graph, param, type Value } from "../../ir/graph.js";
import { constantLike } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { conv } from "../../ir/ops/conv.js";
import { max, min, round, tanh } from "../../ir/ops/elementwise.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { loopPipeline } from "../../passes/loop/pipeline.js";
import { runPipeline } from "../../passes/pipeline.js";
import { type Random, randomTensor, seeded } from "../graph/random.js";
import { disagreement } from "../ops/accuracy.js";
import { type Case, runCases } from "./run.js";

const attrs = { batchA: [], batchB: [], contractA: [1], contractB: [0] };
const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)]!;

/** Collects the operands of a case. */
class Feeds {
  readonly params: Value[] = [];
  readonly tensors: Tensor[] = [];
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  add(dtype: "i8" | "u8" | "i16" | "i32" | "f32", shape: readonly number[], range?: readonly [number, number]): Value {
    const tensor = randomTensor(this.random, dtype, shape, range);
    const value = param(`x${this.params.length}`, { dtype, shape });
    this.params.push(value);
    this.tensors.push(tensor);
    return value;
  }
}

/** Sums of integers with a chain behind them: terms of the column, of the row, of both or of neither, then a quantisation or a float. */
function chained(feeds: Feeds, sums: Value): Value {
  const { random } = feeds;
  const shape = sums.type.shape as readonly number[];
  const columns = shape.at(-1)!;
  const wholes: readonly (() => Value)[] = [
    () => feeds.add("i32", [columns], [-1000, 1000]),
    () => np.mul(feeds.add("i32", [1], [-9, 9]), feeds.add("i32", [columns], [-1000, 1000])),
    () => feeds.add("i32", [...shape.slice(0, -1), 1], [-1000, 1000]),
    () => feeds.add("i32", shape, [-1000, 1000]),
    () => asType(feeds.add("u8", [1], [0, 255]), "i32"),
  ];
  const reals: readonly (() => Value)[] = [
    () => feeds.add("f32", [columns]),
    () => np.mul(feeds.add("f32", [1]), feeds.add("f32", [columns])),
    () => np.mul(asType(feeds.add("i8", [columns]), "f32"), feeds.add("f32", [1])),
    () => feeds.add("f32", [...shape.slice(0, -1), 1]),
    () => feeds.add("f32", shape),
  ];
  let x = sums;
  for (let left = Math.floor(random() * 4); left > 0; left--) {
    const op = pick(random, [np.add, np.sub, np.mul, (a: Value, b: Value) => np.sub(b, a)]);
    x = op(x, pick(random, wholes)());
  }
  if (random() < 0.15) return x;
  x = np.mul(asType(x, "f32"), constantLike(asType(x, "f32"), 1e-3));
  for (let left = Math.floor(random() * 3); left > 0; left--) {
    x = pick(random, [np.add, np.sub, np.mul])(x, pick(random, reals)());
  }
  if (random() < 0.3) return x;
  const limited = min([max([round([x]), constantLike(x, -120)]), constantLike(x, 120)]);
  return asType(asType(limited, "i32"), pick(random, ["i8", "i16", "i32"]));
}

function product(feeds: Feeds): Value {
  const { random } = feeds;
  const [m, k, n] = [1 + Math.floor(random() * 21), 1 + Math.floor(random() * 20), 1 + Math.floor(random() * 27)];
  const a = feeds.add(pick(random, ["i8", "u8", "i16"]), [m, k]);
  const b = feeds.add(pick(random, ["i8", "i16"]), [k, n]);
  return dotGeneral([asType(a, "i32"), asType(b, "i32")], attrs);
}

function convolution(feeds: Feeds): Value {
  const { random } = feeds;
  const depthwise = random() < 0.5;
  const [side, channels, outputs] = [
    3 + Math.floor(random() * 5),
    1 + Math.floor(random() * 18),
    1 + Math.floor(random() * 18),
  ];
  const x = feeds.add("i8", [1, side, side, channels]);
  const w = feeds.add("i8", depthwise ? [channels, 3, 3, 1] : [outputs, 3, 3, channels]);
  return conv([asType(x, "i32"), asType(w, "i32")], {
    layout: "channelsLast",
    strides: [1, 1],
    padLow: [1, 1],
    padHigh: [1, 1],
    dilations: [1, 1],
    groups: depthwise ? channels : 1,
  });
}

describe("epilogues over integers", () => {
  it.each([product, convolution])("%o: the bits of the reference", async (make) => {
    const cases = Array.from({ length: 60 }, (_, seed): Case => {
      const feeds = new Feeds(seeded(seed + 1));
      const y = chained(feeds, make(feeds));
      return { graph: graph("g", feeds.params, [y], ["y"]), feeds: feeds.tensors };
    });
    const lowered = cases.map((c) => ({ ...c, graph: runPipeline(defaultPipeline, c.graph) }));
    const got = await runCases(lowered, { optimize: loopPipeline });
    for (const [i, c] of cases.entries()) {
      const [want] = evaluate(c.graph, c.feeds);
      expect([...got[i]![0]!.data], `seed ${i + 1}`).toEqual([...want!.data]);
    }
  });
});

describe("epilogues with functions of the math library", () => {
  it("finish sums that wait where the results go, also in blocks of K", async () => {
    const cases = Array.from({ length: 40 }, (_, seed): Case => {
      const feeds = new Feeds(seeded(seed + 1));
      const { random } = feeds;
      const transposed = random() < 0.5;
      const [m, n] = [1 + Math.floor(random() * 30), 1 + Math.floor(random() * 80)];
      const k = 1 + Math.floor(random() * (random() < 0.5 ? 20 : 600));
      // Whole numbers, so that sums are exact in any order.
      const whole = (shape: readonly number[]) => asType(feeds.add("i8", shape), pick(random, ["f32", "i32"]));
      const [a, b] = [whole(transposed ? [k, m] : [m, k]), whole([k, n])];
      const sums = dotGeneral([asType(a, b.type.dtype), b], { ...attrs, contractA: [transposed ? 0 : 1] });
      let x = np.mul(asType(sums, "f32"), feeds.add("f32", [1]));
      if (random() < 0.5) x = np.add(x, feeds.add("f32", [n]));
      if (random() < 0.5) x = np.add(x, feeds.add("f32", [m, n]));
      return { graph: graph("g", feeds.params, [tanh([x])], ["y"]), feeds: feeds.tensors };
    });
    const lowered = cases.map((c) => ({ ...c, graph: runPipeline(defaultPipeline, c.graph) }));
    const got = await runCases(lowered, { optimize: loopPipeline });
    for (const [i, c] of cases.entries()) {
      const [want] = evaluate(c.graph, c.feeds);
      expect(disagreement(got[i]![0]!, want!, { ulp: 4 }), `seed ${i + 1}`).toBeUndefined();
    }
  });
});
