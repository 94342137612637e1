/** Learns to balance a pole by trial and error, with a deep Q-network: `wasmith train models/dqn`. */

import { type Goal, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { randomOf } from "wasmith/data";
import type { History } from "wasmith/runtime";
import { CartPole, cartPole, leaning } from "../environments/cartpole.js";
import { meanReturn } from "../environments/environment.js";
import { argMax, floats } from "../values.js";
import { qNetwork, temporalDifference } from "./model.js";
import { Replay } from "./replay.js";

const { observation, actions } = CartPole;
/** What the parts of a state come to, so that the network sees numbers about 1. */
const units = [2.4, 2, 0.2, 2];
const online = qNetwork({ units, actions });
const target = qNetwork({ units, actions });

const dqn = program(
  { online, target },
  {
    learn: {
      inputs: {
        state: ["batch", observation],
        action: { dtype: "i64", shape: ["batch"] },
        reward: ["batch"],
        next: ["batch", observation],
        terminated: ["batch"],
      },
      run(ctx, transition) {
        const loss = temporalDifference(ctx, online, target, transition);
        ctx.minimize(loss, online, optim.Adam({ lr: 1e-3 }), { clip: optim.clipNorm(10) });
        ctx.blend(online, target, 0.01);
        return { loss };
      },
    },
    values: { inputs: { state: ["batch", observation] }, run: (ctx, { state }) => ({ q: online(ctx, state) }) },
  },
);
export default dqn;
type Session = SessionOf<typeof dqn>;

/** Steps in the environment before the next report. */
const stepsOfEpoch = 8_000;
/** Steps in the environment for one of the optimiser. */
const stepsOfUpdate = 4;
/** Steps in which the share of random actions falls to its least. */
const exploring = 20_000;
const batchSize = 64;

export const fit = { epochs: 15 };
export const goal: Goal = {
  figure: "return",
  atLeast: 450,
  baseline: { name: "pushing to where the pole leans", value: 40.8 },
};

const greedy = (session: Session) => async (state: Float32Array) =>
  argMax(floats((await session.values({ state })).q), actions);

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  session.copyState("online.", "target.");
  const random = randomOf(seed);
  const environment = cartPole(random);
  const replay = new Replay(50_000, observation);
  const choose = greedy(session);
  let state = environment.reset();
  let steps = 0;
  // The agent that did best is kept: one that goes on to learn may forget.
  let best = { score: 0, weights: weightsOf(session) };
  for (let epoch = 0; epoch < epochs; epoch++) {
    let loss = 0;
    for (let i = 0; i < stepsOfEpoch; i++, steps++) {
      const curious = random.chance(Math.max(0.05, 1 - steps / exploring));
      const action = curious ? random.integer(actions) : (await choose(state))[0]!;
      const step = environment.step(action);
      replay.add(state, action, step);
      state = step.terminated || step.truncated ? environment.reset() : step.state;
      if (replay.size >= 500 && steps % stepsOfUpdate === 0)
        loss += Number((await session.learn(replay.sample(batchSize, random))).loss);
    }
    const score = await meanReturn(cartPole, choose, { episodes: 20, seed: 1 });
    if (score > best.score) best = { score, weights: weightsOf(session) };
    await report({ loss: (loss * stepsOfUpdate) / stepsOfEpoch, return: score });
  }
  for (const [name, tensor] of best.weights) session.setState(name, tensor);
}

const weightsOf = (session: Session) =>
  session.state.filter((s) => s.name.startsWith("online.")).map(({ name }) => [name, session.getState(name)] as const);

/** Mean returns over 100 episodes that were not seen: of the agent, of chance, and of a rule. */
export async function measure(session: Session) {
  const random = randomOf(3);
  return {
    return: await meanReturn(cartPole, greedy(session)),
    random: await meanReturn(cartPole, (_, count) => Array.from({ length: count }, () => random.integer(actions))),
    leaning: await meanReturn(cartPole, leaning),
  };
}

export const show = async (_: Session, history: History) => ({ "curves.svg": await history.toSVG("DQN on CartPole") });
