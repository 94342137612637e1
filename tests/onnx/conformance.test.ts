/**
 * ONNX's own tests, by the reference evaluator and compiled, with nothing but model and feeds given: what can be imported gives the
 * expected numbers.
 */
import { describe, expect, it } from "vitest";
import { type ModelValue, outputsFrom } from "../../compiler/late/binding.js";
import { compileFor, importFor } from "../../compiler/late/compile-for.js";
import { Facts } from "../../compiler/late/facts.js";
import { flattenFeeds, type ModelFeed, type ModelFeeds } from "../../compiler/late/feeds.js";
import { type OnnxModel, readOnnx } from "../../compiler/onnx/model.js";
import type { DType } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { compareValue } from "./compare.js";
import { type ConformanceTest, conformanceTests, decodeValue, hasConformance, opClasses } from "./data.js";
import { EXPECTED_FAILURES } from "./expected-failures.js";

const kindOf = (type: OnnxModel["graph"]["inputs"][number]["type"]) => {
  const kind = type?.kind ?? "tensor";
  if (kind === "unsupported") throw new ModelError("a value of an unsupported type");
  return kind;
};

/** What a user has of a test: the model and the feeds, nothing else. */
interface Given {
  readonly bytes: Uint8Array;
  readonly model: OnnxModel;
  readonly feeds: ModelFeeds;
}

/** Computes the model's outputs. */
type Engine = (given: Given) => Promise<Readonly<Record<string, ModelValue>>>;

const byReference: Engine = async ({ model, feeds }) => {
  const flat = flattenFeeds(model.graph.inputs, feeds);
  const { graph, specialization } = importFor(model, new Facts(flat));
  const results = evaluate(graph, Object.fromEntries(flat.tensors));
  return outputsFrom(
    specialization.outputs,
    Object.fromEntries(graph.resultNames.map((name, i) => [name, results[i]!])),
  );
};

const byCompiler: Engine = async ({ bytes, feeds }) => {
  const artifact = await compileFor(bytes, feeds, { variants: ["simd128"] });
  const session = await load(artifact, { threads: 1 });
  try {
    return artifact.outputsOf((await session.run(artifact.inputsOf(feeds) as never)) as Record<string, Tensor>);
  } finally {
    session.dispose();
  }
};

/** undefined if the test passes, else what is wrong. Throws ModelError where the model can't be imported. */
async function run(test: ConformanceTest, engine: Engine): Promise<string | undefined> {
  const model = readOnnx(test.model);
  const { inputs, outputs } = model.graph;
  const feeds = Object.fromEntries(
    inputs.map(({ name, type }, i) => [name, decodeValue(test.inputs[i]!, kindOf(type), name) as ModelFeed]),
  );
  const results = await engine({ bytes: test.model, model, feeds });
  for (const [i, { name, type }] of outputs.entries()) {
    const want = decodeValue(test.outputs[i]!, kindOf(type), name);
    const wrong = compareValue(results[name]!, want, { shapeOnly: test.notes.includes("random"), test: test.name });
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
const LEAST = { plain: 0.99, all: 0.975 };

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
