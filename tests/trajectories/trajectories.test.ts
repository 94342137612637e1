import { describe, expect, it } from "vitest";
import type { VariantId } from "../../runtime/index.js";
import { hasData } from "../nn/reference-data.js";
import { compiled, follow } from "./follow.js";
import { systems } from "./systems.js";

const variants: readonly VariantId[] = ["simd128", "simd128-threads", "relaxed", "relaxed-threads"];

describe.runIf(hasData)("programs of the reference follow PyTorch", () => {
  it.each(Object.keys(systems))("%s", { timeout: 300_000 }, async (name) => {
    const artifact = await compiled(name, variants);
    const bits: string[] = [];
    for (const variant of variants) {
      const threads = variant.endsWith("threads") ? 2 : 1;
      const followed = await follow(name, artifact, variant, threads);
      expect(followed.used).toBe(`${variant} ${threads}`);
      expect(followed.departures, variant).toEqual([]);
      expect(followed.steps).toBeGreaterThan(10);
      bits.push(followed.bits);
    }
    // The number of threads changes nothing; relaxed SIMD may.
    expect(bits[1]).toBe(bits[0]);
    expect(bits[3]).toBe(bits[2]);
  });
});
