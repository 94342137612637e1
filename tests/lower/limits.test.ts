/** Sizes that only the data decide, beyond what was planned for: an error, never a result of another size. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { loopOp } from "../../ir/control-build.js";
import { dimSymbol } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, graph, param } from "../../ir/graph.js";
import { iota, scalarConstant } from "../../ir/ops/constant.js";
import { bindDim, range, unknownSize } from "../../ir/ops/dynamic.js";
import { lt } from "../../ir/ops/logic.js";
import { evaluate } from "../../ir/reference.js";
import { scalar } from "../../ir/tensor.js";
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
