/** Points in the plane, made by seeded programs: x and y of each, one point after the other. */

import { type Random, randomOf } from "wasmith/data";

const made = (count: number, seed: number, point: (random: Random) => readonly [x: number, y: number]) => {
  const random = randomOf(seed);
  return Float32Array.from(Array.from({ length: count }, () => point(random)).flat());
};

/** Two half circles of radius 1, one hooked into the other, as scikit-learn's make_moons. @param noise deviation around them */
export const twoMoons = (count: number, seed: number, noise = 0.1) =>
  made(count, seed, (random) => {
    const angle = Math.PI * random.uniform();
    const [x, y] = [Math.cos(angle) + noise * random.normal(), Math.sin(angle) + noise * random.normal()];
    return random.chance(0.5) ? [x, y] : [1 - x, 0.5 - y];
  });

/** Eight normal distributions in a circle of radius 2. */
export const eightNormals = (count: number, seed: number, deviation = 0.1) =>
  made(count, seed, (random) => {
    const angle = (random.integer(8) * Math.PI) / 4;
    return [2 * Math.cos(angle) + deviation * random.normal(), 2 * Math.sin(angle) + deviation * random.normal()];
  });
