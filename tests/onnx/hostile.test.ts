import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { inlineFunctions } from "../../compiler/onnx/functions.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { readOnnx } from "../../compiler/onnx/model.js";
import type { GraphProto } from "../../compiler/onnx/proto-types.js";
import { decodeModel, encodeModel } from "../../compiler/onnx/protobuf.js";
import { ModelError } from "../../ir/errors.js";
import { model, node, tensorInfo } from "./build.js";
import { conformanceTests, DATA, hasConformance, hasExports } from "./data.js";
import { mutateBytes, mutateModel, random } from "./mutate.js";

/** Reads the bytes: a result or a ModelError; anything else fails the test. */
function outcome(bytes: Uint8Array): "read" | "refused" {
  try {
    inlineFunctions(readOnnx(bytes));
    return "read";
  } catch (error) {
    if (error instanceof ModelError) return "refused";
    throw error;
  }
}

describe("what is not a model", () => {
  it.each([
    ["", /empty/],
    ["PK\x03\x04....", /zip archive/],
    ["<!DOCTYPE html>", /HTML/],
    ["version https://git-lfs.github.com/spec/v1", /git lfs pull/],
    ["hello, world", /not ONNX/],
    ["\x08\x07", /without a graph/],
  ])("%j is refused with a reason", (text, reason) => {
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    expect(() => decodeModel(bytes)).toThrow(ModelError);
    expect(() => decodeModel(bytes)).toThrow(reason);
  });

  it("holds to its budgets", () => {
    const nested = (depth: number): GraphProto => {
      let graph: GraphProto = { name: "innermost" };
      for (let i = 0; i < depth; i++)
        graph = { name: "g", node: [node("If", ["c"], ["y"], { then_branch: { type: 5, g: graph } })] };
      return graph;
    };
    expect(() => decodeModel(encodeModel(model(nested(200))))).toThrow(/nested deeper than 100/);
    // A million empty nodes.
    const graph = new Uint8Array(2_000_000).map((_, i) => (i % 2 === 0 ? 0x0a : 0));
    const bytes = Uint8Array.from([0x3a, 0x80, 0x89, 0x7a, ...graph]);
    expect(() => decodeModel(bytes, { maxDepth: 100, maxMessages: 1000, maxIntegers: 1000 })).toThrow(
      /more than 1000 messages/,
    );
    // A length far beyond the file.
    expect(() => decodeModel(Uint8Array.of(0x3a, 0xff, 0xff, 0xff, 0xff, 0x07))).toThrow(/declares 2147483647 bytes/);
  });

  it("reports all structural problems at once", () => {
    const bytes = encodeModel(
      model({
        input: [tensorInfo("x", [1])],
        output: [tensorInfo("nowhere", [1])],
        node: [
          node("Add", ["x", "missing"], ["a"], {}, { name: "first" }),
          node("Neg", ["x"], ["a"]),
          node("Neg", ["q"], ["p"]),
          node("Neg", ["p"], ["q"]),
        ],
      }),
    );
    try {
      readOnnx(bytes);
      expect.unreachable();
    } catch (error) {
      const messages = (error as ModelError).problems.map((p) => `${p.where}: ${p.message}`);
      expect(messages).toEqual([
        'Neg node of "a": the name "a" is defined a second time',
        'Add node "first": its input "missing" is not defined anywhere',
        'graph "g": the output "nowhere" is not defined anywhere',
        'graph "g": 2 nodes depend on themselves or on a cycle: Neg node of "p", Neg node of "q"',
      ]);
    }
  });

  it("sorts nodes that are out of order", () => {
    const bytes = encodeModel(
      model({
        input: [tensorInfo("x", [1])],
        output: [tensorInfo("c", [1])],
        node: [node("Neg", ["b"], ["c"]), node("Neg", ["a"], ["b"]), node("Neg", ["x"], ["a"])],
      }),
    );
    expect(readOnnx(bytes).graph.nodes.map((n) => n.outputs[0])).toEqual(["a", "b", "c"]);
  });
});

describe.skipIf(!hasConformance)("damaged models", () => {
  it("are imported or refused with a ModelError", { timeout: 300_000 }, () => {
    const files = conformanceTests().filter((t) => t.suite !== "light" && t.model.length < 3000);
    const next = random(3);
    const counts = { imported: 0, refused: 0 };
    let slowest = 0;
    for (let i = 0; i < 8000; i++) {
      const file = files[Math.floor(next() * files.length)]!;
      const damaged = i % 4 === 0 ? mutateBytes(file.model, next) : mutateModel(file.model, next);
      const start = performance.now();
      try {
        importOnnx(damaged);
        counts.imported++;
      } catch (error) {
        if (!(error instanceof ModelError)) throw new Error(`${file.name} ended in ${error}`, { cause: error });
        counts.refused++;
      }
      slowest = Math.max(slowest, performance.now() - start);
    }
    expect(counts.imported).toBeGreaterThan(500);
    expect(counts.refused).toBeGreaterThan(500);
    expect(slowest).toBeLessThan(10_000);
  });
});

describe.skipIf(!hasConformance || !hasExports)("mutated files", () => {
  it("each end in a result or a ModelError", { timeout: 120_000 }, () => {
    const names = [
      "test_loop16_seq_none",
      "test_if_opt",
      "test_clip_default_min_expanded",
      "test_scan9_sum",
      "test_resize_upsample_sizes_cubic",
    ];
    const small = conformanceTests()
      .filter((t) => names.includes(t.name))
      .map((t) => t.model);
    const exports = ["control_flow", "ops_shape", "lstm_packed_sequence", "frcnn_postprocess_nms"].map((name) =>
      readFileSync(join(DATA, "reference/onnx", name, "model.onnx")),
    );
    const next = random(1);
    const counts = { read: 0, refused: 0 };
    let slowest = 0;
    for (const file of [...small, ...exports])
      for (let i = 0; i < 600; i++) {
        const start = performance.now();
        counts[outcome(mutateBytes(file, next))]++;
        slowest = Math.max(slowest, performance.now() - start);
      }
    expect(counts.read).toBeGreaterThan(100);
    expect(counts.refused).toBeGreaterThan(1000);
    expect(slowest).toBeLessThan(2000);
  });
});
