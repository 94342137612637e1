/** What an agent acts in, and how well it does there. */

import { type Random, randomOf } from "wasmith/data";

export interface Step {
  /** What the agent sees next. */
  readonly state: Float32Array;
  readonly reward: number;
  /** The episode ended in a state without future. */
  readonly terminated: boolean;
  /** The episode ended because its time is over: the state has a future that is not seen. */
  readonly truncated: boolean;
}

export interface Environment {
  /** Begins an episode. @returns what the agent sees first */
  reset(): Float32Array;
  step(action: number): Step;
}

/** Makes an environment whose chance comes from these random numbers. */
export type Make = (random: Random) => Environment;

/** Actions for states [count, …], one after the other. */
export type Policy = (states: Float32Array, count: number) => ArrayLike<number> | Promise<ArrayLike<number>>;

/** States one after the other, as a batch. */
export function batchOf(states: readonly Float32Array[]): Float32Array {
  const width = states[0]!.length;
  const all = new Float32Array(states.length * width);
  for (const [i, state] of states.entries()) all.set(state, i * width);
  return all;
}

/** Mean over episodes of the sum of rewards. All episodes run side by side, so that the policy sees batches. */
export async function meanReturn(make: Make, policy: Policy, { episodes = 100, seed = 1_000 } = {}): Promise<number> {
  const random = randomOf(seed);
  let running = Array.from({ length: episodes }, () => {
    const environment = make(random);
    return { environment, state: environment.reset() };
  });
  let sum = 0;
  while (running.length > 0) {
    const actions = await policy(batchOf(running.map((r) => r.state)), running.length);
    running = running.flatMap(({ environment }, i) => {
      const { state, reward, terminated, truncated } = environment.step(actions[i]!);
      sum += reward;
      return terminated || truncated ? [] : [{ environment, state }];
    });
  }
  return sum / episodes;
}
