/** A kernel is a row: with it, `decompose`, `fuse` and lowering take what it serves, and nothing else has to be told. */

import { describe, expect, it } from "vitest";
import type { Epilogue } from "../../compiler/kernels/epilogue.js";
import type { Kernel } from "../../compiler/kernels/kernel.js";
import { int } from "../../compiler/kernels/tile.js";
import type { KernelRow } from "../../compiler/lower/core/kernel-row.js";
import { addMicroKernel, viewArg } from "../../compiler/lower/core/micro-kernel.js";
import { sizeOf } from "../../compiler/lower/core/place.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import type { KernelRegistry } from "../../compiler/lower/registry.js";
import { kernels } from "../../compiler/lower/table.js";
import { type Graph, graph, graphNodes, param, type TensorType } from "../../ir/graph.js";
import type { Expr } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, convert, div, f32, i32, load, mul, named, param as paramOf, pointer, sqrt } from "../../ir/loop-build.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { add as addOp } from "../../ir/ops/elementwise.js";
import { rmsNorm } from "../../ir/ops/normalize.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { pipelineFor, runPipeline } from "../../passes/pipeline.js";
import { runAll } from "./run.js";

/** y[r, c] = epilogue(x[r, c] / √(mean over the row of x² + ε)). */
function rmsRows(epilogue: Epilogue): Kernel {
  const own = [
    int("begin"),
    int("end"),
    pointer("x", "f32"),
    pointer("y", "f32"),
    int("n"),
    { name: "epsilon", type: "f32" },
  ] as const;
  const fn = buildFunction(`f32_rms_rows_${epilogue.name}`, [...own, ...epilogue.params], undefined, (f) => {
    const { begin, end, x, y, n, epsilon } = named(own);
    f.for("r", begin, end, 1, (row) => {
      const from = f.let("from", mul(row, n));
      const at = (c: Expr) => add(from, c);
      const squares = f.mut("squares", f32(0));
      f.for("c", i32(0), n, 1, (c) => {
        const v = f.let("v", load("f32", "f32", x, at(c)));
        f.assign(squares, add(squares, mul(v, v)));
      });
      const root = f.let("root", sqrt(add(div(squares, convert("f32.from_i32S", n)), epsilon)));
      f.for("d", i32(0), n, 1, (column) => {
        const sum = f.let("sum", div(load("f32", "f32", x, at(column)), root));
        const value = epilogue.apply(f, sum, { batch: i32(0), row, column }, epilogue.params.map(paramOf));
        f.store("f32", y, at(column), value);
      });
    });
  });
  return { fn, helpers: [] };
}

const rowsOf = ({ shape }: TensorType) => ({ rows: sizeOf(shape.slice(0, -1)), columns: shape.at(-1)! });

const row: KernelRow<"rmsNorm"> = {
  name: "rows",
  serves: ({ operands: [x, scale], attrs }) => x!.type.dtype === "f32" && scale === undefined && attrs.axis === -1,
  matrix: ({ results: [y] }) => ({ batch: 1, ...rowsOf(y!.type) }),
  store: (ctx, { operands: [x], attrs, loc }, to, finish) => {
    const { rows, columns } = rowsOf(x!.type);
    addMicroKernel(ctx, {
      kernel: rmsRows(finish.epilogue),
      chunks: rows,
      args: {
        x: viewArg(ctx.view(x!), "read"),
        y: viewArg(to, "write"),
        n: columns,
        epsilon: { kind: "f32", value: attrs.epsilon },
      },
      epilogue: finish.args,
      loc,
    });
  },
};

const more = kernels.with("rmsNorm", row);
const type = { dtype: "f32", shape: [3, 7] } as const;
const x = param("x", type);
const other = param("other", type);
const feeds = [7, 3].map((m) =>
  tensorFrom(
    "f32",
    [3, 7],
    Array.from({ length: 21 }, (_, i) => ((i * 5) % m) - 1.5),
  ),
);

function optimized(g: Graph, among: KernelRegistry): Graph {
  return runPipeline(pipelineFor(among), g, { verify: true });
}

const opsOf = (g: Graph): readonly string[] =>
  graphNodes(g).flatMap((n) => [n.op, ...n.regions.flatMap((r) => opsOf(r))]);

const namesOf = (g: Graph, among: KernelRegistry): readonly string[] =>
  lowerGraph(g, { kernels: among }).steps.flatMap((s) => (s.kind === "kernel" ? [s.fn.name] : []));

async function check(g: Graph): Promise<void> {
  const given = feeds.slice(0, g.params.length);
  const [[got]] = (await runAll([{ graph: optimized(g, more), runs: [given] }], { kernels: more })) as [
    [readonly Tensor[]],
  ];
  const [want] = evaluate(g, given);
  want!.data.forEach((v, i) => {
    expect(got[0]!.data[i]).toBeCloseTo(Number(v), 5);
  });
}

describe("a row of a composite", () => {
  const alone = graph("g", [x], [rmsNorm([x], { axis: -1, epsilon: 1e-3 })]);

  it("keeps it whole, and lowers it", async () => {
    expect(opsOf(optimized(alone, kernels))).not.toContain("rmsNorm");
    const g = optimized(alone, more);
    expect(opsOf(g)).toContain("rmsNorm");
    expect(namesOf(g, more)).toEqual([expect.stringMatching(/^f32_rms_rows_/)]);
    await check(alone);
  });

  it("takes what follows as its epilogue, as it says", async () => {
    const after = graph("g", [x, other], [addOp([rmsNorm([x], { axis: -1, epsilon: 1e-3 }), other])]);
    const g = optimized(after, more);
    expect(opsOf(g).slice(0, 3)).toEqual(["fusion", "rmsNorm", "add"]);
    expect(namesOf(g, more)).toEqual([expect.stringMatching(/^f32_rms_rows_add/)]);
    await check(after);
  });

  it("leaves to others what it does not serve", () => {
    const scaled = graph("g", [x], [rmsNorm([x], { axis: 0, epsilon: 1e-3 })]);
    expect(opsOf(optimized(scaled, more))).not.toContain("rmsNorm");
  });
});

describe("rows of an op", () => {
  const [a, b] = [param("a", { dtype: "f32", shape: [4, 4] }), param("b", { dtype: "f32", shape: [4, 4] })];
  const product = dotGeneral([a, b], { batchA: [], batchB: [], contractA: [1], contractB: [0] });
  const g = graph("g", [a, b], [product]);
  const idle = (cost?: number): KernelRow<"dotGeneral"> => ({
    name: "idle",
    lower: (ctx, { operands: [first], results: [y] }) => ctx.define(y!, ctx.view(first!)),
    ...(cost === undefined ? {} : { cost: () => cost }),
  });

  it("are chosen by cost, and by order where it is equal", () => {
    expect(namesOf(g, kernels.with("dotGeneral", idle()))).toEqual([]);
    expect(namesOf(g, kernels.with("dotGeneral", idle(1)))).toHaveLength(1);
  });

  it("have names of their own", () => {
    expect(() => kernels.with("dotGeneral", idle()).with("dotGeneral", idle())).toThrow("dotGeneral/idle");
  });
});
