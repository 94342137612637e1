/**
 * A pole stands on a cart, which is pushed to the left or the right so that it does not fall. The physics and limits of Gym's CartPole-v1.
 * Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve difficult learning control problems", 1983.
 */

import type { Random } from "wasmith/data";
import type { Environment, Step } from "./environment.js";

const gravity = 9.8;
const cartMass = 1;
const poleMass = 0.1;
const totalMass = cartMass + poleMass;
/** From the cart to the middle of the pole, in metres. */
const halfLength = 0.5;
const force = 10;
/** Seconds of a step. */
const time = 0.02;

/** States are [position, velocity, angle, angular velocity]; each step that the pole stands is worth 1, up to `limit`. */
export class CartPole implements Environment {
  static readonly observation = 4;
  static readonly actions = 2;
  static readonly limit = 500;

  readonly #random: Random;
  #state: readonly [position: number, velocity: number, angle: number, turning: number] = [0, 0, 0, 0];
  #steps = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  reset(): Float32Array {
    const little = () => this.#random.between(-0.05, 0.05);
    this.#state = [little(), little(), little(), little()];
    this.#steps = 0;
    return Float32Array.from(this.#state);
  }

  /** @param action 0 pushes to the left, 1 to the right */
  step(action: number): Step {
    const [x, v, angle, turning] = this.#state;
    const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
    const pushed = ((action === 1 ? force : -force) + poleMass * halfLength * turning ** 2 * sin) / totalMass;
    const turn = (gravity * sin - cos * pushed) / (halfLength * (4 / 3 - (poleMass * cos ** 2) / totalMass));
    const push = pushed - (poleMass * halfLength * turn * cos) / totalMass;
    this.#state = [x + time * v, v + time * push, angle + time * turning, turning + time * turn];
    this.#steps++;
    const fallen = Math.abs(this.#state[0]) > 2.4 || Math.abs(this.#state[2]) > (12 / 180) * Math.PI;
    return {
      state: Float32Array.from(this.#state),
      reward: 1,
      terminated: fallen,
      truncated: !fallen && this.#steps === CartPole.limit,
    };
  }
}

export const cartPole = (random: Random) => new CartPole(random);

/** Pushes the cart to where the pole leans. */
export const leaning = (states: Float32Array, count: number) =>
  Array.from({ length: count }, (_, i) => (states[4 * i + 2]! > 0 ? 1 : 0));

/** Pushes by where the pole will lean, and back to the middle: a controller that stands for as long as it is asked to. */
export const balancing = (states: Float32Array, count: number) =>
  Array.from({ length: count }, (_, i) => {
    const [x = 0, v = 0, angle = 0, turning = 0] = states.subarray(4 * i, 4 * i + 4);
    return 0.1 * x + 0.3 * v + 3 * angle + turning > 0 ? 1 : 0;
  });
