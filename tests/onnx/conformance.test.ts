/** ONNX's own tests against the reference evaluator: what can be imported gives the expected numbers. */
import { describe, expect, it } from "vitest";
import { importModel } from "../../compiler/onnx/import.js";
import { type OnnxModel, readOnnx } from "../../compiler/onnx/model.js";
import { ModelError } from "../../ir/errors.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { compareValue, flattenStructure, toTensor } from "./compare.js";
import { type ConformanceTest, conformanceTests, decodeValue, hasConformance, opClasses } from "./data.js";

const BF16 =
  "bf16 has 8 bits of precision; intermediate rounding differs from ONNX's by more than its tolerance of 1e-3";

const kindOf = (type: OnnxModel["graph"]["inputs"][number]["type"]) => {
  const kind = type?.kind ?? "tensor";
  if (kind === "unsupported") throw new ModelError("a value of an unsupported type");
  return kind;
};

/** Imports, fixing those inputs that the importer asks to be constants (target shapes, axes …). */
export function importFixing(model: OnnxModel, inputs: (name: string) => Tensor) {
  const values: Record<string, Tensor> = {};
  for (;;) {
    try {
      return importModel(model, { values });
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      const asked = error.problems.flatMap((p) => [...(p.hint ?? "").matchAll(/"([^"]*)": …/g)].map((m) => m[1]!));
      const fresh = asked.filter((name) => !Object.hasOwn(values, name));
      if (fresh.length === 0) throw error;
      for (const name of fresh) values[name] = inputs(name);
    }
  }
}

/** undefined if the test passes, else what is wrong. Throws ModelError where the model can't be imported. */
function run(test: ConformanceTest): string | undefined {
  const model = readOnnx(test.model);
  const feed = (name: string) => {
    const i = model.graph.inputs.findIndex((input) => input.name === name);
    const kind = kindOf(model.graph.inputs[i]?.type);
    return toTensor(decodeValue(test.inputs[i]!, kind, name));
  };
  const { graph, outputs } = importFixing(model, feed);
  const results = evaluate(
    graph,
    graph.params.map((p) => feed(p.def.op === "param" ? p.def.name : "")),
  );
  for (const [i, { name, structure }] of outputs.entries()) {
    const want = decodeValue(test.outputs[i]!, kindOf(model.graph.outputs[i]!.type), name);
    const got = flattenStructure(structure, results);
    const wrong = compareValue(got, want, { shapeOnly: test.notes.includes("random"), test: test.name });
    if (wrong) return `${name}: ${wrong}`;
  }
  return undefined;
}

/** Tests that can't pass, and why. They must fail. */
const EXPECTED_FAILURES: Readonly<Record<string, string>> = {
  "node-next/test_attention_4d_causal_bf16": BF16,
  "node-next/test_attention_4d_causal_bf16_expanded": BF16,
  "node-next/test_attention_4d_causal_padded_kv_bf16": BF16,
  "node-next/test_attention_4d_causal_padded_kv_bf16_expanded": BF16,
  "node-next/test_attention_4d_padded_kv_bf16": BF16,
  "node-next/test_attention_4d_padded_kv_bf16_expanded": BF16,
};

describe.skipIf(!hasConformance)("conformance", () => {
  it("whatever is imported gives the expected numbers", { timeout: 300_000 }, () => {
    const classes = opClasses();
    const passed: Record<string, number> = {};
    const wrong: string[] = [];
    for (const test of conformanceTests()) {
      // Whole image classifiers take the reference evaluator minutes.
      if (test.suite === "light") continue;
      try {
        const problem = run(test);
        if (problem) wrong.push(`${test.suite}/${test.name} ${problem}`);
        else {
          const key = test.op === "" ? "several" : (classes.get(`:${test.op}`) ?? "other");
          passed[key] = (passed[key] ?? 0) + 1;
        }
      } catch (error) {
        if (!(error instanceof ModelError)) wrong.push(`${test.suite}/${test.name} ${error}`);
      }
    }
    console.log("conformance passed by class:", passed);
    const names = wrong.map((w) => w.split(" ")[0]!);
    expect(wrong.filter((w) => !Object.hasOwn(EXPECTED_FAILURES, w.split(" ")[0]!))).toEqual([]);
    expect(names).toEqual(expect.arrayContaining(Object.keys(EXPECTED_FAILURES)));
  });
});
