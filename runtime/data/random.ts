/** Random numbers that hang on their keys alone, so that any element of any epoch can be made by itself. */

/** Spreads the bits of a word over all of it (the finaliser of MurmurHash3). */
function mix(h: number): number {
  let x = h >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by));

/** The generator xoshiro128** (Blackman and Vigna, https://prng.di.unimi.it/xoshiro128starstar.c). */
export class Random {
  readonly #s: Uint32Array;
  #spare: number | null = null;

  /** @param state four words, not all 0 */
  constructor(state: readonly number[]) {
    this.#s = Uint32Array.from(state);
  }

  /** 32 random bits. */
  bits(): number {
    const s = this.#s;
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotate(s[3]!, 11);
    return result;
  }

  /** Uniform in [0, 1), with 53 bits. */
  uniform(): number {
    const high = this.bits() >>> 5;
    return (high * 2 ** 26 + (this.bits() >>> 6)) / 2 ** 53;
  }

  /** Uniform in [low, high). */
  between(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** Uniform among 0 … count − 1. */
  integer(count: number): number {
    return Math.floor(this.uniform() * count);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.uniform() < probability;
  }

  /** Of the standard normal distribution (Box and Muller). */
  normal(): number {
    if (this.#spare !== null) {
      const value = this.#spare;
      this.#spare = null;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** Of the gamma distribution of this shape and scale 1 (Marsaglia and Tsang 2000). */
  gamma(shape: number): number {
    if (shape < 1) return this.gamma(shape + 1) * (1 - this.uniform()) ** (1 / shape);
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = this.normal();
      const v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(1 - this.uniform()) < x ** 2 / 2 + d - d * v + d * Math.log(v)) return d * v;
    }
  }

  /** Of the beta distribution, in [0, 1]. */
  beta(a: number, b: number): number {
    const [x, y] = [this.gamma(a), this.gamma(b)];
    // Both are 0 where the shapes are tiny: the mass is at the ends then.
    return x + y > 0 ? x / (x + y) : this.chance(a / (a + b)) ? 1 : 0;
  }
}

/** The generator of these keys (a seed, a place in the pipeline, an epoch, an index): integers up to 2^53. */
export function randomOf(...keys: readonly number[]): Random {
  let h = 0x9e3779b9;
  for (const key of keys) h = mix(mix(h ^ key) + (mix(Math.floor(key / 2 ** 32)) ^ 0x6d2b79f5));
  const state = [1, 2, 3, 4].map((i) => mix(h + Math.imul(i, 0x9e3779b9)));
  return new Random(state.some((w) => w !== 0) ? state : [1, 0, 0, 0]);
}
