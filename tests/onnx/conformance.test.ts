/** ONNX's own tests against the reference evaluator: what can be imported gives the expected numbers. */
import { describe, expect, it } from "vitest";
import { importModel } from "../../compiler/onnx/import.js";
import { type OnnxModel, readOnnx } from "../../compiler/onnx/model.js";
import { ModelError } from "../../ir/errors.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
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
      return importModel(model, { values, structures, shapes });
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      const asked = error.problems.flatMap((p) => [...(p.hint ?? "").matchAll(/"([^"]*)": …/g)].map((m) => m[1]!));
      const fresh = asked.filter((name) => !Object.hasOwn(values, name) && Object.hasOwn(feeds, name));
      if (fresh.length === 0) throw error;
      for (const name of fresh) values[name] = feeds[name]!;
    }
  }
}

/** undefined if the test passes, else what is wrong. Throws ModelError where the model can't be imported. */
function run(test: ConformanceTest): string | undefined {
  const model = readOnnx(test.model);
  const given: Given = { feeds: {}, structures: {}, shapes: {} };
  model.graph.inputs.forEach(({ name, type }, i) => {
    const kind = kindOf(type);
    flattenInput(name, decodeValue(test.inputs[i]!, kind, name), kind, given);
  });
  const { graph, outputs } = importFixing(model, given);
  const results = evaluate(graph, given.feeds);
  for (const [i, { name, structure }] of outputs.entries()) {
    const want = decodeValue(test.outputs[i]!, kindOf(model.graph.outputs[i]!.type), name);
    const got = flattenStructure(structure, results);
    const wrong = compareValue(got, want, { shapeOnly: test.notes.includes("random"), test: test.name });
    if (wrong) return `${name}: ${wrong}`;
  }
  return undefined;
}

/** What is wrong with the test, or why its model is refused; undefined if it passes. */
function outcome(test: ConformanceTest): string | undefined {
  try {
    return run(test);
  } catch (error) {
    if (error instanceof ModelError) return `refused: ${error.problems[0]?.message}`;
    throw error;
  }
}

describe.skipIf(!hasConformance)("conformance", () => {
  it("every test passes but those of the list, which fail", { timeout: 300_000 }, () => {
    const classes = opClasses();
    const counts: Record<string, { passed: number; all: number }> = {};
    const failures: Record<string, string> = {};
    for (const test of conformanceTests()) {
      // Whole image classifiers take the reference evaluator minutes.
      if (test.suite === "light") continue;
      const problem = outcome(test);
      if (problem !== undefined) failures[`${test.suite}/${test.name}`] = problem;
      const key = test.op === "" ? "several ops" : (classes.get(`:${test.op}`) ?? "other domains");
      counts[key] ??= { passed: 0, all: 0 };
      counts[key].all++;
      if (problem === undefined) counts[key].passed++;
    }
    console.log("conformance by class:", JSON.stringify(counts));
    const unexpected = Object.entries(failures).filter(([name]) => !Object.hasOwn(EXPECTED_FAILURES, name));
    expect(unexpected).toEqual([]);
    expect(Object.keys(failures).sort()).toEqual(Object.keys(EXPECTED_FAILURES).sort());
  });
});
