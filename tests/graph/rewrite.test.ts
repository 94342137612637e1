import { describe, expect, it } from "vitest";
import { InternalError, VerifyError } from "../../ir/errors.js";
import { type Graph, graph, graphNodes, param, type Value, withLoc } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printGraph } from "../../ir/graph-print.js";
import { constant, full } from "../../ir/ops/constant.js";
import { abs, add, exp, mul, neg, sub } from "../../ir/ops/elementwise.js";
import { transpose } from "../../ir/ops/movement.js";
import { tensorFrom } from "../../ir/tensor.js";
import type { GraphPass } from "../../passes/pass.js";
import { any, node, op, rule, splat } from "../../passes/pattern.js";
import { type PassEvent, type PassFailure, passSummary, runPipeline } from "../../passes/pipeline.js";
import { rewritePass } from "../../passes/rewrite.js";

const x = param("x", { dtype: "f32", shape: [2, 3] });
const y = param("y", { dtype: "f32", shape: [2, 3] });
const opsOf = (g: Graph) => graphNodes(g).map((n) => n.op);

const transposes = rewritePass("transposes", [
  rule("transpose-of-transpose", op("transpose", [op("transpose", [any("x")], "p")], "q"), ({ x, p, q }) =>
    transpose([x], { perm: q.attrs.perm.map((i) => p.attrs.perm[i]!) }),
  ),
  rule("transpose-identity", op("transpose", [any("x")], "t"), ({ x, t }) =>
    t.attrs.perm.every((p, i) => p === i) ? x : undefined,
  ),
]);

describe("rewriting", () => {
  it("binds by type, matches nested, reaches the fixpoint", () => {
    let v = x;
    for (let i = 0; i < 6; i++) v = transpose([v], { perm: [1, 0] });
    expect(transposes.run(graph("g", [x], [v])).results[0]).toBe(x);
  });

  it("returns the same graph when nothing matches", () => {
    const g = graph("g", [x], [neg([x])]);
    expect(transposes.run(g)).toBe(g);
  });

  it("matches a name that stands twice only with one value", () => {
    const pass = rewritePass("p", [
      rule("twice", op("add", [any("a"), any("a")]), ({ a }) => mul([a, full("f32", [2, 3], 2)])),
    ]);
    expect(opsOf(pass.run(graph("g", [x, y], [add([x, y])])))).toEqual(["add"]);
    expect(opsOf(pass.run(graph("g", [x, y], [add([x, x])])))).toContain("mul");
  });

  it("matches splats through broadcasts, by value and sign of zero", () => {
    const zero = rewritePass("p", [
      rule("z", op("add", [any("a"), splat("s", -0)]), ({ a, s }) => (s.value === 0 ? a : undefined)),
    ]);
    const run = (v: number) => opsOf(zero.run(graph("g", [x], [add([x, full("f32", [2, 3], v)])])));
    expect(run(-0)).toEqual([]);
    expect(run(0)).toContain("add");
    const dense = constant([], { value: tensorFrom("f32", [2, 3], new Array(6).fill(-0)) });
    expect(opsOf(zero.run(graph("g", [x], [add([x, dense])])))).toEqual([]);
  });

  it("keeps the location of what it replaces", () => {
    const pass = rewritePass("p", [rule("r", op("sub", [any("a"), any("b")]), ({ a, b }) => add([a, neg([b])]))]);
    const out = pass.run(graph("g", [x, y], [withLoc("layer", () => sub([x, y]))]));
    expect(graphNodes(out).map((n) => n.loc)).toEqual(["layer", "layer"]);
  });

  it("is linear: a chain of ten thousand nodes", () => {
    let v = x;
    for (let i = 0; i < 10_000; i++) v = neg([v]);
    const pass = rewritePass("p", [rule("nn", op("neg", [op("neg", [any("a")])]), ({ a }) => a)]);
    const start = performance.now();
    expect(pass.run(graph("g", [x], [v])).results[0]).toBe(x);
    // Pushing one node through the whole chain nests no calls.
    const swap = rewritePass("p", [rule("s", op("abs", [op("neg", [any("a")])]), ({ a }) => neg([abs([a])]))]);
    expect(opsOf(swap.run(graph("g", [x], [abs([v])])))[0]).toBe("abs");
    expect(performance.now() - start).toBeLessThan(5000);
  });

  it("reports rules that do not end, that build on themselves, that change types", () => {
    const g = graph("g", [x], [neg([x])]);
    const run = (build: Parameters<typeof rule>[2]) =>
      rewritePass("p", [rule("bad", node(["neg", "abs"]), build)]).run(g);
    expect(() => run((_, n) => (n.op === "neg" ? abs([x]) : neg([x])))).toThrow(
      /do not come to an end; the last was bad/,
    );
    expect(() => run((_, n) => exp([n.results[0]!]))).toThrow(InternalError);
    expect(() => run(() => transpose([x], { perm: [1, 0] }))).toThrow(/rule bad replaces neg by f32\[3,2\] instead of/);
    expect(() => run(() => [x, x])).toThrow(/2 values instead of 1/);
  });
});

describe("pipeline", () => {
  const g = graph("g", [x], [transpose([transpose([x], { perm: [1, 0] })], { perm: [1, 0] })]);

  it("tells what each pass did", () => {
    const events: PassEvent[] = [];
    const graphs: string[] = [];
    runPipeline([transposes, transposes], g, {
      verify: true,
      onPass: (e) => events.push(e),
      onGraph: (name) => graphs.push(name),
    });
    expect(graphs).toEqual(["input", "transposes"]);
    expect(events.map((e) => e.changed)).toEqual([true, false]);
    expect([...events[0]!.rules]).toEqual([
      ["transpose-of-transpose", 1],
      ["transpose-identity", 1],
    ]);
    expect(passSummary(events[0]!)).toMatch(/^transposes: 2 → 0 nodes, [\d.]+ ms; transpose-of-transpose ×1, /);
  });

  it("names the pass that broke the graph and makes a reproduction", () => {
    const breaking: GraphPass = { name: "break", run: (h) => graph(h.name, h.params, [y], h.resultNames) };
    const failures: PassFailure[] = [];
    expect(() => runPipeline([transposes, breaking], g, { verify: true, onFailure: (f) => failures.push(f) })).toThrow(
      VerifyError,
    );
    expect(failures).toHaveLength(1);
    expect(failures[0]!.pass).toBe("break");
    const [run, ...rest] = failures[0]!.repro.split("\n");
    expect(run).toBe("// RUN: break");
    expect(printGraph(parseGraph(rest.join("\n")))).toBe(printGraph(graph("g", [x], [x])));
  });

  it("names the pass that changed what the graph gives", () => {
    const h = graph("g", [x], [neg([x])], ["y"]);
    const giving = (name: string, results: readonly Value[]): GraphPass => ({
      name,
      run: () => graph("g", [x], results),
    });
    const run = (pass: GraphPass) => runPipeline([pass], h, { verify: true });
    expect(() => run(giving("fewer", []))).toThrow(/fewer.*result y.*gone/);
    expect(() => run(giving("turned", [transpose([x], { perm: [1, 0] })]))).toThrow(
      /turned.*was f32\[2,3\] and is f32\[3,2\]/,
    );
    expect(() => run(giving("other", [abs([x])]))).not.toThrow();
  });

  it("limits firings for bisection", () => {
    let left = 1;
    const out = runPipeline([transposes], g, { trace: { mayFire: () => left-- > 0 } });
    expect(opsOf(out)).toEqual(["transpose"]);
  });
});
