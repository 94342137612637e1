/** The finder of miscompiled nodes, with compilers that are wrong on purpose. */
import { expect, it } from "vitest";
import { describeDivergence, findDivergence, type OpenGraph } from "../../compiler/cli/divergence.js";
import { compile } from "../../compiler/compile.js";
import { type Graph, graph, param, withLoc } from "../../ir/graph.js";
import { mapGraph } from "../../ir/graph-rebuild.js";
import { add, cos, mul, sin, tanh } from "../../ir/ops/elementwise.js";
import { tensorFrom } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";

const x = param("x", { dtype: "f32", shape: [4] });
const first = withLoc("encoder/first", () => tanh([x]));
const second = withLoc("encoder/second", () => mul([first, x]));
const third = withLoc("decoder/third", () => sin([add([second, x])]));
const g = graph("model", [x], [third], ["y"]);
const feeds = { x: tensorFrom("f32", [4], [0.5, -1, 2, 3]) };

const open = async (made: Graph, skipPasses: readonly string[] = []) =>
  load(await compile(made, { variants: ["simd128"], skipPasses }), { threads: 1 });

/** Swaps sin for cos. */
const miscompiled = (made: Graph): Graph => mapGraph(made, (n) => (n.op === "sin" ? [cos(n.operands)] : undefined));

it("finds nothing where the compiler is right", async () => {
  expect(await findDivergence(g, feeds, open)).toEqual({ kind: "none" });
});

it("names the first node that differs, with statistics", async () => {
  const wrong: OpenGraph = (made, skip) => open(miscompiled(made), skip);
  const seen: number[] = [];
  const found = await findDivergence(g, feeds, wrong, (i) => seen.push(i));
  expect(found).toMatchObject({ kind: "node", node: "decoder/third", op: "sin", difference: { count: 4, total: 4 } });
  expect(seen).toEqual([0, 1, 2]);
  expect(describeDivergence(found)).toMatch(/decoder\/third \(sin\): 4 of 4 elements differ: .*relative L2/);
});

it("names the pass where a fault goes when results are kept", async () => {
  const wrong: OpenGraph = (made, skip = []) =>
    open(made.results.length === 1 && !skip.includes("fuse") ? miscompiled(made) : made, skip);
  const found = await findDivergence(g, feeds, wrong);
  expect(found).toMatchObject({ kind: "pass", output: "y", passes: ["fuse"] });
  expect(describeDivergence(found)).toMatch(/it agrees without the pass fuse/);
});
