/**
 * ONNX's own tests through onnxruntime's API: `InferenceSession.create(bytes)`, then `run` with tensors by name. Nothing else is told to the
 * session. A sample of them; all with WASMITH_ALL=1.
 */
import { describe, expect, it } from "vitest";
import { type OnnxModel, readOnnx } from "../../compiler/onnx/model.js";
import { env, InferenceSession } from "../../ort/index.js";
import { compareValue } from "../onnx/compare.js";
import { type ConformanceTest, conformanceTests, decodeValue, hasConformance } from "../onnx/data.js";
import { EXPECTED_FAILURES } from "../onnx/expected-failures.js";
import { modelValue, ortValue } from "./values.js";

/** Of the sample. A prime, since neighbours are variants of one test. */
const EVERY = 37;
/** The share that must pass. */
const LEAST = 0.95;

const kindOf = (type: OnnxModel["graph"]["inputs"][number]["type"]): "tensor" | "sequence" | "optional" =>
  type?.kind === "sequence" || type?.kind === "optional" ? type.kind : "tensor";

/** What is wrong, or undefined. */
async function outcome(test: ConformanceTest): Promise<string | undefined> {
  try {
    // What a user has: the file, and values for its inputs in order.
    const { inputs, outputs } = readOnnx(test.model).graph;
    const value = (bytes: Uint8Array, { name, type }: (typeof inputs)[number]) =>
      decodeValue(bytes, kindOf(type), name);
    const feeds = Object.fromEntries(inputs.map((info, i) => [info.name, ortValue(value(test.inputs[i]!, info))]));
    const session = await InferenceSession.create(test.model);
    try {
      expect(session.inputNames).toEqual(inputs.map(({ name }) => name));
      expect(session.outputNames).toEqual(outputs.map(({ name }) => name));
      const results = await session.run(feeds);
      for (const [i, info] of outputs.entries()) {
        const how = { shapeOnly: test.notes.includes("random"), test: test.name };
        const wrong = compareValue(modelValue(results[info.name]!), value(test.outputs[i]!, info), how);
        if (wrong) return `${info.name}: ${wrong}`;
      }
      return undefined;
    } finally {
      await session.release();
    }
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message.split("\n")[0]}`;
  }
}

describe.skipIf(!hasConformance)("ONNX's tests through wasmith/ort", () => {
  it("pass but for those that no way of running passes", { timeout: 3_600_000 }, async () => {
    env.wasmith.worker = false;
    env.wasmith.cache = false;
    const all = conformanceTests();
    const tests = process.env.WASMITH_ALL ? all : all.filter((_, i) => i % EVERY === 0);
    const failures: Record<string, string> = {};
    for (const test of tests) {
      const wrong = await outcome(test);
      if (wrong !== undefined) failures[`${test.suite}/${test.name}`] = wrong;
    }
    const passed = tests.length - Object.keys(failures).length;
    console.log(`${passed} of ${tests.length} pass: ${((100 * passed) / tests.length).toFixed(1)} %`);
    // Of a sample the share says little.
    if (tests === all) expect(passed / tests.length).toBeGreaterThanOrEqual(LEAST);
    expect(Object.entries(failures).filter(([name]) => !Object.hasOwn(EXPECTED_FAILURES, name))).toEqual([]);
  });
});
