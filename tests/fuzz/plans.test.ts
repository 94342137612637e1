/** No value of a random schedule is overwritten while it is needed: plans are replayed on symbols (tests/plan/replay.ts). */

import { describe, expect, it } from "vitest";
import { KernelPool } from "../../compiler/lower/core/kernel-builder.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { planArena } from "../../compiler/plan/arena.js";
import { prepare } from "../../compiler/plan/prepare.js";
import { placeStateResults } from "../../compiler/plan/state.js";
import { planText } from "../../compiler/plan/text.js";
import { Contents } from "../../compiler/weights.js";
import { ModelError } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { decompose } from "../../passes/graph/decompose.js";
import { runPipeline } from "../../passes/pipeline.js";
import { lostValue } from "../plan/replay.js";
import { growAndCheck } from "./batch.js";
import { fusedWhole, growFusible } from "./fusible.js";
import { growGraph } from "./generate.js";
import { fuzzRuns } from "./seed.js";
import { growStateful } from "./stateful.js";

const count = fuzzRuns("WASMITH_FUZZ_PLANS", 50, 300);

interface Planned {
  readonly graph: Graph;
  readonly state: ReadonlySet<string>;
}

const sizes = [
  new Map([
    ["n", 3],
    ["m", 5],
  ]),
  new Map([
    ["n", 1],
    ["m", 1],
  ]),
  new Map([
    ["n", 40],
    ["m", 2],
  ]),
];

let steps = 0;

function check({ graph, state }: Planned): string | undefined {
  const written = lowerGraph(graph, { pool: new KernelPool(), state });
  const lowered = prepare([written], state, new Contents(), { policy: "fast", weightBytes: 0 }).schedules[0]!;
  const placed = placeStateResults(lowered);
  const arena = planArena(placed, 4);
  steps += placed.steps.length;
  for (const s of sizes) {
    const lost = lostValue(lowered, placed, arena, s);
    if (lost !== undefined) return `${lost} is lost where n is ${s.get("n")}\n${planText(placed, arena)}`;
  }
  return undefined;
}

const stateless = (graph: Graph): Planned => ({ graph, state: new Set() });

const kinds: readonly (readonly [string, (seed: number, steps: readonly number[]) => Planned | undefined])[] = [
  ["groups", (seed, steps) => stateless(growFusible(seed, steps, { symbolic: seed % 2 === 0, writers: true }).graph)],
  [
    "whole fusions",
    (seed, steps) =>
      stateless(
        fusedWhole(growFusible(seed, steps, { symbolic: seed % 2 === 0, writers: false, control: false }).graph),
      ),
  ],
  ["graphs of all ops", (seed, steps) => stateless(growGraph(seed, steps).graph)],
  [
    "programs with state",
    (seed, steps) => {
      const { program } = growStateful(seed, steps);
      return { graph: program.entries.main!, state: new Set(program.state.map((s) => s.name)) };
    },
  ],
];

describe.each(kinds)("plans of %s", (kind, grow) => {
  it.each([
    ["as written", (g: Graph) => decompose().run(g)],
    ["through the pipeline", (g: Graph) => runPipeline(defaultPipeline, g)],
  ] as const)("%s", { timeout: 900_000 }, async (name, through) => {
    steps = 0;
    await growAndCheck<Planned>({
      name: `plans of ${kind}, ${name}`,
      count,
      batch: 50,
      steps: 14,
      grow: (seed, steps) => {
        const planned = grow(seed, steps)!;
        return { ...planned, graph: through(planned.graph) };
      },
      check: async (list) =>
        list.map((p) => {
          try {
            return check(p);
          } catch (error) {
            if (error instanceof ModelError) return undefined;
            throw error;
          }
        }),
      show: ({ graph }) => printGraph(graph),
    });
    expect(steps).toBeGreaterThan(count);
  });
});
