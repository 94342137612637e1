/** Trains a diffusion model on handwritten digits of 16×16 pixels: `wasmith train models/diffusion`. */

import { optim, program, type SessionOf, schedules, type TrainRun } from "wasmith";
import { dataset, randomOf } from "wasmith/data";
import { smallDigits } from "../data/digits.js";
import { frechet } from "../judge.js";
import { grid } from "../pictures.js";
import { floats, numbers } from "../values.js";
import { UNet } from "./model.js";
import { cosineSchedule, Diffusion } from "./process.js";

const side = 16;
const kept = cosineSchedule(100);
const net = new UNet();
/** The mean of the net's weights over about the last tenth of the steps, which draws better pictures. */
const average = new UNet();
const learning = new Diffusion(net, kept);
const drawing = new Diffusion(average, kept);
/** Steps that DDIM takes. */
const count = 25;

export const fit = { epochs: 16, batchSize: 50 };
/** Steps in an epoch. */
const steps = 10_000 / fit.batchSize;
const schedule = schedules.warmupCosine(3e-3, 50, fit.epochs * steps);

const picture = ["count", 1, side, side] as const;
const labels = { dtype: "i32", shape: ["count"] } as const;

const diffusionProgram = program(
  { net, average },
  {
    learn: {
      inputs: { x: picture, y: labels, rate: [] },
      run(ctx, { x, y, rate }) {
        const loss = ctx.minimize(learning.loss(ctx, x, y), net, optim.Adam(), { schedule });
        ctx.blend(net, average, rate);
        return { loss };
      },
    },
    ddpm: {
      inputs: { noise: picture, y: labels },
      run: (ctx, { noise, y }) => ({ x: drawing.sample(ctx, noise, y, { count: kept.length, fresh: 1 }).picture }),
    },
    ddim: {
      inputs: { noise: picture, y: labels },
      run(ctx, { noise, y }) {
        const { picture, way } = drawing.sample(ctx, noise, y, { count });
        return { x: picture, way };
      },
    },
    denoise: {
      inputs: { x: picture, t: { dtype: "i64", shape: ["count"] }, y: labels },
      run: (ctx, { x, t, y }) => ({ clean: drawing.separate(ctx, x, t, y).clean }),
    },
  },
);
export default diffusionProgram;
type Session = SessionOf<typeof diffusionProgram>;

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const batches = dataset(await smallDigits("train"))
    .shuffle({ seed })
    .batch(fit.batchSize, { dtypes: { y: "i32" } });
  let step = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    let loss = 0;
    for await (const batch of batches.epoch(epoch)) {
      const rate = Float32Array.of(10 / (10 + step++));
      loss += numbers(await session.run({ ...batch, rate }, { entry: "learn" })).loss! / steps;
    }
    await report({ loss });
  }
}

/** Noise, of which digits from 0 to 9 are to be made in turn. */
function begin(count: number, seed: number) {
  const random = randomOf(seed);
  const data = Float32Array.from({ length: count * side * side }, () => random.normal());
  return {
    noise: { dtype: "f32" as const, shape: [count, 1, side, side], data },
    y: Int32Array.from({ length: count }, (_, i) => i % 10),
  };
}

export async function measure(session: Session) {
  const start = begin(1000, 1);
  return { frechet: await frechet({ ...start.noise, data: floats((await session.ddim(start)).x) }) };
}
export { frechetGoal as goal } from "../judge.js";

/** Digits made by 25 steps; digits made by all 100; and how a 2, 3, 5 and 8 came out of noise. */
export async function show(session: Session) {
  const size = [side, side] as const;
  const pictures = (data: Float32Array) => grid(data, { size, columns: 10, range: [-1, 1], scale: 3 });
  const ddim = await session.ddim(begin(40, 8));
  const ddpm = await session.ddpm(begin(20, 7));
  const way = floats(ddim.way);
  // Rows of the scan are in the order of time, whose end is first.
  const frames = [2, 3, 5, 8].flatMap((digit) =>
    [24, 21, 18, 15, 12, 9, 6, 4, 2, 0].flatMap((step) => {
      const at = (step * 40 + digit) * 256;
      return [...way.subarray(at, at + 256)];
    }),
  );
  return {
    "ddim.png": pictures(floats(ddim.x)),
    "ddpm.png": pictures(floats(ddpm.x)),
    "way.png": pictures(Float32Array.from(frames)),
  };
}
