/** Control flow out of closures: captures, nesting, gradients. */

import { describe, expect, it } from "vitest";
import { np, sum } from "../../ir/build.js";
import { ifOp, loopOp, scanOp } from "../../ir/control-build.js";
import { dimSymbol } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, graph, param, type Value } from "../../ir/graph.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { scalarConstant } from "../../ir/ops/constant.js";
import { unknownSize } from "../../ir/ops/dynamic.js";
import { mul, tanh } from "../../ir/ops/elementwise.js";
import { lt } from "../../ir/ops/logic.js";
import { evaluate } from "../../ir/reference.js";
import { scalar, type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { executors } from "./executors.js";

const n = dimSymbol("n", { min: 0, max: 16 });
const x = param("x", { dtype: "f32", shape: [3] });
const w = param("w", { dtype: "f32", shape: [3] });
const flag = param("flag", { dtype: "bool", shape: [] });
const vector = (...values: number[]): Tensor => tensorFrom("f32", [values.length], values);
const one = (v: Value) => sum(v, 0);

interface Case {
  readonly name: string;
  readonly graph: Graph;
  readonly feeds: readonly Tensor[];
  readonly want: readonly (readonly number[])[];
}

/** (flag ? x·w : 2x), its sum, and the gradient of that. */
function branches(): Graph {
  const [y] = ifOp(
    flag,
    () => [mul([x, w])],
    () => [np.mul(x, 2)],
  );
  const loss = one(y!);
  return graph("branches", [flag, x, w], [y!, ...gradients(loss, [x, w])]);
}

/** A branch within a scan: h ← row > 0 ? h·row : h, with every h. */
function nested(): Graph {
  const rows = param("rows", { dtype: "f32", shape: [n] });
  const start = param("start", { dtype: "f32", shape: [] });
  const { carried, scanned } = scanOp({ carried: [start], inputs: [rows] }, ([h], [row]) => {
    const [next] = ifOp(
      np.gt(row!, 0),
      () => [np.mul(h!, row!)],
      () => [h!],
    );
    return { carried: [next!], scanned: [next!] };
  });
  return graph("nested", [start, rows], [...carried, ...scanned, ...gradients(carried[0]!, [start, rows])]);
}

/** Goes on as the flag of the round before said: the condition is a carried value as it was. */
function lateCondition(): Graph {
  const start = param("start", { dtype: "i32", shape: [] });
  const { carried } = loopOp({ carried: [start, scalarConstant("bool", 1)] }, (_, [i, more]) => {
    const next = np.add(i!, 1);
    return { condition: more!, carried: [next, lt([next, scalarConstant("i32", 3)])] };
  });
  return graph("late", [start], [...carried]);
}

/** Doubles until 100 is passed; the number of rounds is found at run time. */
function doubling(): Graph {
  const start = param("start", { dtype: "f32", shape: [] });
  const trips = unknownSize("trips", 20);
  const { carried, scanned } = loopOp(
    { tripCount: scalarConstant("i64", 20), carried: [start], trips, defines: [trips] },
    (_, [v]) => {
      const next = np.mul(v!, 2);
      return { condition: lt([next, scalarConstant("f32", 100)]), carried: [next], scanned: [next] };
    },
  );
  return graph("doubling", [start], [...carried, ...scanned]);
}

/** Slopes of the last value and of the sum of all, of as many rounds as the run makes. */
function slopeOfDoubling(): Graph {
  const g = doubling();
  const [last, all] = g.results as [Value, Value];
  const slopes = [last, sum(all, 0)].flatMap((loss) => gradients(loss, g.params));
  return graph("slopes", g.params, slopes, undefined, undefined, [all]);
}

const cases: readonly Case[] = [
  {
    name: "if, taken",
    graph: branches(),
    feeds: [scalar("bool", 1), vector(1, 2, 3), vector(4, 5, 6)],
    want: [
      [4, 10, 18],
      [4, 5, 6],
      [1, 2, 3],
    ],
  },
  {
    name: "if, not taken",
    graph: branches(),
    feeds: [scalar("bool", 0), vector(1, 2, 3), vector(4, 5, 6)],
    want: [
      [2, 4, 6],
      [2, 2, 2],
      [0, 0, 0],
    ],
  },
  {
    name: "if within scan",
    graph: nested(),
    feeds: [scalar("f32", 2), vector(3, -1, 5)],
    want: [[30], [6, 6, 30], [15], [10, 0, 6]],
  },
  { name: "scan of nothing", graph: nested(), feeds: [scalar("f32", 2), vector()], want: [[2], [], [1], []] },
  { name: "condition of the round before", graph: lateCondition(), feeds: [scalar("i32", 0)], want: [[4], [0]] },
  { name: "the gradient of a loop", graph: slopeOfDoubling(), feeds: [scalar("f32", 13)], want: [[8], [14]] },
  { name: "loop", graph: doubling(), feeds: [scalar("f32", 13)], want: [[104], [26, 52, 104]] },
];

const reference = { name: "reference", run: async (g: Graph, feeds: readonly Tensor[]) => evaluate(g, feeds) };

describe.each([reference, ...executors])("$name", ({ run }) => {
  it.each(cases)("$name", async ({ graph: g, feeds, want }) => {
    verifyGraph(g);
    expect((await run(g, feeds)).map(toNumbers)).toEqual(want);
  });
});

describe("control flow in the IR", () => {
  it("captures each value from outside once", () => {
    const outside = tanh([x]);
    const [y] = ifOp(
      flag,
      () => [mul([outside, w])],
      () => [mul([w, outside])],
    );
    const node = y!.def;
    if (node.op !== "if") throw new Error("not an if");
    expect(node.operands).toEqual([flag, outside, w]);
    expect(node.regions.map((r) => r.params.length)).toEqual([2, 2]);
  });
  it("refuses branches that differ", () => {
    const refuse = (no: () => readonly Value[]) => expect(() => ifOp(flag, () => [x], no)).toThrow(ModelError);
    refuse(() => []);
    refuse(() => [one(x)]);
    refuse(() => [np.gt(x, 0)]);
  });
});
