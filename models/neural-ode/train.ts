/** Learns how a pendulum swings from short, noisy observations: `wasmith train models/neural-ode`. */

import { F, type Goal, nn, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { drawCharts } from "wasmith/callbacks";
import { randomOf } from "wasmith/data";
import { floats } from "../values.js";
import { NeuralOde, slopes } from "./model.js";

/** Seconds between two observations, and how many are seen in a row. */
const time = 0.1;
const seen = 10;
/** Steps that are foretold at last. */
const ahead = 100;

const ode = new NeuralOde(slopes(), time);
/** A linear equation, trained in the same way. */
const linear = new NeuralOde(nn.Linear(2, 2), time);

const pendulum = program(
  { ode, linear },
  {
    learn: {
      inputs: { start: ["batch", 2], states: [seen, "batch", 2] },
      run(ctx, { start, states }) {
        const step = (net: NeuralOde) =>
          ctx.minimize(F.mseLoss(net(ctx, start, seen), states), net, optim.Adam({ lr: 3e-3 }));
        return { loss: step(ode), linear: step(linear) };
      },
    },
    predict: {
      inputs: { start: ["batch", 2] },
      run: (ctx, { start }) => ({ ode: ode(ctx, start, ahead), linear: linear(ctx, start, ahead) }),
    },
  },
  { fit: false },
);
export default pendulum;
type Session = SessionOf<typeof pendulum>;

const batchSize = 64;
const stepsOfEpoch = 100;

export const fit = { epochs: 30 };
export const goal: Goal = {
  figure: "error",
  atMost: 0.1,
  baseline: { name: "a linear equation, trained in the same way", value: 0.511 },
};

type State = readonly [angle: number, velocity: number];

/** A damped pendulum, in steps that are far shorter than those of the model. */
function swing(start: State, steps: number): State[] {
  const states: State[] = [];
  const parts = 100;
  let [angle, velocity] = start;
  for (let i = 0; i < steps * parts; i++) {
    velocity += (time / parts) * (-4 * Math.sin(angle) - 0.2 * velocity);
    angle += (time / parts) * velocity;
    if ((i + 1) % parts === 0) states.push([angle, velocity]);
  }
  return states;
}

/** Swings from rest at random angles, some nearly upside down. */
function swings(count: number, steps: number, seed: number) {
  const random = randomOf(seed);
  return Array.from({ length: count }, () => {
    const start = [random.between(-2.9, 2.9), 0] as const;
    return [start, ...swing(start, steps)];
  });
}

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const random = randomOf(seed);
  const noisy = swings(100, ahead, 1).map((states) =>
    states.map(([angle, velocity]) => [angle + 0.02 * random.normal(), velocity + 0.02 * random.normal()] as const),
  );
  for (let epoch = 0; epoch < epochs; epoch++) {
    let sum = 0;
    for (let i = 0; i < stepsOfEpoch; i++) {
      const parts = Array.from({ length: batchSize }, () => {
        const states = noisy[random.integer(noisy.length)]!;
        const from = random.integer(ahead - seen);
        return states.slice(from, from + seen + 1);
      });
      const rows = (at: number) => parts.flatMap((states) => states[at]!);
      const states = Float32Array.from(Array.from({ length: seen }, (_, t) => rows(t + 1)).flat());
      sum += Number((await session.learn({ start: Float32Array.from(rows(0)), states })).loss);
    }
    await report({ loss: sum / stepsOfEpoch });
  }
}

/** Swings that were not seen, as they are and as they are foretold from their first state. */
async function foretold(session: Session, count: number) {
  const truth = swings(count, ahead, 77);
  const said = await session.run({ start: Float32Array.from(truth.flatMap((s) => s[0]!)) }, { entry: "predict" });
  return { truth, ode: floats(said.ode), linear: floats(said.linear) };
}

/** Root mean square errors of the angle over 10 seconds of 50 swings, in radians. */
export async function measure(session: Session) {
  const { truth, ode, linear } = await foretold(session, 50);
  const error = (said: Float32Array) => {
    const squares = truth.flatMap((states, i) =>
      states.slice(1).map(([angle], t) => (angle - said[(t * truth.length + i) * 2]!) ** 2),
    );
    return Math.sqrt(squares.reduce((a, b) => a + b, 0) / squares.length);
  };
  return { error: error(ode), linear: error(linear) };
}

/** Angles over time of two swings, and where the equation leads all states. */
export async function show(session: Session) {
  const { truth, ode, linear } = await foretold(session, 8);
  const widest = truth.map((s, i) => ({ i, angle: Math.abs(s[0]![0]) })).sort((a, b) => b.angle - a.angle)[0]!.i;
  const angles = (of: (t: number) => number) =>
    Array.from({ length: ahead }, (_, t) => [(t + 1) * time, of(t)] as const);
  const line = (said: Float32Array, i: number) => angles((t) => said[(t * truth.length + i) * 2]!);
  return {
    "swings.svg": drawCharts("A neural ODE", [
      {
        title: "Angle of a pendulum that was not seen",
        axis: "seconds",
        lines: {
          pendulum: angles((t) => truth[widest]![t + 1]![0]),
          "neural ODE": line(ode, widest),
          linear: line(linear, widest),
        },
        dots: ["pendulum"],
      },
      {
        title: "Angle and velocity of eight swings",
        axis: "angle",
        lines: Object.fromEntries(
          truth.map((_, i) => [
            String(i + 1),
            Array.from({ length: ahead }, (_, t) => {
              const at = (t * truth.length + i) * 2;
              return [ode[at]!, ode[at + 1]!] as const;
            }),
          ]),
        ),
      },
    ]),
  };
}
