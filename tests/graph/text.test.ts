import { describe, expect, it } from "vitest";
import { dimAdd, dimFloorDiv, dimMul, dimSymbol } from "../../ir/dim.js";
import { computeDtypes, dtypes } from "../../ir/dtype.js";
import { VerifyError } from "../../ir/errors.js";
import {
  type Attrs,
  type Graph,
  type GraphNode,
  graph,
  makeValue,
  param,
  type Value,
  withLoc,
} from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printGraph } from "../../ir/graph-print.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { makeNode } from "../../ir/op.js";
import { constant } from "../../ir/ops/constant.js";
import { bindDim } from "../../ir/ops/dynamic.js";
import { add, mul, neg } from "../../ir/ops/elementwise.js";
import { ops } from "../../ir/ops/index.js";
import { broadcast, pad, reshape, slice } from "../../ir/ops/movement.js";
import { bytesOf, setElement, type Tensor, tensorFrom, zeros } from "../../ir/tensor.js";

function roundTrip(g: Graph): Graph {
  verifyGraph(g);
  const text = printGraph(g);
  const back = parseGraph(text);
  expect(printGraph(back)).toBe(text);
  verifyGraph(back);
  return back;
}

/** The graph of one sample. */
function sampleGraph(name: string, index: number): Graph {
  const facts = ops.get(name)!;
  const s = facts.samples[index]!;
  const params = s.operands.map((o, i) => param(`x${i}`, { dtype: o.dtype, shape: o.shape }));
  const node = makeNode(facts, params, s.attrs, s.regions?.()) as unknown as GraphNode;
  return graph("g", params, node.results);
}

describe("text form", () => {
  it.each([...ops.keys()])("%s: parse∘print is the identity over its samples", (name) => {
    ops.get(name)!.samples.forEach((s, i) => {
      const g = sampleGraph(name, i);
      const back = roundTrip(g);
      expect(back.results.map((r) => r.type)).toEqual(g.results.map((r) => r.type));
      const node = back.results[0]!.def as GraphNode;
      expect(node.op).toBe(name);
      const written = Object.fromEntries(Object.entries(s.attrs as Attrs).filter(([, v]) => v !== undefined));
      expect(node.attrs).toEqual(written);
    });
  });

  it("keeps names, locations, results, donations, sizes with ranges and bounds", () => {
    const n = dimSymbol("n", { min: 2, max: 64 });
    const m = dimSymbol("m");
    const k = dimSymbol("k.found", { min: 0, bound: dimMul(n, 4) });
    const x = param("x", { dtype: "f32", shape: [n, dimAdd(dimFloorDiv(m, 2), 1)] });
    const w = param("input.1:0/we ird", { dtype: "f32", shape: [m, k] });
    const digits = param("0", { dtype: "f32", shape: [] });
    const y = withLoc('a "quoted" layer\n', () => mul([x, x]));
    const z = withLoc("b", () =>
      slice([w], { starts: [dimAdd(m, -1), 0], sizes: [1, dimFloorDiv(k, 3)], steps: [-1, 1] }),
    );
    const g = graph(
      "my graph",
      [x, w, digits],
      [y, z, neg([digits]), w, digits],
      ["y", "sl ice", "out2", "w", "f32"],
      new Map([
        [0, 0],
        [3, 1],
      ]),
    );
    const back = roundTrip(g);
    expect(back.name).toBe(g.name);
    expect(back.resultNames).toEqual(g.resultNames);
    expect(back.donations).toEqual(g.donations);
    expect(back.params.map((p) => p.type)).toEqual(g.params.map((p) => p.type));
    expect((back.results[0]!.def as GraphNode).loc).toBe('a "quoted" layer\n');
    expect(back.results[1]!.type).toEqual(z.type);
  });

  it("writes one unnamed result like STYLE.md", () => {
    const x = param("x", { dtype: "f32", shape: [2, 3] });
    expect(printGraph(graph("g", [x], [x]))).toBe("graph @g(%x: f32[2,3]) -> f32[2,3] {\n  return %x\n}\n");
    expect(printGraph(graph("g", [x], []))).toBe("graph @g(%x: f32[2,3]) -> () {\n  return\n}\n");
    roundTrip(graph("g", [x], []));
    roundTrip(graph("g", [], [], []));
  });

  it("tells sizes from words", () => {
    const inf = dimSymbol("inf");
    const yes = dimSymbol("true");
    const x = param("x", { dtype: "f32", shape: [inf, yes] });
    const g = graph("g", [x], [reshape([x], { shape: [yes, inf, dimFloorDiv(inf, inf)] })]);
    expect((roundTrip(g).results[0]!.def as GraphNode).attrs).toEqual((g.results[0]!.def as GraphNode).attrs);
  });

  it.each(dtypes)("keeps every bit of %s constants", (dtype) => {
    const exact = (t: Tensor) => {
      const back = roundTrip(graph("g", [], [constant([], { value: t })]));
      const { value } = (back.results[0]!.def as GraphNode & { op: "constant" }).attrs;
      expect(value.shape).toEqual(t.shape);
      expect(bytesOf(value)).toEqual(bytesOf(t));
    };
    const edges = [0, -0, 1, -1, 0.1, 1 / 3, 1e-40, 3.4e38, 1e300, Infinity, -Infinity, Number.NaN, 65504, 5e-324];
    const whole = [0, 1, -1, 2, 100, 127, 255, -128, 2 ** 31, -(2 ** 31), 2 ** 40];
    const isFloat = zeros(dtype, [1]).data instanceof Float32Array || dtype.includes("f");
    exact(tensorFrom(dtype, [isFloat ? edges.length : whole.length], isFloat ? edges : whole.map(BigInt)));
    // Every byte pattern, NaNs with payload among them.
    const patterns = zeros(dtype, [64]);
    let state = 7;
    const bytes = bytesOf(patterns);
    for (let i = 0; i < bytes.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      bytes[i] = dtype === "bool" ? state >>> 31 : state >>> 24;
    }
    if (computeDtypes.includes(dtype as "f32")) exact(patterns);
    else for (let i = 0; i < 64; i++) setElement(patterns, i, isFloat ? i / 7 - 3 : BigInt(i));
    exact(patterns);
    exact({ ...patterns, shape: [2, 32] });
    exact(zeros(dtype, [3, 100]));
    exact(zeros(dtype, [3, 0]));
    exact(zeros(dtype, []));
    const many = zeros(dtype, [300]);
    bytesOf(many)[many.data.BYTES_PER_ELEMENT * 5] = 1;
    exact(many);
  });

  it("cuts constants short for human eyes", () => {
    const c = constant([], { value: tensorFrom("f32", [4], [1, 2, 3, 4]) });
    const text = printGraph(graph("g", [], [c]), { elide: 2 });
    expect(text).toContain("f32[4](1,2,… 2 more)");
    expect(() => parseGraph(text)).toThrow(/2:\d+: expected an element/);
  });

  it("keeps padding values that are not numbers", () => {
    const x = param("x", { dtype: "f32", shape: [2] });
    for (const value of [-Infinity, Infinity, -0, Number.NaN, 1e-7, 1.5e300]) {
      const g = graph("g", [x], [pad([x], { low: [1], high: [0], interior: [0], value })]);
      expect(((roundTrip(g).results[0]!.def as GraphNode).attrs as { value: number }).value).toBe(value);
    }
  });
});

describe("parse errors name the place", () => {
  const line = (body: string) => `graph @g(%x: f32[2,3]) -> f32[2,3] {\n  ${body}\n  return %0\n}`;
  it.each([
    ["%0: f32[2,3] = tranpose %x", /g\.graph:2:18: no op is called "tranpose"/],
    ["%0: f32[2,3] = transpose %x {perm=[1,0]}", /2:3: transpose gives f32\[3,2\], but f32\[2,3\] is written/],
    ["%0: f32[2,3] = transpose %x {perms=[1,0]}", /2:32: transpose has no attribute "perms"/],
    ["%0: f32[2,3] = transpose %x", /2:3: the attributes do not fit/],
    ["%0: f32[2,3] = neg %y", /2:22: %y is not defined here/],
    ["%0: f32[2,3] = add %x", /2:3: add takes operands \(a, b\), but 1 were given/],
    ["%0: f32[2,q] = neg %x", /2:13: size q is not declared/],
    ["%0: f32[2,3] = neg %x\n  %0: f32[2,3] = neg %x", /3:3: %0 is defined twice/],
    ["%0: f32[2,3] = constant {value=f32[2,3](1,2)}", /2 elements are written for 6/],
    ["%0: i8[2] = constant {value=i8[2](1,200)}", /200 is outside the range of i8/],
    ["%0: f32[2,3] = neg %x oops", /2:25: expected "%"/],
    ["%0: f32[2,3 = neg %x", /bad dimension/],
    ['%0: f32[2,3] = neg %x loc "\\q"', /a string is written as in JSON/],
  ])("%s", (body, message) => {
    expect(() => parseGraph(line(body), "g.graph")).toThrow(message);
  });
  it("of the signature", () => {
    expect(() => parseGraph("graph @g() -> f32[] { return }")).toThrow(/0 values are returned, 1 are declared/);
    expect(() => parseGraph("graph @g(%x: f32[2]) -> f32[3] { return %x }")).toThrow(/result 0 is f32\[2\]/);
    expect(() => parseGraph("graph @g(%x: f32[2]) -> f32[2] { return %x } x")).toThrow(/end of the text/);
    expect(() => parseGraph("dim n\ndim n\n")).toThrow(/size n is declared twice/);
    expect(() => parseGraph("")).toThrow(/expected "graph"/);
  });
});

describe("verifier", () => {
  const x = param("x", { dtype: "f32", shape: [2] });
  const refuse = (g: Graph, message: RegExp) => {
    expect(() => verifyGraph(g)).toThrow(VerifyError);
    expect(() => verifyGraph(g)).toThrow(message);
  };
  it("1: signatures", () => {
    refuse(graph("g", [x, param("x", x.type)], []), /two parameters are called x/);
    refuse(graph("g", [x], [x, x], ["a", "a"]), /two results are called a/);
    refuse(graph("g", [x], [x], []), /1 results, 0 names/);
    refuse(graph("g", [neg([x])], []), /a parameter is a result of neg/);
  });
  it("2: closed graphs", () => {
    const other = param("other", x.type);
    refuse(graph("g", [x], [add([x, other])]), /%other is a parameter of another graph\n {2}%0: f32\[2\] = add/);
    refuse(graph("g", [], [x]), /result %x is a parameter of another graph/);
  });
  const forge = (node: Partial<GraphNode>, type = x.type): Value => {
    const results: Value[] = [];
    const made = { op: "neg", operands: [x], attrs: {}, regions: [], results, loc: undefined, ...node } as GraphNode;
    if (node.results === undefined) results.push(makeValue(type, made, 0));
    return made.results[0]!;
  };
  it("3 and 4: nodes and types", () => {
    const y = neg([x]);
    refuse(
      graph("g", [x], [forge({}, { dtype: "f32", shape: [3] })]),
      /result 0 is f32\[3\], but f32\[2\] is inferred/,
    );
    refuse(graph("g", [x], [forge({ op: "frobnicate" as "neg" })]), /no op is called frobnicate/);
    refuse(graph("g", [x], [forge({ operands: [x, x] })]), /neg takes operands|operand/);
    refuse(
      graph(
        "g",
        [x],
        [makeValue(x.type, y.def, 0)].map((v) => neg([v])),
      ),
      /no result of its neg/,
    );
  });
  it("5: attributes", () => {
    refuse(graph("g", [x], [forge({ attrs: { speed: 3 } as never })]), /neg has no attribute speed/);
    const value = { dtype: "f32", shape: [2], data: Float32Array.of(1) } as const;
    refuse(graph("g", [], [constant([], { value })]), /a constant \[2\] has 1 elements/);
  });
  it("6: sizes", () => {
    const n = dimSymbol("n");
    const wide = dimSymbol("n", { min: 0 });
    const a = param("a", { dtype: "f32", shape: [n] });
    const b = param("b", { dtype: "f32", shape: [wide] });
    refuse(graph("g", [a], [broadcast([a], { shape: [wide, n], axes: [1] })]), /size n has two meanings/);
    refuse(graph("g", [b], [broadcast([b], { shape: [dimSymbol("m"), wide], axes: [1] })]), /shape gives the size m/);
    // A size that data decides must be found by a node.
    const k = dimSymbol("k", { bound: n });
    const many = broadcast([a], { shape: [k, n], axes: [1] });
    refuse(graph("g", [a], [many]), /no node finds it/);
    const count = param("count", { dtype: "i64", shape: [] });
    const found = graph("g", [a, count], [many], ["y"], undefined, [bindDim([count], { defines: k })]);
    verifyGraph(found);
    expect(printGraph(parseGraph(printGraph(found)))).toBe(printGraph(found));
  });
  it("7: donations", () => {
    const two = param("y", { dtype: "f32", shape: [3] });
    refuse(graph("g", [x, two], [x], ["r"], new Map([[0, 1]])), /%y: f32\[3\] is donated to r: f32\[2\]/);
    refuse(graph("g", [x], [x], ["r"], new Map([[1, 0]])), /out of range/);
    const both = new Map([
      [0, 0],
      [1, 0],
    ]);
    refuse(graph("g", [x], [x, neg([x])], ["r", "s"], both), /donated twice/);
  });
});
