/** Sizes that only the data decide, beyond what was planned for: an error, never a result of another size. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { ifOp, loopOp } from "../../ir/control-build.js";
import { type Dim, dimAdd, dimSymbol } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, graph, param } from "../../ir/graph.js";
import { iota, scalarConstant } from "../../ir/ops/constant.js";
import { bindDim, range, unknownSize } from "../../ir/ops/dynamic.js";
import { add } from "../../ir/ops/elementwise.js";
import { lt } from "../../ir/ops/logic.js";
import { slice } from "../../ir/ops/movement.js";
import { sum } from "../../ir/ops/reduce.js";
import { evaluate } from "../../ir/reference.js";
import { scalar, tensorFrom } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";

const k = param("k", { dtype: "i64", shape: [] });
const zero = scalarConstant("i64", 0);
const one = scalarConstant("i64", 1);

function bound(min: number): Graph {
  const size = unknownSize("size", 8, min);
  const steps = iota([], { dtype: "i64", shape: [size], axis: 0 });
  return graph("bound", [k], [steps], ["y"], undefined, [bindDim([k], { defines: size })]);
}

function counted(): Graph {
  return graph("counted", [k], [range([zero, k, one], { defines: unknownSize("size", 8) })], ["y"]);
}

function repeated(): Graph {
  const trips = unknownSize("trips", 8);
  const made = loopOp({ tripCount: k, carried: [], trips, defines: [trips] }, (i) => ({ carried: [], scanned: [i] }));
  return graph("repeated", [k], made.scanned, ["y"]);
}

/** Ends by its condition. */
function searching(): Graph {
  const trips = unknownSize("trips", 8);
  const made = loopOp({ carried: [], trips, defines: [trips] }, (i) => ({
    condition: lt([i, k]),
    carried: [],
    scanned: [i],
  }));
  return graph("searching", [k], made.scanned, ["y"]);
}

describe.each([
  ["bindDim", bound(0), 8],
  ["bindDim with a minimum", bound(3), 8],
  ["range", counted(), 8],
  ["loop", repeated(), 8],
  ["loop that ends by its condition", searching(), 7],
] as const)("%s", (name, g, most) => {
  it("runs up to its bound, and refuses more", async () => {
    const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
    const run = (value: number) => session.run({ k: BigInt64Array.of(BigInt(value)) });
    const before = await run(most);
    for (const value of name.endsWith("minimum") ? [most + 1, 2 ** 40, 2, -1] : [most + 1, 2 ** 40]) {
      await expect(run(value)).rejects.toThrow(/planned for/);
      await expect(run(value)).rejects.toMatchObject({ name: "ModelError" });
    }
    // The session works on.
    expect(await run(most)).toEqual(before);
    expect((await run(most)).y!.data).toHaveLength(8);
    session.dispose();
  });
});

it("is what the reference refuses too", () => {
  expect(() => evaluate(bound(0), { k: scalar("i64", 9) })).toThrow(ModelError);
  expect(() => evaluate(counted(), { k: scalar("i64", 9) })).toThrow(ModelError);
});

it("allows what a dim bounds", async () => {
  const n = dimSymbol("n", { min: 0, max: 100 });
  const x = param("x", { dtype: "f32", shape: [n] });
  const size = unknownSize("size", n);
  const g = graph("g", [x, k], [iota([], { dtype: "i64", shape: [size], axis: 0 })], ["y"], undefined, [
    bindDim([k], { defines: size }),
  ]);
  const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
  const run = (count: number, value: number) =>
    session.run({ x: new Float32Array(count), k: BigInt64Array.of(BigInt(value)) });
  expect((await run(5, 5)).y!.data).toHaveLength(5);
  await expect(run(4, 5)).rejects.toThrow(/0 to n/);
});

describe("sizes that inference takes to fit", () => {
  const [a, b] = ["a", "b"].map((name) => dimSymbol(name, { min: 0 })) as [Dim, Dim];
  const vector = (name: string, size: Dim) => param(name, { dtype: "f32", shape: [size] });
  const data = (count: number) => Float32Array.from({ length: count }, (_, i) => i);

  it("must be equal where an op takes them as equal", async () => {
    const [x, y] = [vector("x", a), vector("y", b)];
    const g = graph("g", [x, y], [add([x, y])], ["z"]);
    const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
    expect((await session.run({ x: data(3), y: data(3) })).z!.data).toEqual(Float32Array.of(0, 2, 4));
    for (const [m, n] of [
      [3, 5],
      [5, 3],
      [5, 1],
    ] as const) {
      await expect(session.run({ x: data(m), y: data(n) })).rejects.toThrow(/a must equal b/);
      const feeds = { x: tensorFrom("f32", [m], data(m)), y: tensorFrom("f32", [n], data(n)) };
      expect(() => evaluate(g, feeds)).toThrow(/a must equal b/);
    }
    expect((await session.run({ x: data(2), y: data(2) })).z!.data).toEqual(Float32Array.of(0, 2));
    session.dispose();
  });

  it("must leave no size negative, and a slice inside", async () => {
    const x = vector("x", a);
    const head = slice([x], { starts: [2], sizes: [dimAdd(a, -2)], steps: [1] });
    const back = slice([x], { starts: [dimAdd(a, -2)], sizes: [3], steps: [-1] });
    const session = await load(
      await compile(graph("g", [x], [head, back], ["head", "back"]), { variants: ["simd128"] }),
      { threads: 1 },
    );
    expect((await session.run({ x: data(4) })).back!.data).toEqual(Float32Array.of(2, 1, 0));
    await expect(session.run({ x: data(3) })).rejects.toThrow(/must lie inside axis 0/);
    await expect(session.run({ x: data(1) })).rejects.toThrow(
      /-2 \+ a must not be negative|a - 2 must not be negative/,
    );
    session.dispose();
  });

  it("are checked in the branch that runs, not in the other", async () => {
    const x = vector("x", a);
    const short = param("short", { dtype: "bool", shape: [] });
    const [y] = ifOp(
      short,
      () => [sum([slice([x], { starts: [0], sizes: [2], steps: [1] })], { axes: [0], keepDims: false })],
      () => [sum([slice([x], { starts: [0], sizes: [8], steps: [1] })], { axes: [0], keepDims: false })],
    );
    const g = graph("g", [x, short], [y!], ["y"]);
    const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
    const run = async (count: number, flag: number) =>
      (await session.run({ x: data(count), short: Uint8Array.of(flag) })).y!.data[0];
    expect(await run(3, 1)).toBe(1);
    expect(await run(8, 0)).toBe(28);
    await expect(run(3, 0)).rejects.toThrow(/must lie inside axis 0/);
    expect(await run(8, 0)).toBe(28);
    session.dispose();
  });
});
