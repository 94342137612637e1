/** Programs whose sizes are found in the run give what the reference gives, on any number of threads, run after run. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { seeded } from "../graph/random.js";
import { DynamicPrograms } from "./dynamic-programs.js";
import { fuzzRuns, fuzzSeed } from "./seed.js";

const count = fuzzRuns("WASMITH_FUZZ_DYNAMIC", 12, 60);
const first = 1_000_000 * fuzzSeed("programs that find sizes");

describe("random programs that find sizes", () => {
  it.each(Array.from({ length: count }, (_, i) => first + i))("seed %i", async (seed) => {
    const random = seeded(seed);
    const g = new DynamicPrograms(random).program(3 + Math.floor(random() * 10));
    verifyGraph(g);
    const artifact = await compile(g, { variants: ["simd128", "simd128-threads"] });
    const sessions = await Promise.all([1, 2].map((threads) => load(artifact, { threads })));
    try {
      for (const n of [7, 64, 0, 1, 23]) {
        const x = tensorFrom(
          "f32",
          [n],
          Array.from({ length: n }, () => Math.floor(17 * random())),
        );
        const c = tensorFrom("f32", [], [Math.floor(17 * random())]);
        const want = evaluate(g, { x, c }).map(toNumbers);
        const [alone, team] = (await Promise.all(sessions.map((s) => s.run({ x, c } as never)))) as never as [
          Record<string, Tensor>,
          Record<string, Tensor>,
        ];
        g.resultNames.forEach((name, i) => {
          expect(team[name]!.data).toEqual(alone[name]!.data);
          expect(toNumbers(alone[name]!)).toEqual(want[i]!);
        });
      }
    } finally {
      for (const s of sessions) s.dispose();
    }
  });
});
