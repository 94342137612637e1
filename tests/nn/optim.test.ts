import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as losses from "../../compiler/dsl/losses.js";
import * as nn from "../../compiler/dsl/nn.js";
import * as optim from "../../compiler/dsl/optim.js";
import * as schedules from "../../compiler/dsl/schedules.js";
import { trainStep } from "../../compiler/dsl/train.js";
import { linear } from "../../ir/einsum.js";
import type { Value } from "../../ir/graph.js";
import { tanh } from "../../ir/ops/elementwise.js";
import { scalar, type Tensor, tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { dataFolder, hasData, readJson } from "./reference-data.js";
import { ReferenceSession } from "./reference-session.js";

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
interface File {
  readonly steps: number;
  readonly shapes: Readonly<Record<Names, readonly number[]>>;
  readonly x: readonly (readonly number[])[];
  readonly y: readonly (readonly number[])[];
  readonly init: Readonly<Record<Names, readonly number[]>>;
  readonly cases: readonly Case[];
}

const names: readonly Names[] = ["w1", "b1", "w2", "b2"];

class Net extends nn.Module {
  readonly w1 = nn.parameter([8, 4], nn.init.zeros);
  readonly b1 = nn.parameter([8], nn.init.zeros);
  readonly w2 = nn.parameter([3, 8], nn.init.zeros);
  readonly b2 = nn.parameter([3], nn.init.zeros);
  forward(ctx: nn.Context, x: Value): Value {
    return linear(tanh([linear(x, ctx.value(this.w1), ctx.value(this.b1))]), ctx.value(this.w2), ctx.value(this.b2));
  }
}

const optionNames: Readonly<Record<string, string>> = {
  weight_decay: "weightDecay",
  eps: "epsilon",
  lr_decay: "lrDecay",
  initial_accumulator_value: "initialAccumulator",
  momentum_decay: "momentumDecay",
};

/** PyTorch's options as ours. */
function renamed(options: Options): Record<string, number> {
  const { betas, ...rest } = options as { betas?: readonly [number, number] };
  const own = Object.entries(rest).map(([k, v]) => [optionNames[k] ?? k, v] as const);
  return { ...(betas ? { beta1: betas[0], beta2: betas[1] } : {}), ...Object.fromEntries(own) };
}

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

describe.skipIf(!hasData)("optimisers follow PyTorch", () => {
  const file: File = hasData
    ? readJson<File>(join(dataFolder, "reference/train/optim.json"))
    : { steps: 0, shapes: {} as never, x: [], y: [], init: {} as never, cases: [] };
  const batch = (rows: readonly (readonly number[])[]) =>
    tensorFrom("f32", [rows.length, rows[0]!.length], rows.flat());
  const initial = () => new Map(names.map((n) => [n, tensorFrom("f32", file.shapes[n], file.init[n])]));

  // The recording version of PyTorch (1.13 alpha) multiplied NAdam's next momentum product by μ once too often; later ones do not.
  const cases = file.cases.filter((c) => c.optimizer !== "NAdam");
  it.each(cases.map((c) => [c.id, c] as const))("%s", (_, c) => {
    const make = (optim as unknown as Record<string, Factory>)[c.optimizer]!;
    const groups = c.groups?.map((g) => ({
      params: (name: string) => g.params.includes(name),
      options: renamed(g.options),
    }));
    const optimizer = make({ ...renamed(c.options), ...(groups ? { groups } : {}) });
    const schedule = c.schedule && scheduleOf(c.schedule, optimizer.lr);
    const momentumSchedule = momentumOf(c);
    const p = c.clip?.type === "Infinity" ? Infinity : c.clip?.type;
    const clip = c.clip && (c.clip.kind === "norm" ? optim.clipNorm(c.clip.max, p) : optim.clipValue(c.clip.max));
    const program = trainStep(new Net().loadState(initial()), {
      inputs: { x: ["batch", 4] },
      targets: { y: ["batch", 3] },
      loss: losses.mse(),
      optimizer,
      ...(schedule ? { schedule } : {}),
      ...(momentumSchedule ? { momentumSchedule } : {}),
      ...(clip ? { clip } : {}),
      ...(c.accumulate ? { accumulate: c.accumulate } : {}),
    });
    const session = new ReferenceSession(program);
    const feeds = { x: batch(file.x), y: batch(file.y) };
    const plateau = plateauOf(c, optimizer.lr);
    for (let s = 0; s < file.steps; s++) {
      if (schedule) {
        expect(Math.abs(schedules.rateAt(schedule, s) - c.lr[s]!), `rate at step ${s}`).toBeLessThan(
          1e-7 * c.lr[0]! + 1e-9,
        );
      }
      if (plateau) session.state.set("optimizer.lr", scalar("f32", plateau.rate));
      const parts = c.accumulate ?? 1;
      const loss = Array.from({ length: parts }, (_, k) => session.step(part(feeds, k, parts)).loss! / parts).reduce(
        (a, b) => a + b,
      );
      expect(Math.abs(loss - c.loss[s]!), `loss at step ${s}`).toBeLessThanOrEqual(c.atol.loss);
      plateau?.next(c.loss[s]!);
      const want = c.params[String(s + 1)];
      if (!want) continue;
      for (const n of names) {
        toNumbers(session.state.get(n)!).forEach((v, i) => {
          expect(Math.abs(v - want[n][i]!), `${n}[${i}] after step ${s + 1}`).toBeLessThanOrEqual(c.atol.params);
        });
      }
    }
  });
});

/** The k-th of n equal parts of a batch. */
function part(feeds: Readonly<Record<string, Tensor>>, k: number, n: number): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(feeds).map(([name, t]) => {
      const [rows, width] = [t.shape[0]! / n, t.shape[1]!];
      return [name, tensor(t.dtype, [rows, width], t.data.slice(k * rows * width, (k + 1) * rows * width))];
    }),
  );
}

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
