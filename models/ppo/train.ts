/** Balances a pole by proximal policy optimisation: `wasmith train models/ppo`. */

import { F, type Goal, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { dataset, randomOf } from "wasmith/data";
import type { History } from "wasmith/runtime";
import { CartPole, cartPole, leaning } from "../environments/cartpole.js";
import { meanReturn } from "../environments/environment.js";
import { advantages, Worlds } from "../environments/rollout.js";
import { logProbability } from "../policy-gradient/model.js";
import { argMax, floats, integers, numbers } from "../values.js";
import { ActorCritic, proximalLoss } from "./model.js";

const { observation, actions } = CartPole;
const agent = new ActorCritic(CartPole);
const state = ["batch", observation] as const;
const action = { dtype: "i64", shape: ["batch"] } as const;

const ppo = program(agent, {
  act: { inputs: { state }, run: (ctx, { state }) => ({ action: F.categorical(ctx, agent(ctx, state).logits) }) },
  see: { inputs: { state }, run: (ctx, { state }) => agent(ctx, state) },
  /** What a rollout needs to be learnt from: values, and how probable its actions were. */
  judge: {
    inputs: { state, reached: state, action },
    run(ctx, { state, reached, action }) {
      const { logits, value } = agent(ctx, state);
      return { value, future: agent(ctx, reached).value, before: logProbability(logits, action) };
    },
  },
  learn: {
    inputs: { state, action, before: ["batch"], advantage: ["batch"], result: ["batch"] },
    run(ctx, { state, ...experience }) {
      const loss = proximalLoss(agent(ctx, state), experience);
      return { loss: ctx.minimize(loss, agent, optim.Adam({ lr: 1e-3 }), { clip: optim.clipNorm(0.5) }) };
    },
  },
});
export default ppo;
type Session = SessionOf<typeof ppo>;

const worlds = 8;
const steps = 128;
/** How often each rollout is gone through, in batches. */
const rounds = 6;
const batchSize = 256;

export const fit = { epochs: 60 };
export const goal: Goal = {
  figure: "return",
  atLeast: 475,
  baseline: { name: "pushing to where the pole leans", value: 40.8 },
};

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const poles = new Worlds(cartPole, worlds, randomOf(seed));
  for (let epoch = 0; epoch < epochs; epoch++) {
    const rollout = await poles.rollout(async (state) => integers((await session.act({ state })).action), steps);
    const { states: state, reached, actions: action } = rollout;
    const { value, future, before } = await session.judge({ state, reached, action });
    const values = { states: floats(value), reached: floats(future) };
    const advantage = advantages(rollout, values);
    const result = advantage.map((a, i) => a + values.states[i]!);
    const size = result.length;
    const experience = dataset({
      state: { dtype: "f32", shape: [size, observation], data: state },
      action,
      before: floats(before),
      advantage,
      result,
    }).shuffle({ seed: epoch });
    let loss = 0;
    for (let round = 0; round < rounds; round++)
      for await (const batch of experience.batch(batchSize).epoch(round))
        loss = numbers(await session.run(batch, { entry: "learn" })).loss!;
    await report({ loss, return: poles.recent });
  }
}

/** Mean returns over 100 episodes: of the most probable actions, of chance, and of a rule. */
export async function measure(session: Session) {
  const random = randomOf(3);
  return {
    return: await meanReturn(cartPole, async (state) => argMax(floats((await session.see({ state })).logits), actions)),
    random: await meanReturn(cartPole, (_, count) => Array.from({ length: count }, () => random.integer(actions))),
    leaning: await meanReturn(cartPole, leaning),
  };
}

export const show = async (_: Session, history: History) => ({ "curves.svg": await history.toSVG("PPO on CartPole") });
