/** Trains a Wasserstein GAN with gradient penalty on eight normal distributions in a circle: `wasmith train models/wgan-gp`. */

import { F, type Goal, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { drawCharts } from "wasmith/callbacks";
import { randomOf } from "wasmith/data";
import { pointsOf } from "../curves.js";
import { eightNormals } from "../data/plane.js";
import { grid } from "../pictures.js";
import { floats, numbers } from "../values.js";
import { critic, generator, gradientPenalty } from "./model.js";

const batch = 256;
const G = generator();
const C = critic();

const wganProgram = program(
  { G, C },
  {
    learnCritic: {
      inputs: { real: [batch, 2] },
      run(ctx, { real }) {
        const fake = G(ctx, F.randnLike(ctx, real)).detach();
        const distance = C(ctx, real).mean().sub(C(ctx, fake).mean());
        const loss = gradientPenalty(ctx, C, real, fake).mul(0.1).sub(distance);
        ctx.minimize(loss, C, optim.Adam({ lr: 1e-3, betas: [0.5, 0.9] }));
        return { loss };
      },
    },
    learnGenerator: {
      inputs: {},
      run(ctx) {
        const loss = C(ctx, G(ctx, F.randn(ctx, [batch, 2])))
          .mean()
          .neg();
        return { loss: ctx.minimize(loss, G, optim.Adam({ lr: 1e-3, betas: [0.5, 0.9] })) };
      },
    },
    generate: { inputs: { z: ["count", 2] }, run: (ctx, { z }) => ({ x: G(ctx, z) }) },
    criticise: { inputs: { x: ["count", 2] }, run: (ctx, { x }) => ({ score: C(ctx, x) }) },
  },
);
export default wganProgram;
type Session = SessionOf<typeof wganProgram>;

/** Rounds of 100 steps of the generator. */
export const fit = { epochs: 20 };

/** For each step of the generator the critic takes five, with new points each time. */
export async function train(session: Session, run: TrainRun) {
  for (let epoch = 0; epoch < run.epochs; epoch++) {
    const points = eightNormals(500 * batch, 1 + run.seed + epoch);
    let loss = 0;
    for (let step = 0; step < 500; step++) {
      const told = numbers(
        await session.learnCritic({ real: points.subarray(2 * step * batch, 2 * (step + 1) * batch) }),
      );
      loss += told.loss! / 500;
      if (step % 5 === 4) await session.learnGenerator({});
    }
    await run.report({ loss });
  }
}

const normals = (count: number, seed: number) => {
  const random = randomOf(seed);
  return Float32Array.from({ length: 2 * count }, () => random.normal());
};

const count = 4000;
const generated = async (session: Session) => floats((await session.generate({ z: normals(count, 7) })).x);

/** How far mass has to move from one set of points to the other: the mean of it over 32 directions, along which it is sorted. */
function slicedWasserstein(a: Float32Array, b: Float32Array): number {
  const directions = 32;
  let sum = 0;
  for (let d = 0; d < directions; d++) {
    const [x, y] = [Math.cos((Math.PI * d) / directions), Math.sin((Math.PI * d) / directions)];
    const sorted = (points: Float32Array) =>
      Float32Array.from({ length: points.length / 2 }, (_, i) => x * points[2 * i]! + y * points[2 * i + 1]!).sort();
    const [first, second] = [sorted(a), sorted(b)];
    sum += first.reduce((moved, v, i) => moved + Math.abs(v - second[i]!), 0) / first.length / directions;
  }
  return sum;
}

export async function measure(session: Session) {
  const test = eightNormals(count, 1000);
  // The points' deviation in each direction: of a circle of radius 2, and of the distributions on it.
  const deviation = Math.sqrt(2 + 0.1 ** 2);
  return {
    wasserstein: slicedWasserstein(await generated(session), test),
    normal: slicedWasserstein(
      normals(count, 8).map((v) => v * deviation),
      test,
    ),
    data: slicedWasserstein(eightNormals(count, 1001), test),
  };
}

export const goal: Goal = {
  figure: "wasserstein",
  atMost: 0.15,
  baseline: { name: "a normal distribution with the points' mean and deviation", value: 0.35 },
};

/** What is generated beside what it should be like, and what the critic says of each place. */
export async function show(session: Session) {
  const side = 120;
  const places = Float32Array.from({ length: 2 * side * side }, (_, i) => {
    const at = i >> 1;
    return i % 2 === 0 ? -3 + (6 * (at % side)) / side : 3 - (6 * Math.floor(at / side)) / side;
  });
  const score = floats((await session.criticise({ x: places })).score);
  const range = [Math.min(...score), Math.max(...score)] as const;
  return {
    "points.svg": drawCharts("Eight normal distributions", [
      {
        title: "",
        axis: "",
        lines: {
          real: pointsOf(eightNormals(2000, 1000)),
          generated: pointsOf((await generated(session)).subarray(0, 4000)),
        },
        dots: ["real", "generated"],
        equalUnits: true,
      },
    ]),
    "critic.png": grid(score, { size: [side, side], columns: 1, range, scale: 3 }),
  };
}
