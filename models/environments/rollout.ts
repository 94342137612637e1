/** Several environments that run side by side, and what is made of what happens in them. */

import type { Random } from "wasmith/data";
import { batchOf, type Environment, type Make } from "./environment.js";

/** Steps of several environments, those of the first step first: `count` rows of each. */
export interface Rollout {
  readonly count: number;
  readonly states: Float32Array;
  /** States that the actions led to, before a new episode begins. */
  readonly reached: Float32Array;
  readonly actions: BigInt64Array;
  readonly rewards: Float32Array;
  /** 1 where no future is behind the state reached. */
  readonly terminated: Float32Array;
  /** 1 where the episode is over, for that or another reason. */
  readonly ended: Float32Array;
}

/** Environments that begin again when an episode is over. */
export class Worlds {
  readonly count: number;
  readonly #worlds: readonly Environment[];
  readonly #sums: number[];
  readonly #finished: number[] = [];
  #states: Float32Array[];

  constructor(make: Make, count: number, random: Random) {
    this.count = count;
    this.#worlds = Array.from({ length: count }, () => make(random));
    this.#states = this.#worlds.map((w) => w.reset());
    this.#sums = this.#worlds.map(() => 0);
  }

  /** Mean return of the last episodes. */
  get recent(): number {
    const last = this.#finished.slice(-50);
    return last.reduce((a, b) => a + b, 0) / Math.max(1, last.length);
  }

  /** @param act gives the actions in states [count, observation] */
  async rollout(act: (states: Float32Array) => Promise<ArrayLike<bigint>>, steps: number): Promise<Rollout> {
    const size = steps * this.count;
    const states: Float32Array[] = [];
    const reached: Float32Array[] = [];
    const actions = new BigInt64Array(size);
    const [rewards, terminated, ended] = [new Float32Array(size), new Float32Array(size), new Float32Array(size)];
    for (let t = 0; t < steps; t++) {
      const chosen = await act(batchOf(this.#states));
      states.push(...this.#states);
      this.#states = this.#worlds.map((world, i) => {
        const step = world.step(Number(chosen[i]!));
        const at = t * this.count + i;
        reached.push(step.state);
        actions[at] = chosen[i]!;
        rewards[at] = step.reward;
        terminated[at] = step.terminated ? 1 : 0;
        this.#sums[i]! += step.reward;
        if (!step.terminated && !step.truncated) return step.state;
        ended[at] = 1;
        this.#finished.push(this.#sums[i]!);
        this.#sums[i] = 0;
        return world.reset();
      });
    }
    const { count } = this;
    return { count, states: batchOf(states), reached: batchOf(reached), actions, rewards, terminated, ended };
  }
}

/**
 * How much better each step was than its state let expect: a mean of the estimates over 1, 2, … steps, with weights that fall by `lambda`.
 * Schulman et al., "High-dimensional continuous control using generalized advantage estimation", 2016.
 *
 * @param values of the states, and of the states reached
 */
export function advantages(
  { count, rewards, terminated, ended }: Rollout,
  values: { readonly states: Float32Array; readonly reached: Float32Array },
  { discount = 0.99, lambda = 0.95 } = {},
): Float32Array {
  const result = new Float32Array(rewards.length);
  for (let i = rewards.length - 1; i >= 0; i--) {
    const future = discount * values.reached[i]! * (1 - terminated[i]!);
    const surprise = rewards[i]! + future - values.states[i]!;
    result[i] = surprise + discount * lambda * (1 - ended[i]!) * (result[i + count] ?? 0);
  }
  return result;
}
