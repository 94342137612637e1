import { expect, it } from "vitest";
import { graph, graphNodes, param } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { gather } from "../../ir/ops/indexing.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { shareTransposes } from "../../passes/graph/share-transposes.js";

const transposed = ({ dtype, shape: [rows, columns], data }: Tensor): Tensor =>
  tensorFrom(
    dtype,
    [columns!, rows!],
    Array.from({ length: data.length }, (_, i) => data[(i % rows!) * columns! + Math.floor(i / rows!)]!),
  );

const embedding = (rows: number, columns: number, seed = 1): Tensor =>
  tensorFrom(
    "f32",
    [rows, columns],
    Array.from({ length: rows * columns }, (_, i) => Math.sin(seed * (i + 1))),
  );

function tied(table: Tensor, head: Tensor) {
  const ids = param("ids", { dtype: "i64", shape: [3] });
  const rows = gather([constant([], { value: table }), ids], { axis: 0 });
  const attrs = { batchA: [], batchB: [], contractA: [1], contractB: [0] };
  return graph("tied", [ids], [dotGeneral([rows, constant([], { value: head })], attrs)]);
}

const constants = (g: ReturnType<typeof tied>) => graphNodes(g).filter((n) => n.op === "constant").length;

it.each([
  [70, 40],
  [40, 70],
  [64, 64],
  [9, 200],
])("a table of %i × %i and its transpose are one", (rows, columns) => {
  const table = embedding(rows, columns);
  const g = tied(table, transposed(table));
  const shared = shareTransposes.run(g);
  expect([constants(g), constants(shared)]).toEqual([2, 1]);
  const ids = tensorFrom("i64", [3], [0, 5, 8]);
  expect(evaluate(shared, [ids])).toEqual(evaluate(g, [ids]));
});

it("what differs in one element, or is small, stays", () => {
  const table = embedding(70, 40);
  const other = transposed(table);
  other.data[1234] = 7;
  const g = tied(table, other);
  expect(shareTransposes.run(g)).toBe(g);
  const small = tied(embedding(5, 4), transposed(embedding(5, 4)));
  expect(shareTransposes.run(small)).toBe(small);
});
