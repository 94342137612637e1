/** Learns sixteen functions, one for each region of the input, with sixteen experts: `wasmith train models/moe`. */

import { F, type Goal, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { drawCharts } from "wasmith/callbacks";
import { type Random, randomOf } from "wasmith/data";
import { thinned } from "../curves.js";
import { floats } from "../values.js";
import { dense, Mixture } from "./model.js";

const features = 8;
const outputs = 4;
const regions = 16;
const experts = 16;
const chosen = 2;
const hidden = 32;
const batch = 512;
/** Half as many again as each expert has on average. */
const capacity = (1.5 * batch * chosen) / experts;

const mixture = new Mixture({ features, outputs, experts, chosen, hidden, capacity });
/** As many products for a sample as the gate and two experts. */
const single = dense(
  features,
  outputs,
  Math.round((chosen * hidden * (features + outputs) + features * experts) / (features + outputs)),
);

const moe = program(
  { mixture, single },
  {
    learn: {
      inputs: { x: [batch, features], y: [batch, outputs] },
      run(ctx, { x, y }) {
        const said = mixture(ctx, x);
        const error = F.mseLoss(said.y, y);
        ctx.minimize(error.add(said.imbalance.mul(0.01)), mixture, optim.Adam({ lr: 3e-3 }));
        const dense = ctx.minimize(F.mseLoss(single(ctx, x), y), single, optim.Adam({ lr: 3e-3 }));
        return { loss: error, dense, shares: said.shares };
      },
    },
    predict: {
      inputs: { x: [batch, features] },
      run(ctx, { x }) {
        const { y, shares } = mixture(ctx, x);
        return { y, shares, dense: single(ctx, x) };
      },
    },
  },
  { fit: false },
);
export default moe;
type Session = SessionOf<typeof moe>;

const stepsOfEpoch = 200;

export const fit = { epochs: 30 };
export const goal: Goal = {
  figure: "error",
  atMost: 0.1,
  baseline: { name: "one network of as many products for a sample, trained on the same", value: 0.174 },
};

/** A centre for each region, and a linear map of what is around it. */
const world = (() => {
  const random = randomOf(2024);
  return Array.from({ length: regions }, () => ({
    centre: Array.from({ length: features }, () => 1.5 * random.normal()),
    map: Array.from({ length: features * outputs }, () => random.normal()),
  }));
})();

/** Points about the centres, and what the map of their region makes of them. */
function points(random: Random) {
  const [x, y] = [new Float32Array(batch * features), new Float32Array(batch * outputs)];
  for (let i = 0; i < batch; i++) {
    const { centre, map } = world[random.integer(regions)]!;
    for (let f = 0; f < features; f++) {
      const away = 0.5 * random.normal();
      x[i * features + f] = centre[f]! + away;
      for (let o = 0; o < outputs; o++) y[i * outputs + o]! += away * map[f * outputs + o]!;
    }
  }
  return { x, y };
}

const curves = { mixture: [] as number[], dense: [] as number[] };

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const random = randomOf(seed);
  for (let epoch = 0; epoch < epochs; epoch++) {
    const sums = { loss: 0, dense: 0 };
    for (let i = 0; i < stepsOfEpoch; i++) {
      const { loss, dense } = await session.learn(points(random));
      sums.loss += Number(loss) / stepsOfEpoch;
      sums.dense += Number(dense) / stepsOfEpoch;
    }
    curves.mixture.push(sums.loss);
    curves.dense.push(sums.dense);
    await report(sums);
  }
}

/** Share of the variance that is not explained, on points that were not seen, and the largest share of an expert. */
export async function measure(session: Session) {
  const random = randomOf(77);
  const sums = { error: 0, dense: 0, variance: 0 };
  let most = 0;
  for (let i = 0; i < 20; i++) {
    const { x, y } = points(random);
    const said = await session.run({ x }, { entry: "predict" });
    const [mine, single] = [floats(said.y), floats(said.dense)];
    for (const [j, v] of y.entries()) {
      sums.error += (v - mine[j]!) ** 2;
      sums.dense += (v - single[j]!) ** 2;
      sums.variance += v * v;
    }
    most = Math.max(most, ...floats(said.shares));
  }
  return { error: sums.error / sums.variance, dense: sums.dense / sums.variance, largestShare: most };
}

/** Errors while learning, and which expert is asked in which region. */
export async function show(session: Session) {
  const { x } = points(randomOf(5));
  const { shares } = await session.run({ x }, { entry: "predict" });
  return {
    "curves.svg": drawCharts("A mixture of experts", [
      {
        title: "Error: a mixture, and one dense network",
        axis: "epochs",
        lines: { mixture: thinned(curves.mixture), dense: thinned(curves.dense) },
        logarithmic: true,
      },
      {
        title: "Share of the experts",
        axis: "expert",
        lines: { share: Array.from(floats(shares), (s, i) => [i + 1, s] as const) },
        dots: ["share"],
      },
    ]),
  };
}
