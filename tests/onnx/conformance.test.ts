/** ONNX's own tests, by the reference evaluator and compiled: what can be imported gives the expected numbers. */
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importModel } from "../../compiler/onnx/import.js";
import { type OnnxModel, readOnnx } from "../../compiler/onnx/model.js";
import type { DType } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { compareValue, flattenInput, flattenStructure } from "./compare.js";
import { type ConformanceTest, conformanceTests, decodeValue, hasConformance, opClasses } from "./data.js";
import { EXPECTED_FAILURES } from "./expected-failures.js";

const kindOf = (type: OnnxModel["graph"]["inputs"][number]["type"]) => {
  const kind = type?.kind ?? "tensor";
  if (kind === "unsupported") throw new ModelError("a value of an unsupported type");
  return kind;
};

interface Given {
  readonly feeds: Record<string, Tensor>;
  readonly structures: Record<string, number | boolean>;
  readonly shapes: Record<string, number[]>;
}

/** Imports, fixing those inputs that the importer asks to be constants (target shapes, axes …). */
export function importFixing(model: OnnxModel, { feeds, structures, shapes }: Given) {
  const values: Record<string, Tensor> = {};
  for (;;) {
    try {
      // Sizes that the data decide are small here; memory is planned for their bound.
      return importModel(model, { values, structures, shapes, maxUnknownSize: 64 });
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      const asked = error.problems.flatMap((p) => [...(p.hint ?? "").matchAll(/"([^"]*)": …/g)].map((m) => m[1]!));
      const fresh = asked.filter((name) => !Object.hasOwn(values, name) && Object.hasOwn(feeds, name));
      if (fresh.length === 0) throw error;
      for (const name of fresh) values[name] = feeds[name]!;
    }
  }
}

/** Computes the results of a graph, in order. */
type Engine = (graph: Graph, feeds: Readonly<Record<string, Tensor>>) => Promise<readonly Tensor[]>;

const byReference: Engine = async (graph, feeds) => evaluate(graph, feeds);

const byCompiler: Engine = async (graph, feeds) => {
  const session = await load(await compile(graph, { variants: ["simd128"] }), { threads: 1 });
  try {
    const own = graph.params.map((p) => (p.def.op === "param" ? [p.def.name, feeds[p.def.name]!] : []));
    const results = await session.run(Object.fromEntries(own) as never);
    return graph.resultNames.map((name) => results[name] as Tensor);
  } finally {
    session.dispose();
  }
};

/** undefined if the test passes, else what is wrong. Throws ModelError where the model can't be imported. */
async function run(test: ConformanceTest, engine: Engine): Promise<string | undefined> {
  const model = readOnnx(test.model);
  const given: Given = { feeds: {}, structures: {}, shapes: {} };
  model.graph.inputs.forEach(({ name, type }, i) => {
    const kind = kindOf(type);
    flattenInput(name, decodeValue(test.inputs[i]!, kind, name), kind, given);
  });
  const { graph, outputs } = importFixing(model, given);
  const results = await engine(graph, given.feeds);
  for (const [i, { name, structure }] of outputs.entries()) {
    const want = decodeValue(test.outputs[i]!, kindOf(model.graph.outputs[i]!.type), name);
    const got = flattenStructure(structure, results);
    const wrong = compareValue(got, want, { shapeOnly: test.notes.includes("random"), test: test.name });
    if (wrong) return `${name}: ${wrong}`;
  }
  return undefined;
}

/** What is wrong with the test, or why its model is refused; undefined if it passes. */
async function outcome(test: ConformanceTest, engine: Engine): Promise<string | undefined> {
  try {
    return await run(test, engine);
  } catch (error) {
    if (error instanceof ModelError) return `refused: ${error.problems[0]?.message}`;
    return `crashed: ${error}`;
  }
}

const PLAIN: ReadonlySet<string | undefined> = new Set<DType>([
  ...(["f16", "f32", "f64", "bool"] as const),
  ...(["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"] as const),
]);

/** Whether inputs and outputs are tensors of plain numeric types. */
function isPlain(test: ConformanceTest): boolean {
  const { inputs, outputs } = readOnnx(test.model).graph;
  return [...inputs, ...outputs].every(({ type }) => type?.kind === "tensor" && PLAIN.has(type.dtype));
}

/** Shares of the tests that must pass, whatever the list says. */
const LEAST = { plain: 0.97, all: 0.88 };

/** Checks that exactly the tests of the list fail, and counts those that pass by class. */
async function check(tests: readonly ConformanceTest[], engine: Engine): Promise<void> {
  const classes = opClasses();
  const counts: Record<string, { passed: number; all: number }> = {};
  const failures: Record<string, string> = {};
  const shares = { plain: { passed: 0, all: 0 }, all: { passed: 0, all: 0 } };
  for (const test of tests) {
    const problem = await outcome(test, engine);
    if (problem !== undefined) failures[`${test.suite}/${test.name}`] = problem;
    const key = test.op === "" ? "several ops" : (classes.get(`:${test.op}`) ?? "other domains");
    counts[key] ??= { passed: 0, all: 0 };
    counts[key].all++;
    if (problem === undefined) counts[key].passed++;
    const plain = (key === "A" || key === "B") && isPlain(test);
    for (const share of plain ? [shares.all, shares.plain] : [shares.all]) {
      share.all++;
      if (problem === undefined) share.passed++;
    }
  }
  console.log("conformance by class:", JSON.stringify(counts), JSON.stringify(shares));
  for (const kind of ["plain", "all"] as const)
    expect(shares[kind].passed / shares[kind].all, kind).toBeGreaterThanOrEqual(LEAST[kind]);
  const unexpected = Object.entries(failures).filter(([name]) => !Object.hasOwn(EXPECTED_FAILURES, name));
  expect(unexpected).toEqual([]);
  expect(Object.keys(failures).sort()).toEqual(Object.keys(EXPECTED_FAILURES).sort());
}

describe.skipIf(!hasConformance)("conformance", () => {
  it("of the reference evaluator", { timeout: 300_000 }, () =>
    // Whole image classifiers would take it minutes.
    check(
      conformanceTests().filter((t) => t.suite !== "light"),
      byReference,
    ),
  );

  it("of compiled programs", { timeout: 900_000 }, () => check(conformanceTests(), byCompiler));
});
