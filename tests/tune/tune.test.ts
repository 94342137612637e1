/** Measuring, with engines that are made up: what they say is fast is what a tuning holds. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { nn, toGraph } from "../../compiler/dsl/index.js";
import { type Choice, planRounds, type StepChoices } from "../../compiler/tune/rounds.js";
import { type LoadSession, type TuneOptions, tune } from "../../compiler/tune/tune.js";
import { load } from "../../runtime/index.js";
import { seeded } from "../graph/random.js";

const model = toGraph(
  nn.sequential({ conv: nn.Conv2d(8, 16, 3), relu: nn.ReLU(), flatten: nn.Flatten(), fc: nn.Linear(16 * 36, 10) }),
  { inputs: { x: [2, 8, 8, 8] } },
);

/** An engine on which a step takes what `cost` says of its kernel, and the time that passes is told. */
function engine(cost: (kernel: string, session: number) => number): {
  readonly load: LoadSession;
  readonly opened: number;
} {
  const made: { opened: number; load: LoadSession } = {
    opened: 0,
    load: async ({ manifest }) => {
      const number = made.opened++;
      return {
        report: { variant: "simd128", threads: 1 },
        entries: Object.fromEntries(
          Object.entries(manifest.entries).map(([name, { inputs }]) => [
            name,
            { inputs: inputs.map((i) => ({ ...i, shape: i.shape as readonly number[] })), dims: [] },
          ]),
        ),
        profile: async (_, { entry }) => {
          return manifest.entries[entry]!.steps.map(({ kernel }) => ({ ms: cost(kernel, number) }));
        },
        dispose: () => {},
      };
    },
  };
  return made;
}

const tuned = (cost: Parameters<typeof engine>[0], options: Partial<TuneOptions> = {}) =>
  tune(model, { load: engine(cost).load, engine: "made up", secondsPerRound: 0, ...options });

describe("tune", () => {
  it("finds the tile that is faster, of each kind of nodes", async () => {
    const found = await tuned((kernel) => (/_3x8/.test(kernel) ? 0.5 : 1));
    expect(found.measured).toEqual({ engine: "made up", variant: "simd128", threads: 1, dims: {} });
    expect(found.choices.map(({ kernel, tile }) => ({ kernel, tile }))).toEqual([
      { kernel: expect.stringMatching(/^conv\//), tile: { mr: 3, nr: 8 } },
    ]);
    const kernels = (await compile(model, { tuning: found })).manifest.entries.main!.steps.map((s) => s.kernel);
    expect(kernels.some((k) => /_3x8/.test(k))).toBe(true);
  });

  it("keeps what is hardly faster as it is", async () => {
    expect((await tuned((kernel) => (/_3x8/.test(kernel) ? 0.98 : 1))).choices).toEqual([]);
  });

  it("does not believe what is faster only some of the times", async () => {
    // The sessions after those of the rounds confirm.
    const rounds = engine(() => 1);
    await tune(model, { load: rounds.load, secondsPerRound: 0 });
    for (let times = 0; times < 3; times++) {
      const until = rounds.opened + times;
      const found = await tuned((kernel, session) => (/_3x8/.test(kernel) && session < until ? 0.5 : 1));
      expect(found.choices, `${times} confirmations`).toEqual([]);
    }
  });

  it("changes nothing where the run as a whole gets slower", async () => {
    // What follows the faster product is slower for it, such as by the caches.
    const found = await tuned((kernel, session) => (session < 2 ? 1 : /_3x8/.test(kernel) ? 0.5 : 2));
    expect(found.choices).toEqual([]);
  });

  it("stops when its time is over", async () => {
    const rounds: number[] = [];
    const found = await tuned((kernel) => (/_3x8/.test(kernel) ? 0.5 : 1), {
      maxSeconds: 0,
      onProgress: ({ round }) => rounds.push(round),
    });
    expect(rounds).toEqual([]);
    expect(found.choices).toEqual([]);
  });

  it("measures on a real engine", { timeout: 120_000 }, async () => {
    const found = await tune(model, {
      load: load as unknown as LoadSession,
      deterministic: true,
      secondsPerRound: 0.1,
    });
    expect(found.measured.variant).toBe("simd128");
    for (const { ms, untunedMs } of found.choices) expect(ms).toBeLessThan(untunedMs);
    await compile(model, { tuning: found, onWarning: (text) => expect.fail(text) });
  });

  it("says what it needs", async () => {
    await expect(tune(model, {} as TuneOptions)).rejects.toThrow("option load");
    await expect(tune(model, { load: 3 } as unknown as TuneOptions)).rejects.toThrow("expected a function");
    await expect(tuned(() => 1, { dims: { n: -1 } })).rejects.toThrow("option dims");
  });
});

it("each candidate has a round, and choices of one step have others", () => {
  const random = seeded(5);
  const below = (n: number) => Math.floor(random() * n);
  for (let i = 0; i < 50; i++) {
    const choices = Array.from(
      { length: 1 + below(6) },
      (_, c): Choice => ({
        kind: `k${c}`,
        candidates: Array.from({ length: 1 + below(5) }, (_, t) => ({ kernel: `t${t}` })),
      }),
    );
    const steps: StepChoices = {
      main: Array.from({ length: below(8) }, () => [...new Set([below(choices.length), below(choices.length)])]),
    };
    const open = new Set(choices.flatMap((_, c) => (below(4) > 0 ? [c] : [])));
    const rounds = planRounds(choices, steps, open);
    const seen = rounds.flatMap((r) => [...r].map(([choice, candidate]) => `${choice} ${candidate}`)).sort();
    const wanted = [...open].flatMap((c) => choices[c]!.candidates.slice(1).map((_, t) => `${c} ${t + 1}`)).sort();
    expect(seen).toEqual(wanted);
    for (const round of rounds)
      for (const list of steps.main!) expect(list.filter((c) => round.has(c)).length).toBeLessThanOrEqual(1);
  }
});
