/**
 * Policy gradients: REINFORCE with a baseline balances a pole, an actor-critic walks through a grid world:
 * `wasmith train models/policy-gradient`.
 */

import { F, type Goal, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { type Random, randomOf } from "wasmith/data";
import type { History } from "wasmith/runtime";
import { CartPole, cartPole, leaning } from "../environments/cartpole.js";
import { batchOf, meanReturn } from "../environments/environment.js";
import { GridWorld, gridWorld } from "../environments/grid-world.js";
import { advantages, Worlds } from "../environments/rollout.js";
import { argMax, floats, integers } from "../values.js";
import { gridPicture } from "./grid-picture.js";
import { ActorCritic, policyGradient } from "./model.js";

const pole = new ActorCritic(CartPole);
const grid = new ActorCritic(GridWorld);

const poleStates = { state: ["batch", CartPole.observation] } as const;
const gridStates = { state: ["batch", GridWorld.observation] } as const;
const acted = { action: { dtype: "i64", shape: ["batch"] }, advantage: ["batch"], result: ["batch"] } as const;
const clip = optim.clipNorm(0.5);

const agents = program(
  { pole, grid },
  {
    poleAct: {
      inputs: poleStates,
      run: (ctx, { state }) => ({ action: F.categorical(ctx, pole(ctx, state).logits) }),
    },
    poleSee: { inputs: poleStates, run: (ctx, { state }) => pole(ctx, state) },
    poleLearn: {
      inputs: { ...poleStates, ...acted },
      run: (ctx, { state, ...steps }) => ({
        loss: ctx.minimize(policyGradient(pole(ctx, state), steps), pole, optim.Adam({ lr: 5e-3 }), { clip }),
      }),
    },
    gridAct: {
      inputs: gridStates,
      run: (ctx, { state }) => ({ action: F.categorical(ctx, grid(ctx, state).logits) }),
    },
    gridSee: { inputs: gridStates, run: (ctx, { state }) => grid(ctx, state) },
    gridLearn: {
      inputs: { ...gridStates, ...acted },
      run: (ctx, { state, ...steps }) => ({
        loss: ctx.minimize(policyGradient(grid(ctx, state), steps), grid, optim.Adam({ lr: 5e-3 }), { clip }),
      }),
    },
  },
);
export default agents;
type Session = SessionOf<typeof agents>;

/** Of one epoch. */
const episodes = 40;
const updates = 60;
/** Steps of an update of the actor-critic, and worlds that run side by side. */
const steps = 16;
const worlds = 16;

export const fit = { epochs: 10 };
export const goal: Goal = {
  figure: "pole",
  atLeast: 400,
  baseline: { name: "pushing to where the pole leans", value: 40.8 },
};

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const random = randomOf(seed);
  const rooms = new Worlds(gridWorld, worlds, random);
  for (let epoch = 0; epoch < epochs; epoch++) {
    let [sum, loss] = [0, 0];
    for (let i = 0; i < episodes; i++) sum += await reinforce(session, random);
    for (let i = 0; i < updates; i++) loss += await actorCritic(session, rooms);
    await report({ loss: loss / updates, pole: sum / episodes, grid: rooms.recent });
  }
}

/** An episode, and what it teaches: each action counts by the return that came after it, less what the critic expected. */
async function reinforce(session: Session, random: Random, discount = 0.99): Promise<number> {
  const environment = cartPole(random);
  const states = [environment.reset()];
  const actions: bigint[] = [];
  const rewards: number[] = [];
  for (let over = false; !over; ) {
    const action = integers((await session.poleAct({ state: states.at(-1)! })).action)[0]!;
    const { state, reward, terminated, truncated } = environment.step(Number(action));
    actions.push(action);
    rewards.push(reward);
    over = terminated || truncated;
    if (!over) states.push(state);
  }
  const result = Float32Array.from(rewards);
  for (let t = result.length - 2; t >= 0; t--) result[t]! += discount * result[t + 1]!;
  // Returns come to some tens; the critic learns them in units of ten.
  const scaled = result.map((r) => r / 10);
  const state = batchOf(states);
  const expected = floats((await session.poleSee({ state })).value);
  const advantage = scaled.map((r, t) => r - expected[t]!);
  await session.poleLearn({ state, action: BigInt64Array.from(actions), advantage, result: scaled });
  return rewards.length;
}

/** Some steps in all worlds at once, with what the critic expects to come after the last. */
async function actorCritic(session: Session, rooms: Worlds): Promise<number> {
  const rollout = await rooms.rollout(async (state) => integers((await session.gridAct({ state })).action), steps);
  const value = async (state: Float32Array) => floats((await session.gridSee({ state })).value);
  const values = { states: await value(rollout.states), reached: await value(rollout.reached) };
  const advantage = advantages(rollout, values);
  const result = advantage.map((a, i) => a + values.states[i]!);
  return Number((await session.gridLearn({ state: rollout.states, action: rollout.actions, advantage, result })).loss);
}

/** Mean returns of the most probable actions, and of chance and a rule. */
export async function measure(session: Session) {
  const random = randomOf(3);
  const chance = (actions: number) => (_: Float32Array, count: number) =>
    Array.from({ length: count }, () => random.integer(actions));
  const best = (see: typeof session.poleSee, actions: number) => async (state: Float32Array) =>
    argMax(floats((await see({ state })).logits), actions);
  return {
    pole: await meanReturn(cartPole, best(session.poleSee, CartPole.actions)),
    poleByChance: await meanReturn(cartPole, chance(CartPole.actions)),
    poleByRule: await meanReturn(cartPole, leaning),
    grid: await meanReturn(gridWorld, best(session.gridSee, GridWorld.actions), { episodes: 500 }),
    gridByChance: await meanReturn(gridWorld, chance(GridWorld.actions), { episodes: 500 }),
  };
}

/** The way through the rooms, and the returns while learning. */
export async function show(session: Session, history: History) {
  const cells = GridWorld.size ** 2;
  const state = batchOf(Array.from({ length: cells }, (_, i) => GridWorld.state(i)));
  const { logits, value } = await session.gridSee({ state });
  return {
    "grid.svg": gridPicture(argMax(floats(logits), GridWorld.actions), floats(value)),
    "curves.svg": await history.toSVG("Mean returns: REINFORCE on CartPole, actor-critic in the grid world"),
  };
}
