/** What the documents show is so: examples parse, quoted code is the code, the op reference is that of the ops. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { graph, param } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printGraph } from "../../ir/graph-print.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { parseLoopModule } from "../../ir/loop-parse.js";
import { printLoopModule } from "../../ir/loop-print.js";
import { verifyLoop } from "../../ir/loop-verify.js";
import { sum } from "../../ir/ops/reduce.js";
import { evaluate } from "../../ir/reference.js";
import { tensorFrom, toNumbers } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { withReference } from "../../scripts/generate-op-reference.js";
import { copysign, squaredRelu } from "./example-ops.js";

const docs = join(import.meta.dirname, "../../docs");
const read = (name: string) => readFileSync(join(docs, name), "utf8");
const blocks = (text: string, language: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))].map((m) => m[1]!);

const pages = readdirSync(docs).filter((f) => f.endsWith(".md"));

it.each(pages)("graphs in %s read back as they are", (page) => {
  for (const text of blocks(read(page), "graph")) {
    const g = parseGraph(text, page);
    verifyGraph(g);
    expect(printGraph(g)).toBe(text.replace(/^\/\/.*\n/gm, ""));
  }
});

it.each(pages)("kernels in %s read back as they are", (page) => {
  for (const text of blocks(read(page), "loop")) {
    const m = parseLoopModule(text, page);
    verifyLoop(m);
    expect(printLoopModule(m)).toBe(text);
  }
});

it("the op reference is up to date (npx tsx scripts/generate-op-reference.ts)", () => {
  expect(read("IR.md") === withReference(read("IR.md"))).toBe(true);
});

it("ADDING-AN-OP quotes ops that work", () => {
  const source = readFileSync(join(import.meta.dirname, "example-ops.ts"), "utf8");
  const examples = [...source.matchAll(/^\/\/ example: \w+\n(.*?)^\/\/ end/gms)].map((m) => m[1]!);
  expect(examples).toHaveLength(2);
  for (const e of examples) expect(read("ADDING-AN-OP.md")).toContain(e);

  const x = param("x", { dtype: "f32", shape: [3] });
  if (squaredRelu.kind !== "composite" || copysign.kind !== "primitive") throw new Error("kinds are mixed up");
  const made = squaredRelu.decompose([x], {}, []);
  const y = Array.isArray(made) ? made[0]! : made;
  const [d] = gradients(sum([y], { axes: [0], keepDims: false }), [x]);
  const results = evaluate(graph("g", [x], [y, d!]), [tensorFrom("f32", [3], [-1, 2, 3])]);
  expect(results.map(toNumbers)).toEqual([
    [0, 4, 9],
    [0, 4, 6],
  ]);
  const signs = [tensorFrom("f32", [3], [1, -2, 3]), tensorFrom("f32", [3], [-0, 5, -1])] as const;
  const types = copysign.infer(
    signs.map((t) => ({ dtype: t.dtype, shape: t.shape })),
    {},
    [],
  );
  const run = () => [];
  const context = { attrs: {}, types: [types].flat(), regions: [], run, dim: Number, bind: () => {} };
  expect(toNumbers([copysign.reference([...signs], context)].flat()[0]!)).toEqual([-1, 2, -3]);
});
