/**
 * Learns from a teacher who balances a pole: first from what the teacher did, then from what the teacher would have done where the student
 * went (DAgger): `wasmith train models/imitation`.
 */

import { type Goal, losses, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { dataset, randomOf } from "wasmith/data";
import type { History } from "wasmith/runtime";
import { balancing, CartPole, cartPole } from "../environments/cartpole.js";
import { batchOf, meanReturn, type Policy } from "../environments/environment.js";
import { argMax, floats, numbers } from "../values.js";
import { student as network } from "./model.js";

const { observation, actions } = CartPole;
const student = network({ observation, actions });
/** Learns from the teacher's own states alone, as many. */
const clone = network({ observation, actions });
const crossEntropy = losses.crossEntropy();

const lesson = { state: ["batch", observation], action: { dtype: "i32", shape: ["batch"] } } as const;
const seen = { state: ["batch", observation] } as const;

const imitation = program(
  { student, clone },
  {
    learn: {
      inputs: lesson,
      run: (ctx, { state, action }) => ({
        loss: ctx.minimize(crossEntropy(student(ctx, state), action), student, optim.Adam({ lr: 3e-3 })),
      }),
    },
    act: { inputs: seen, run: (ctx, { state }) => ({ logits: student(ctx, state) }) },
    cloneLearn: {
      inputs: lesson,
      run: (ctx, { state, action }) => ({
        loss: ctx.minimize(crossEntropy(clone(ctx, state), action), clone, optim.Adam({ lr: 3e-3 })),
      }),
    },
    cloneAct: { inputs: seen, run: (ctx, { state }) => ({ logits: clone(ctx, state) }) },
  },
);
export default imitation;
type Session = SessionOf<typeof imitation>;

/** Steps that are seen in a round: one for each state in which the teacher is asked. */
const stepsOfRound = 100;

export const fit = { epochs: 12 };
export const goal: Goal = {
  figure: "return",
  atLeast: 475,
  baseline: { name: "the student after the first round, which saw 100 states of the teacher's", value: 57.2 },
};

const acting = (session: Session) => async (state: Float32Array) =>
  argMax(floats((await session.act({ state })).logits), actions);
const cloning = (session: Session) => async (state: Float32Array) =>
  argMax(floats((await session.cloneAct({ state })).logits), actions);

/** States that a policy comes to, at the beginning of an episode and further on. */
async function visited(policy: Policy, seed: number): Promise<Float32Array[]> {
  const environment = cartPole(randomOf(seed));
  const states: Float32Array[] = [];
  let state = environment.reset();
  while (states.length < stepsOfRound) {
    states.push(state);
    const step = environment.step((await policy(state, 1))[0]!);
    state = step.terminated || step.truncated ? environment.reset() : step.state;
  }
  return states;
}

/** Learns to do in each state what the teacher would. */
async function learn(
  session: Session,
  entry: "learn" | "cloneLearn",
  states: readonly Float32Array[],
): Promise<number> {
  const data = batchOf(states);
  const lessons = dataset({
    state: { dtype: "f32", shape: [states.length, observation], data },
    action: Int32Array.from(balancing(data, states.length)),
  }).shuffle({ seed: states.length });
  let loss = 0;
  for (let epoch = 0; epoch < 20; epoch++)
    for await (const batch of lessons.batch(32).epoch(epoch)) loss = numbers(await session.run(batch, { entry })).loss!;
  return loss;
}

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const states: Float32Array[] = [];
  const teachers: Float32Array[] = [];
  for (let round = 0; round < epochs; round++) {
    teachers.push(...(await visited(balancing, seed + round)));
    states.push(...(round === 0 ? teachers : await visited(acting(session), seed + round)));
    const loss = await learn(session, "learn", states);
    await learn(session, "cloneLearn", teachers);
    await report({
      loss,
      return: await meanReturn(cartPole, acting(session), { episodes: 50, seed: 1 }),
      clone: await meanReturn(cartPole, cloning(session), { episodes: 50, seed: 1 }),
    });
  }
}

/** Mean returns over 100 episodes that were not seen, and how often student and teacher agree where the student goes. */
export async function measure(session: Session) {
  const states = (await Promise.all([1, 2, 3, 4].map((i) => visited(acting(session), 9_000 + i)))).flat();
  const [mine, wanted] = [await acting(session)(batchOf(states)), balancing(batchOf(states), states.length)];
  return {
    return: await meanReturn(cartPole, acting(session)),
    clone: await meanReturn(cartPole, cloning(session)),
    agreement: mine.filter((action, i) => action === wanted[i]).length / mine.length,
    teacher: await meanReturn(cartPole, balancing),
  };
}

export const show = async (_: Session, history: History) => ({
  "curves.svg": await history.toSVG("Imitation on CartPole"),
});
