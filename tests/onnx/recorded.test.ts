/** PyTorch's exports and trained models, compiled, against the outputs recorded for them. */
import { describe, it } from "vitest";
import { hasExports, hasModels, pytorchExports, trainedModels } from "./data.js";
import { importRecorded, recorded, runRecorded } from "./recorded.js";

async function check(name: string, folder: string, threads: 1 | 2): Promise<void> {
  const data = recorded(folder);
  // Two threads take the best variant that the engine has.
  const variants = threads === 1 ? (["simd128"] as const) : (["simd128-threads", "relaxed-threads"] as const);
  await runRecorded(name, importRecorded(name, folder, data), data, { variants, threads });
}

describe.skipIf(!hasExports)("PyTorch's exports", () => {
  const files = hasExports ? pytorchExports() : [];
  it.each(files)("$name", { timeout: 120_000 }, ({ name, folder }) => check(name, folder, 1));
  it.each(files)("$name on two threads", { timeout: 120_000 }, ({ name, folder }) => check(name, folder, 2));
});

describe.skipIf(!hasModels)("trained models", () => {
  const files = hasModels ? trainedModels() : [];
  it.each(files)("$name", { timeout: 300_000 }, ({ name, folder }) => check(name, folder, 1));
  it.each(files)("$name on two threads", { timeout: 300_000 }, ({ name, folder }) => check(name, folder, 2));
});
