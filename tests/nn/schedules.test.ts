/** Schedules: Keras's and the simple ones by their formulas (PyTorch's are in tests/e2e/optimizers.test.ts), and all of them in wasm. */

import { describe, expect, it } from "vitest";
import { definitionOf } from "../../compiler/schema.js";
import { compile, graph, ModelError, param, schedules } from "../../index.js";
import { load, type Tensor } from "../../runtime/index.js";

const { cosineDecay, cosineRestarts, exponentialDecay, inverseTime, piecewise, polynomial, rateAt } = schedules;

const formulas: readonly (readonly [string, schedules.Schedule, (s: number) => number])[] = [
  ["constant", schedules.constant(0.3), () => 0.3],
  ["constantFactor", schedules.constantFactor(0.3, 0.5, 4), (s) => (s < 4 ? 0.15 : 0.3)],
  ["exponentialDecay", exponentialDecay(0.2, 7, 0.5), (s) => 0.2 * 0.5 ** (s / 7)],
  ["exponentialDecay, stairs", exponentialDecay(0.2, 7, 0.5, true), (s) => 0.2 * 0.5 ** Math.floor(s / 7)],
  ["inverseTime", inverseTime(0.2, 5, 0.7), (s) => 0.2 / (1 + (0.7 * s) / 5)],
  ["inverseTime, stairs", inverseTime(0.2, 5, 0.7, true), (s) => 0.2 / (1 + 0.7 * Math.floor(s / 5))],
  ["piecewise", piecewise([3, 10], [1, 0.5, 0.1]), (s) => (s <= 3 ? 1 : s <= 10 ? 0.5 : 0.1)],
  [
    "polynomial with an end",
    polynomial(0.4, 20, 2, 0.05),
    (s) => (0.4 - 0.05) * (1 - Math.min(s, 20) / 20) ** 2 + 0.05,
  ],
  [
    "cosineDecay",
    cosineDecay(0.4, 20, { alpha: 0.1 }),
    (s) => 0.4 * (0.9 * 0.5 * (1 + Math.cos((Math.PI * Math.min(s, 20)) / 20)) + 0.1),
  ],
  [
    "cosineDecay with a warm-up",
    cosineDecay(0.4, 20, { warmup: 5, start: 0.1 }),
    (s) => (s < 5 ? 0.1 + (0.3 * s) / 5 : 0.4 * 0.5 * (1 + Math.cos((Math.PI * Math.min(s - 5, 20)) / 20))),
  ],
  [
    "cosineRestarts that shrink",
    cosineRestarts(0.4, 6, 2, 0, 0.5),
    (s) => {
      // Cycles of 6, 12, 24 … steps.
      let [begin, length, height] = [0, 6, 0.4];
      while (s >= begin + length) [begin, length, height] = [begin + length, 2 * length, height / 2];
      return height * 0.5 * (1 + Math.cos((Math.PI * (s - begin)) / length));
    },
  ],
  [
    "product",
    schedules.product(0.4, [schedules.step(0.4, 5, 0.5), schedules.constantFactor(0.4, 0.1, 3)]),
    (s) => 0.4 * 0.5 ** Math.floor(s / 5) * (s < 3 ? 0.1 : 1),
  ],
];

const others: readonly schedules.Schedule[] = [
  schedules.step(0.1, 3),
  schedules.multiStep(0.1, [2, 9]),
  schedules.exponential(0.1, 0.9),
  schedules.cosine(0.1, 8),
  cosineRestarts(0.1, 5),
  schedules.linear(0.1),
  schedules.warmup(0.1, 4),
  schedules.warmupCosine(0.1, 4, 30),
  schedules.inverseSqrt(0.1, 4),
  schedules.switchAt(schedules.constant(1), 5, schedules.step(0.5, 2)),
  schedules.oneCycle({ max: 0.1, total: 40 }),
  schedules.oneCycleMomentum({ total: 40, threePhase: true }),
  schedules.cyclic({ base: 0.01, max: 0.1, up: 4, mode: "expRange", gamma: 0.9 }),
];

const steps = Array.from({ length: 40 }, (_, s) => s);

describe("schedules", () => {
  it.each(formulas)("%s", (_, schedule, formula) => {
    for (const s of steps) expect(rateAt(schedule, s), `step ${s}`).toBeCloseTo(formula(s), 12);
  });

  it("give the same rates in wasm", async () => {
    const all = [...formulas.map(([, schedule]) => schedule), ...others];
    const step = param("step", { dtype: "i32", shape: [] });
    const rates = all.map((schedule) => schedules.rateValue(schedule, step));
    const session = await load(
      await compile(
        graph(
          "rates",
          [step],
          rates,
          rates.map((_, i) => `rate${i}`),
        ),
      ),
    );
    for (const s of steps) {
      const feeds = { step: { dtype: "i32", shape: [], data: Int32Array.of(s) } as Tensor };
      const found = (await session.run(feeds)) as Readonly<Record<string, Tensor>>;
      all.forEach((schedule, i) => {
        const [rate] = found[`rate${i}`]!.data as Float32Array;
        expect(Math.abs(rate! - rateAt(schedule, s)), `schedule ${i}, step ${s}`).toBeLessThan(1e-7);
      });
    }
    session.dispose();
  });
});

describe("what schedules refuse", () => {
  const problem = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      if (error instanceof ModelError) return error.message;
      throw error;
    }
    return "";
  };
  type Loose = (...args: readonly unknown[]) => unknown;
  const factories = Object.entries(schedules).filter(([name]) => !["rateAt", "rateValue", "Plateau"].includes(name));

  it.each(factories)("%s", (name, factory) => {
    const make = factory as unknown as Loose;
    const { parameters, options } = definitionOf(factory)!;
    if (parameters) {
      expect(problem(() => make("0.1"))).toContain(`schedules.${name}`);
      expect(problem(() => make(...parameters.map(() => undefined)))).toContain("got undefined");
      expect(problem(() => make(1, 2, 3, 4, 5, 6, 7))).toContain("at most");
    } else {
      const first = Object.values(options!).some((o) => o.required) ? [] : name === "cosineDecay" ? [0.1, 5] : [0.1];
      expect(problem(() => make(...first, { totl: 5 }))).toContain(`schedules.${name} has no such option`);
      if (first.length === 0) expect(problem(() => make({}))).toContain("needs it");
      else expect(problem(() => make())).toContain("expected a number");
    }
  });

  it("what does not fit together", () => {
    expect(problem(() => piecewise([1, 2], [1, 2]))).toContain("need 3 rates");
    expect(problem(() => schedules.multiStep(0.1, [5, 3]))).toContain("steps that grow");
    expect(problem(() => schedules.warmupCosine(0.1, 5, 5))).toContain("more than steps");
    expect(problem(() => new schedules.Plateau(0.1, { patience: -1 }))).toContain("option patience");
  });
});
