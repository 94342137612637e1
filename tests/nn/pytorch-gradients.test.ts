/**
 * All 205 configurations of reference/grad, written with what the package exports: outputs and gradients, parameters' among them,
 * are PyTorch's by the reference, and compiled for the baseline and for relaxed SIMD on 1 and 2 threads.
 */

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { executors } from "../ops/executors.js";
import { workerFile } from "../setup/build-worker.js";
import { hasData } from "./reference-data.js";
import { cases } from "./torch/cases.js";
import { batches, differences, differencesOf, entries, problemOf, reference } from "./torch/entries.js";

describe.skipIf(!hasData)("outputs and gradients equal PyTorch's", () => {
  it("every stored configuration is written, and the other way round", () => {
    expect(entries).toHaveLength(205);
    expect(Object.keys(cases).sort()).toEqual(entries.map((e) => e.id).sort());
  });

  it.each(entries.map((e) => [e.id, e] as const))("%s", async (_, entry) => {
    const problem = problemOf(entry);
    expect(differences(problem, await reference(problem.graph, problem.feeds))).toEqual([]);
  });

  const parts = batches().map((batch, i) => [i, batch] as const);
  describe.each(executors)("$name", ({ run }) => {
    it.each(parts)("compiled, part %i", { timeout: 120_000 }, async (_, batch) => {
      expect(await differencesOf(batch, run)).toEqual([]);
    });
  });

  it("compiled for relaxed SIMD", { timeout: 300_000 }, async () => {
    const flags = Number(process.versions.node.split(".")[0]) < 22 ? ["--experimental-wasm-relaxed-simd"] : [];
    const child = fileURLToPath(new URL("torch/relaxed-child.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...flags,
      "--import",
      "tsx",
      child,
      workerFile.href,
    ]);
    expect(JSON.parse(stdout)).toEqual([]);
  });
});
