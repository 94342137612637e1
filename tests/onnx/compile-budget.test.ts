/** Compiling a model takes at most 10 s and 1.5 GB: those that take most of either (bench/compile-budget.ts lists all). */
import { describe, expect, it } from "vitest";
import { hasPackage, measureCompile } from "./compile-process.js";
import { hasExports, hasModels, pytorchExports, trainedModels } from "./data.js";

const HEAVIEST = ["ppocr-v4-rec", "frcnn_torchvision_full", "silero-vad-v5", "googlenet", "antispoof-int8"];

const models = hasExports && hasModels ? [...trainedModels(), ...pytorchExports()] : [];
if (!hasPackage) console.warn("budgets of compilation are not tested: dist/ is not built (npm run build)");

describe.skipIf(models.length === 0 || !hasPackage)("budget of import and compilation, all variants", () => {
  it.each(HEAVIEST)("%s", async (name) => {
    const { path } = models.find((m) => m.name === name)!;
    const { cpuMs, peakBytes } = await measureCompile(path);
    expect(cpuMs).toBeLessThan(10_000);
    expect(peakBytes).toBeLessThan(1.5e9);
  });
});
