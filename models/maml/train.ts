/** Learns to learn sinusoids from ten points: `wasmith train models/maml`. */

import { F, type Goal, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { type Chart, drawCharts } from "wasmith/callbacks";
import { type Random, randomOf } from "wasmith/data";
import { floats } from "../values.js";
import { Regressor } from "./model.js";

const maml = new Regressor();
/** The same network, trained on all tasks at once. */
const pretrained = new Regressor();
const shots = 10;
const points = { x: ["tasks", shots, 1], y: ["tasks", shots, 1] } as const;
const asked = { at: ["tasks", "points", 1] } as const;
/** Steps that are taken on a new task. */
const steps = [0, 1, 10];

const learners = program(
  { maml, pretrained },
  {
    learn: {
      inputs: { ...points, ...asked, wanted: ["tasks", "points", 1] },
      run(ctx, { x, y, at, wanted }) {
        const after = maml.with(maml.adapted(ctx, x, y), at);
        return {
          loss: ctx.minimize(F.mseLoss(after, wanted), maml, optim.Adam({ lr: 1e-3 })),
          pretraining: ctx.minimize(F.mseLoss(pretrained(ctx, x), y), pretrained, optim.Adam({ lr: 1e-3 })),
        };
      },
    },
    /** What the learners say after 0, 1 and 10 steps on the points of a task, [3, tasks, points, 1]. */
    adapt: {
      inputs: { ...points, ...asked },
      run(ctx, { x, y, at }) {
        const said = (net: Regressor, rate: number) =>
          F.stack(steps.map((count) => net.with(net.adapted(ctx, x, y, { steps: count, rate }), at)));
        // With the rate of the other, steps of the pretrained network make it worse.
        return { maml: said(maml, 0.01), pretrained: said(pretrained, 0.001) };
      },
    },
  },
);
export default learners;
type Session = SessionOf<typeof learners>;

const tasksOfStep = 25;
const stepsOfEpoch = 500;

export const fit = { epochs: 24 };
export const goal: Goal = {
  figure: "error",
  atMost: 1,
  baseline: { name: "the same network, trained on all tasks and adapted by one step", value: 2.449 },
};

/** Sinusoids of random height and phase, each seen at some random places and asked at others. */
function sinusoids(count: number, asked: number, random: Random) {
  const [x, y] = [new Float32Array(count * shots), new Float32Array(count * shots)];
  const [at, wanted] = [new Float32Array(count * asked), new Float32Array(count * asked)];
  for (let i = 0; i < count; i++) {
    const [height, phase] = [random.between(0.1, 5), random.between(0, Math.PI)];
    for (let j = 0; j < shots; j++) {
      x[i * shots + j] = random.between(-5, 5);
      y[i * shots + j] = height * Math.sin(x[i * shots + j]! - phase);
    }
    for (let j = 0; j < asked; j++) {
      at[i * asked + j] = asked === shots ? random.between(-5, 5) : -5 + (10 * j) / (asked - 1);
      wanted[i * asked + j] = height * Math.sin(at[i * asked + j]! - phase);
    }
  }
  return { x, y, at, wanted };
}

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const random = randomOf(seed);
  for (let epoch = 0; epoch < epochs; epoch++) {
    const sums = { loss: 0, pretraining: 0 };
    for (let i = 0; i < stepsOfEpoch; i++) {
      const { loss, pretraining } = await session.learn(sinusoids(tasksOfStep, shots, random));
      sums.loss += Number(loss) / stepsOfEpoch;
      sums.pretraining += Number(pretraining) / stepsOfEpoch;
    }
    await report(sums);
  }
}

const grid = 100;
const meanSquare = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0) / a.length;

/** Mean squared errors on 200 new tasks, after 0, 1 and 10 steps; `error` is after 1. */
export async function measure(session: Session) {
  const { x, y, at, wanted } = sinusoids(200, grid, randomOf(99));
  const { maml, pretrained } = await session.adapt({ x, y, at });
  const after = (said: typeof maml, i: number) =>
    meanSquare(floats(said).subarray(i * wanted.length, (i + 1) * wanted.length), wanted);
  return {
    error: after(maml, 1),
    before: after(maml, 0),
    tenSteps: after(maml, 2),
    pretrained: after(pretrained, 1),
    pretrainedTenSteps: after(pretrained, 2),
  };
}

/** Three new tasks: the curve, the points that are seen, and what the learner makes of them. */
export async function show(session: Session) {
  const { x, y, at, wanted } = sinusoids(3, grid, randomOf(5));
  const { maml } = await session.adapt({ x, y, at });
  const said = floats(maml);
  const part = (xs: Float32Array, ys: Float32Array, from: number, count: number) =>
    Array.from({ length: count }, (_, i) => [xs[from + i]!, ys[from + i]!] as const);
  return {
    "sinusoids.svg": drawCharts(
      "What is made of ten points",
      [0, 1, 2].map((task): Chart => {
        const after = (i: number) => part(at, said.subarray(i * 3 * grid, (i + 1) * 3 * grid), task * grid, grid);
        return {
          title: `Task ${task + 1}`,
          axis: "x",
          lines: {
            wanted: part(at, wanted, task * grid, grid),
            before: after(0),
            "1 step": after(1),
            "10 steps": after(2),
            points: part(x, y, task * shots, shots),
          },
          dots: ["points"],
        };
      }),
    ),
  };
}
