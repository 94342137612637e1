/** A product whose epilogue adds something may lie over that where each element is read only for the one that is stored there. */

import { describe, expect, it } from "vitest";
import { KernelPool } from "../../compiler/lower/core/kernel-builder.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { kernels } from "../../compiler/lower/table.js";
import { graph, param, type Value } from "../../ir/graph.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { add } from "../../ir/ops/elementwise.js";
import { broadcast, reshape, slice, transpose } from "../../ir/ops/movement.js";
import { fuse } from "../../passes/graph/fuse.js";

const type = { dtype: "f32", shape: [6, 6] } as const;

/** Views that the kernel of a·b + f(c) may store over, by name. */
function over(f: (c: Value) => Value): readonly (string | undefined)[] {
  const [a, b, c] = ["a", "b", "c"].map((n) => param(n, type)) as [Value, Value, Value];
  const product = dotGeneral([a, b], { batchA: [], batchB: [], contractA: [0], contractB: [0] });
  const g = fuse(kernels).run(graph("main", [a, b, c], [add([product, f(c)])]));
  const steps = lowerGraph(g, { pool: new KernelPool() }).steps.filter((s) => s.kind === "kernel");
  const products = steps.filter((k) => k.fn.name.includes("gemm"));
  expect(products).toHaveLength(1);
  return products[0]!.inPlace.map(([to, from]) => {
    const [written, read] = [products[0]!.args[to]!, products[0]!.args[from]!];
    if (written.kind !== "view" || read.kind !== "view") throw new Error("a pair of no views");
    expect(written.access).toBe("write");
    return "name" in read.view.buffer.source ? read.view.buffer.source.name : undefined;
  });
}

describe("products in place", () => {
  it("lie over what is added element by element", () => {
    expect(over((c) => c)).toEqual(["c"]);
    expect(over((c) => reshape([reshape([c], { shape: [36] })], { shape: [6, 6] }))).toEqual(["c"]);
  });

  it("do not lie over what is read in another order, or for several elements", () => {
    expect(over((c) => slice([c], { starts: [5, 0], sizes: [6, 6], steps: [-1, 1] }))).toEqual([]);
    expect(over((c) => transpose([c], { perm: [1, 0] }))).toEqual([]);
    const row = (c: Value) => reshape([slice([c], { starts: [0, 0], sizes: [1, 6], steps: [1, 1] })], { shape: [6] });
    expect(over((c) => broadcast([row(c)], { shape: [6, 6], axes: [1] }))).toEqual([]);
  });
});
