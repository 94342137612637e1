/** Trains RealNVP on two moons: `wasmith train models/flow`. */

import { type Goal, optim, program, type SessionOf, schedules } from "wasmith";
import { drawCharts } from "wasmith/callbacks";
import { randomOf } from "wasmith/data";
import { pointsOf } from "../curves.js";
import { twoMoons } from "../data/plane.js";
import { grid } from "../pictures.js";
import { floats } from "../values.js";
import { RealNvp } from "./model.js";

const flow = new RealNvp();

export const fit = { epochs: 90, batchSize: 200 };
export const learnt = 10_000;
const schedule = schedules.warmupCosine(2e-3, 50, (fit.epochs * learnt) / fit.batchSize);

const flowProgram = program(flow, {
  step: {
    inputs: { x: ["batch", 2] },
    run: (ctx, { x }) => ({ loss: ctx.minimize(flow(ctx, x).mean().neg(), flow, optim.Adam(), { schedule }) }),
  },
  evaluate: { inputs: { x: ["batch", 2] }, run: (ctx, { x }) => ({ loss: flow(ctx, x).mean().neg() }) },
  density: { inputs: { x: ["batch", 2] }, run: (ctx, { x }) => ({ density: flow(ctx, x).exp() }) },
  sample: { inputs: { z: ["batch", 2] }, run: (ctx, { z }) => ({ x: flow.sample(ctx, z) }) },
});
export default flowProgram;
type Session = SessionOf<typeof flowProgram>;

const points = (data: Float32Array) => ({ dtype: "f32" as const, shape: [data.length / 2, 2], data });

export const dataset = { x: points(twoMoons(learnt, 1)) };
export const validation = { x: points(twoMoons(5000, 2)) };
export const goal: Goal = {
  figure: "loss",
  atMost: 1.05,
  baseline: { name: "kernel density of the same points, of the width of Scott's rule", value: 1.247 },
};

/** Points that were drawn, beside those that were learnt; and the density over the plane. */
export async function show(session: Session) {
  const random = randomOf(7);
  const z = Float32Array.from({ length: 2 * 2000 }, () => random.normal());
  const { x } = await session.sample({ z });
  const side = 200;
  const places = Float32Array.from({ length: 2 * side * side }, (_, i) => {
    const at = i >> 1;
    return i % 2 === 0 ? -1.5 + (4 * (at % side)) / side : 1.5 - (2.5 * Math.floor(at / side)) / side;
  });
  const { density } = await session.density({ x: places });
  return {
    "samples.svg": drawCharts("Two moons", [
      {
        title: "",
        axis: "",
        lines: { "learnt from": pointsOf(twoMoons(2000, 1)), drawn: pointsOf(floats(x)) },
        dots: ["learnt from", "drawn"],
        equalUnits: true,
      },
    ]),
    "density.png": grid(floats(density), { size: [side, side], columns: 1 }),
  };
}
