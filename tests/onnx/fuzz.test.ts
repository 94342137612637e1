/** Damaged models, imported, compiled and run: each ends in a result or a ModelError, within its time and memory. */
import { beforeAll, describe, expect, it } from "vitest";
import { fuzzSeed } from "../fuzz/seed.js";
import { hasConformance } from "./data.js";
import { buildChild, childFile, follow } from "./fuzz-watch.js";

const COUNT = 3000;

describe.skipIf(!hasConformance)("damaged models", () => {
  const script = childFile();
  beforeAll(() => buildChild(script));

  it("end in a result or a ModelError, whatever is damaged", { timeout: 400_000 }, async () => {
    const lines = await follow(script, fuzzSeed("damaged models") * 100_000, COUNT);
    expect(lines.filter((l) => l.crash !== undefined)).toEqual([]);
    expect(lines).toHaveLength(COUNT);
    const count = (stage: string) => lines.filter((l) => l.stage === stage).length;
    // Not all fall at the door.
    expect(count("result")).toBeGreaterThan(COUNT / 5);
    expect(count("run")).toBeGreaterThan(20);
    expect(count("import")).toBeGreaterThan(COUNT / 5);
  });
});
