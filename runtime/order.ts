/** The order of samples. */

/** The seed of the order of samples in an epoch. */
export const epochSeed = (seed: number, epoch: number): number => (seed + Math.imul(epoch, 0x9e3779b1)) >>> 0;

/** Fisher-Yates with the generator mulberry32: the same order for the same seed everywhere. */
export function permutation(count: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let state = seed >>> 0;
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
