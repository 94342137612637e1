/** What an agent remembers, to learn from in another order than it happened in. */

import type { Random } from "wasmith/data";
import type { Step } from "../environments/environment.js";

/** The last `capacity` steps. */
export class Replay {
  readonly #width: number;
  readonly #states: Float32Array;
  readonly #next: Float32Array;
  readonly #actions: BigInt64Array;
  readonly #rewards: Float32Array;
  readonly #terminated: Float32Array;
  #count = 0;

  constructor(capacity: number, observation: number) {
    this.#width = observation;
    this.#states = new Float32Array(capacity * observation);
    this.#next = new Float32Array(capacity * observation);
    this.#actions = new BigInt64Array(capacity);
    this.#rewards = new Float32Array(capacity);
    this.#terminated = new Float32Array(capacity);
  }

  /** Steps that can be drawn. */
  get size(): number {
    return Math.min(this.#count, this.#rewards.length);
  }

  add(state: Float32Array, action: number, { state: next, reward, terminated }: Step): void {
    const at = this.#count++ % this.#rewards.length;
    this.#states.set(state, at * this.#width);
    this.#next.set(next, at * this.#width);
    this.#actions[at] = BigInt(action);
    this.#rewards[at] = reward;
    this.#terminated[at] = terminated ? 1 : 0;
  }

  /** Steps drawn at random. */
  sample(count: number, random: Random) {
    const places = Array.from({ length: count }, () => random.integer(this.size));
    const rows = (of: Float32Array) => {
      const drawn = new Float32Array(count * this.#width);
      for (const [i, at] of places.entries())
        drawn.set(of.subarray(at * this.#width, (at + 1) * this.#width), i * this.#width);
      return drawn;
    };
    return {
      state: rows(this.#states),
      next: rows(this.#next),
      action: BigInt64Array.from(places, (at) => this.#actions[at]!),
      reward: Float32Array.from(places, (at) => this.#rewards[at]!),
      terminated: Float32Array.from(places, (at) => this.#terminated[at]!),
    };
  }
}
