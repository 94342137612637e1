/** Trained models, compiled, against the outputs that ONNX Runtime gave. */
import { describe, expect, it } from "vitest";
import { hasModels, trainedModels } from "./data.js";
import { checkRecorded } from "./recorded.js";

describe.skipIf(!hasModels)("trained models", () => {
  it.each(hasModels ? trainedModels() : [])("$name", { timeout: 120_000 }, async ({ name, folder }) => {
    expect(await checkRecorded(name, folder)).toEqual([]);
  });
});
