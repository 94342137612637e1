/**
 * Random graphs through the compiler: every variant gives what the reference gives, as far as the accuracies that the ops state
 * allow. WASMITH_FUZZ_COMPILED and WASMITH_FUZZ_SEED ask for more or other graphs.
 */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ModelError } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { executors } from "../ops/executors.js";
import { growGraph } from "./generate.js";
import { perturbed, unexplained } from "./sensitivity.js";

const runs = Number(process.env.WASMITH_FUZZ_COMPILED ?? 25);
const seed = Number(process.env.WASMITH_FUZZ_SEED ?? 1);
const number = fc.noBias(fc.nat());
const grown = fc.tuple(number, fc.noBias(fc.array(number, { minLength: 1, maxLength: 16, size: "max" })));

function reference(g: Graph, feeds: readonly Tensor[]): readonly (readonly Tensor[])[] | undefined {
  try {
    const others = [1, 2, 3].map((k) => perturbed(g, feeds, k));
    return others.every((o) => o !== undefined) ? [evaluate(g, feeds), ...others] : undefined;
  } catch (error) {
    if (error instanceof ModelError) return undefined;
    throw error;
  }
}

describe("random graphs, compiled", () => {
  it(`${runs} graphs give what the reference gives`, { timeout: 900_000 }, async () => {
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(grown, async ([start, list]) => {
        const { graph: g, feeds } = growGraph(start, list);
        const evaluated = reference(g, feeds);
        if (evaluated === undefined) {
          refused++;
          return;
        }
        const [want = [], ...others] = evaluated;
        for (const executor of executors) {
          const got = await executor.run(g, feeds).catch((error: unknown) => {
            throw new Error(`${executor.name}: ${String(error)}\n${printGraph(g)}`, { cause: error });
          });
          want.forEach((w, i) => {
            const wrong = unexplained(
              got[i]!,
              w,
              others.map((o) => o[i]!),
            );
            if (wrong !== undefined) {
              throw new Error(
                `${executor.name}: result ${i}, element ${wrong.index} is ${wrong.got} instead of ${wrong.want} ± ${wrong.reach}\n${printGraph(g)}`,
              );
            }
          });
        }
      }),
      { numRuns: runs, seed },
    );
    expect(refused / runs).toBeLessThan(0.25);
  });
});
