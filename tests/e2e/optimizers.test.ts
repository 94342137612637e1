/** Every optimiser, schedule and clip in compiled wasm against PyTorch, written with what the package exports. */

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile, losses, nn, optim, schedules, type TrainOptions, trainStep } from "../../index.js";
import { load, type Tensor, type TrainingArtifact, type VariantId } from "../../runtime/index.js";
import { dataFolder, hasData, readJson } from "../nn/reference-data.js";

type Names = "w1" | "b1" | "w2" | "b2";
type Options = Readonly<Record<string, unknown>>;
interface Case {
  readonly id: string;
  readonly optimizer: string;
  readonly options: Options;
  readonly schedule?: { readonly name: string; readonly options: Options };
  readonly clip?: { readonly kind: "norm" | "value"; readonly max: number; readonly type?: number | "Infinity" };
  readonly accumulate?: number;
  readonly groups?: readonly { readonly params: readonly string[]; readonly options: Options }[];
  readonly loss: readonly number[];
  readonly lr: readonly number[];
  readonly momentumOrBeta1?: readonly number[];
  readonly params: Readonly<Record<string, Readonly<Record<Names, readonly number[]>>>>;
  readonly atol: { readonly loss: number; readonly params: number };
}
interface File<C> {
  readonly steps: number;
  readonly shapes: Readonly<Record<Names, readonly number[]>>;
  readonly init: Readonly<Record<Names, readonly number[]>>;
  readonly cases: readonly C[];
}

/** What the layers call the parameters of the recorded network, and the other way round. */
const layerNames: Readonly<Record<Names, string>> = { w1: "0.weight", b1: "0.bias", w2: "2.weight", b2: "2.bias" };
const ownNames = Object.fromEntries(Object.entries(layerNames).map(([own, layer]) => [layer, own]));

const variants: readonly VariantId[] = ["simd128", "relaxed"];

const optionNames: Readonly<Record<string, string>> = {
  weight_decay: "weightDecay",
  eps: "epsilon",
  lr_decay: "lrDecay",
  initial_accumulator_value: "initialAccumulator",
  momentum_decay: "momentumDecay",
};

/** PyTorch's options as ours. */
const renamed = (options: Options): Options =>
  Object.fromEntries(Object.entries(options).map(([k, v]) => [optionNames[k] ?? k, v] as const));

function scheduleOf({ name, options }: NonNullable<Case["schedule"]>, base: number): schedules.Schedule | undefined {
  const o = options as Record<string, never>;
  switch (name) {
    case "StepLR":
      return schedules.step(base, o.step_size!, o.gamma);
    case "MultiStepLR":
      return schedules.multiStep(base, o.milestones!, o.gamma);
    case "ExponentialLR":
      return schedules.exponential(base, o.gamma!);
    case "CosineAnnealingLR":
      return schedules.cosine(base, o.T_max!, o.eta_min);
    case "CosineAnnealingWarmRestarts":
      return schedules.cosineRestarts(base, o.T_0!, o.T_mult, o.eta_min);
    case "LinearLR":
      return schedules.linear(base, { start: o.start_factor!, end: o.end_factor!, total: o.total_iters! });
    case "LinearWarmup":
      return schedules.warmup(base, o.warmup!);
    case "WarmupCosine":
      return schedules.warmupCosine(base, o.warmup!, o.total!);
    case "InverseSqrt":
      return schedules.inverseSqrt(base, o.warmup!);
    case "PolynomialLR":
      return schedules.polynomial(base, o.total_iters!, o.power);
    case "OneCycleLR":
      return schedules.oneCycle(oneCycleOptions(o));
    case "CyclicLR":
      return schedules.cyclic({
        base: o.base_lr!,
        max: o.max_lr!,
        up: o.step_size_up!,
        down: o.step_size_down!,
        mode: o.mode!,
      });
    case "SequentialWarmupExp": {
      const { constant, exponential, milestone } = options as unknown as {
        constant: { factor: number };
        exponential: { gamma: number };
        milestone: number;
      };
      const warm = schedules.constant(base * constant.factor);
      return schedules.switchAt(warm, milestone, schedules.exponential(base, exponential.gamma));
    }
    default:
      return undefined;
  }
}

function oneCycleOptions(o: Record<string, never>): schedules.OneCycleOptions {
  return {
    max: o.max_lr!,
    total: o.total_steps!,
    ...(o.pct_start === undefined ? {} : { rise: o.pct_start }),
    ...(o.anneal_strategy === "linear" ? { anneal: "linear" as const } : {}),
    ...(o.div_factor === undefined ? {} : { startDivisor: o.div_factor }),
    ...(o.final_div_factor === undefined ? {} : { endDivisor: o.final_div_factor }),
    ...(o.three_phase === undefined ? {} : { threePhase: o.three_phase }),
  };
}

function momentumOf(c: Case): schedules.Schedule | undefined {
  if (!c.momentumOrBeta1 || !c.schedule) return undefined;
  const o = c.schedule.options as Record<string, never>;
  if (c.schedule.name === "OneCycleLR") return schedules.oneCycleMomentum(oneCycleOptions(o));
  return schedules.cyclic({ base: 0.9, max: 0.8, up: o.step_size_up!, down: o.step_size_down!, mode: o.mode! });
}

type Factory = (options: Record<string, unknown>) => optim.Optimizer;
const make = (name: string, options: Options): optim.Optimizer =>
  (optim as unknown as Record<string, Factory>)[name]!(options);

const f32 = (shape: readonly number[], values: readonly number[]): Tensor => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(values),
});

/** A session of the recorded network: tanh(x·w1ᵀ + b1)·w2ᵀ + b2 with a mean squared error. */
async function sessionOf(
  { shapes, init }: Pick<File<unknown>, "shapes" | "init">,
  options: Omit<TrainOptions, "inputs" | "targets" | "loss">,
  variant: VariantId,
) {
  const [hidden, inputs] = shapes.w1 as readonly [number, number];
  const [outputs] = shapes.w2 as readonly [number];
  const net = nn.sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs));
  net.loadState(
    new Map((Object.keys(layerNames) as Names[]).map((n) => [layerNames[n], f32(shapes[n], init[n]) as never])),
  );
  const program = trainStep(net, {
    ...options,
    inputs: { x: ["batch", inputs] },
    targets: { y: ["batch", outputs] },
    loss: losses.mse(),
  });
  const artifact = (await compile(program, { variants: [variant] })) as unknown as TrainingArtifact;
  const session = await load(artifact);
  expect(session.report.variant).toBe(variant);
  return session;
}

function expectNear(got: ArrayLike<number>, want: readonly number[], atol: number, what: string): void {
  expect(got.length).toBe(want.length);
  want.forEach((w, i) => {
    expect(Math.abs(got[i]! - w), `${what}[${i}] is ${got[i]}, not ${w}`).toBeLessThanOrEqual(atol);
  });
}

interface Recorded extends File<Case> {
  readonly x: readonly (readonly number[])[];
  readonly y: readonly (readonly number[])[];
}

describe.skipIf(!hasData)("optimisers, schedules and clipping follow PyTorch", () => {
  const read = (name: string) => readJson<Recorded>(join(dataFolder, "reference/train", name));
  const file = hasData ? read("optim.json") : ({ cases: [] } as unknown as Recorded);
  const nadam = hasData ? read("nadam.json") : file;
  const cases = [
    ...file.cases.filter((c) => c.optimizer !== "NAdam").map((c) => [c.id, file, c] as const),
    // What PyTorch 1.13 recorded of NAdam is not what later versions compute.
    ...nadam.cases.map((c) => [c.id, nadam, c] as const),
  ];
  it("has all recorded cases", () => expect(cases.length).toBe(file.cases.length));

  it.each(cases)("%s", async (_, { steps, x, y, ...recorded }, c) => {
    const groups = c.groups?.map((g) => ({
      params: (name: string) => g.params.includes(ownNames[name]!),
      options: renamed(g.options),
    }));
    const optimizer = make(c.optimizer, { ...renamed(c.options), ...(groups ? { groups } : {}) });
    const schedule = c.schedule && scheduleOf(c.schedule, optimizer.lr);
    const momentumSchedule = momentumOf(c);
    const p = c.clip?.type === "Infinity" ? Infinity : c.clip?.type;
    const clip = c.clip && (c.clip.kind === "norm" ? optim.clipNorm(c.clip.max, p) : optim.clipValue(c.clip.max));
    const options = {
      optimizer,
      ...(schedule ? { schedule } : {}),
      ...(momentumSchedule ? { momentumSchedule } : {}),
      ...(clip ? { clip } : {}),
      ...(c.accumulate ? { accumulate: c.accumulate } : {}),
    };
    if (schedule)
      c.lr.forEach((rate, s) => {
        const difference = Math.abs(schedules.rateAt(schedule, s) - rate);
        expect(difference, `rate at step ${s}`).toBeLessThan(1e-7 * c.lr[0]! + 1e-9);
      });
    const parts = c.accumulate ?? 1;
    const rows = x.length / parts;
    const part = (list: readonly (readonly number[])[], k: number) =>
      f32([rows, list[0]!.length], list.slice(k * rows, (k + 1) * rows).flat());
    for (const variant of variants) {
      const session = await sessionOf(recorded, options, variant);
      const plateau = plateauOf(c, optimizer.lr);
      for (let s = 0; s < steps; s++) {
        if (plateau) session.learningRate = plateau.rate;
        let loss = 0;
        for (let k = 0; k < parts; k++) loss += (await session.step({ x: part(x, k), y: part(y, k) })).loss / parts;
        expect(Math.abs(loss - c.loss[s]!), `${variant}: loss at step ${s}`).toBeLessThanOrEqual(c.atol.loss);
        plateau?.next(c.loss[s]!);
        const want = c.params[String(s + 1)];
        for (const n of want ? (Object.keys(layerNames) as Names[]) : []) {
          const got = session.getState(layerNames[n]).data as Float32Array;
          expectNear(got, want![n], c.atol.params, `${variant}, ${s + 1} steps: ${n}`);
        }
      }
      session.dispose();
    }
  });
});

interface FormulaCase extends Pick<Case, "id" | "optimizer" | "options" | "loss"> {
  readonly state: Readonly<Record<string, readonly number[]>>;
  readonly atol: { readonly loss: number; readonly state: number };
}

describe("optimisers that the recorded runs lack follow PyTorch or their formulas", () => {
  const file = readJson<File<FormulaCase> & { readonly x: readonly number[]; readonly y: readonly number[] }>(
    join(import.meta.dirname, "../fixtures/learn/optimizers.json"),
  );
  it.each(file.cases.map((c) => [c.id, c] as const))("%s", async (_, c) => {
    const { averaged, others, otherOptions, ...options } = c.options as {
      readonly averaged?: number;
      readonly others?: string;
      readonly otherOptions?: Options;
    };
    const one = make(c.optimizer, options);
    const biases = { params: (name: string) => name.endsWith("bias") };
    const plain =
      others === undefined ? one : optim.combined(one, [{ ...biases, optimizer: make(others, otherOptions ?? {}) }]);
    const optimizer = averaged === undefined ? plain : optim.averaged(plain, { decay: averaged });
    const rows = file.x.length / file.shapes.w1[1]!;
    const feeds = { x: f32([rows, file.shapes.w1[1]!], file.x), y: f32([rows, file.shapes.w2[0]!], file.y) };
    for (const variant of variants) {
      const session = await sessionOf(file, { optimizer }, variant);
      const seen: number[] = [];
      for (let s = 0; s < c.loss.length; s++) seen.push((await session.step(feeds)).loss);
      expectNear(seen, c.loss, c.atol.loss, `${variant}: loss`);
      for (const [name, want] of Object.entries(c.state)) {
        const own = name.slice(name.lastIndexOf(".") + 1) as Names;
        const got = session.getState(name.replace(own, layerNames[own])).data as Float32Array;
        expectNear(got, want, c.atol.state, `${variant}: ${name}`);
      }
      session.dispose();
    }
  });
});

function plateauOf(c: Case, rate: number): schedules.Plateau | undefined {
  if (c.schedule?.name !== "ReduceLROnPlateau") return undefined;
  const o = c.schedule.options as Record<string, never>;
  return new schedules.Plateau(rate, {
    factor: o.factor!,
    patience: o.patience!,
    threshold: o.threshold!,
    ...(o.threshold_mode === "abs" ? { thresholdMode: "absolute" as const } : {}),
    ...(o.cooldown === undefined ? {} : { cooldown: o.cooldown }),
    ...(o.min_lr === undefined ? {} : { min: o.min_lr }),
  });
}
