/** PyTorch's exports, compiled, against the outputs that PyTorch gave. */
import { describe, expect, it } from "vitest";
import { hasExports, pytorchExports } from "./data.js";
import { checkRecorded } from "./recorded.js";

describe.skipIf(!hasExports)("PyTorch's exports", () => {
  it.each(hasExports ? pytorchExports() : [])("$name", { timeout: 120_000 }, async ({ name, folder }) => {
    expect(await checkRecorded(name, folder)).toEqual([]);
  });
});
