/**
 * Chains and DAGs of 3 to 60 ops, compiled and run for a while. WASMITH_FUZZ_SECONDS asks for a longer while, WASMITH_FUZZ_SEED for
 * other graphs; `npx tsx tests/fuzz/long.ts --minutes 20` goes on after a failure.
 */
import { describe, expect, it } from "vitest";
import { checkDags, growDag, showDag } from "./dag.js";
import { fuzzSeconds, fuzzSeed } from "./seed.js";
import { tryFor } from "./timed.js";

const seconds = fuzzSeconds("WASMITH_FUZZ_SECONDS", 8, 60);

describe("random DAGs, compiled, at several sizes on all variants", () => {
  it(`for ${seconds} s`, { timeout: 1000 * seconds + 600_000 }, async () => {
    const seed = fuzzSeed("DAGs");
    const tried = await tryFor({
      seed,
      seconds,
      steps: [3, 60],
      grow: growDag,
      batch: 8,
      check: checkDags,
      show: showDag,
    });
    console.info(`${tried.cases} DAGs, ${tried.refused} of them refused`);
    expect(tried.refused).toBeLessThanOrEqual(10 + 0.6 * tried.cases);
  });
});
