/**
 * A walk through rooms: from a random cell to the goal, past walls and over pits. Floors are slippery.
 * After the grids of Sutton and Barto, "Reinforcement Learning: An Introduction", chapters 3 and 6.
 */

import type { Random } from "wasmith/data";
import type { Environment, Step } from "./environment.js";

const map = [
  "........", //
  ".##..#..",
  ".#...#.o",
  ".#.o.#..",
  "...o.##.",
  ".###....",
  "...#.oo.",
  ".o.....G",
];
const size = map.length;
const moves = [
  [-1, 0],
  [0, 1],
  [1, 0],
  [0, -1],
] as const;
const cell = (row: number, column: number) => map[row]?.[column] ?? "#";

/**
 * States are one-hot vectors of the cells; actions are up, right, down, left. A step costs 0.02, a pit ends the walk with −1, the goal with
 * 1. One step in ten goes anywhere.
 */
export class GridWorld implements Environment {
  static readonly observation = size * size;
  static readonly actions = moves.length;
  static readonly size = size;
  static readonly map: readonly string[] = map;
  static readonly limit = 60;

  readonly #random: Random;
  #at: readonly [row: number, column: number] = [0, 0];
  #steps = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  reset(): Float32Array {
    do this.#at = [this.#random.integer(size), this.#random.integer(size)];
    while (cell(...this.#at) !== ".");
    this.#steps = 0;
    return GridWorld.state(this.#at[0] * size + this.#at[1]);
  }

  /** What the agent sees in a cell. */
  static state(index: number): Float32Array {
    const state = new Float32Array(size * size);
    state[index] = 1;
    return state;
  }

  step(action: number): Step {
    const slips = this.#random.chance(0.1);
    const [down, right] = moves[slips ? this.#random.integer(4) : action]!;
    const [row, column] = [this.#at[0] + down, this.#at[1] + right];
    if (cell(row, column) !== "#") this.#at = [row, column];
    this.#steps++;
    const here = cell(...this.#at);
    const terminated = here === "G" || here === "o";
    return {
      state: GridWorld.state(this.#at[0] * size + this.#at[1]),
      reward: here === "G" ? 1 : here === "o" ? -1 : -0.02,
      terminated,
      truncated: !terminated && this.#steps === GridWorld.limit,
    };
  }
}

export const gridWorld = (random: Random) => new GridWorld(random);
