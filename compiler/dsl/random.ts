/**
 * Random numbers of the host, for initial weights.
 *
 * Generator: Philox 4×32-10 with key (seed, FNV-1a hash of the tensor's name in UTF-8) and a block counter from 0. So each tensor
 * has its own stream: its values depend on the seed and its name only, not on the order in which a model is built. Uniform
 * numbers take two words (53 bits), normal ones are made in pairs by Box–Muller in doubles. Arrays are filled with the numbers that
 * as many single calls give.
 */

import { type Key, mostBlocks, philoxWords } from "./philox.js";

/** Numbers in row-major order: `Float32Array` where a tensor is f32, so that large ones need no second array. */
export type FloatArray = Float32Array | Float64Array;

export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Standard normal. */
  normal(): number;
  /** An array of zeros of the tensor's precision. */
  array(count: number): FloatArray;
  /** Fills an array with low + (high − low) · `uniform()`. */
  fillUniform(values: FloatArray, low: number, high: number): void;
  /** Fills an array with mean + deviation · `normal()`. */
  fillNormal(values: FloatArray, mean: number, deviation: number): void;
}

/** 32-bit FNV-1a. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** Of two words, the first giving the high 27 bits. */
const unit = (high: number, low: number): number => ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;

/** Cosines and sines of whole quarters of a turn. */
const quarterCosines = Float64Array.of(1, 0, -1, 0, 1);
const quarterSines = Float64Array.of(0, 1, 0, -1, 0);

/** Sine of an angle from -π/4 to π/4 (the coefficients of FreeBSD's msun). */
function sine(x: number): number {
  const z = x * x;
  const tail = 2.7557313707070068e-6 + z * (-2.5050760253406863e-8 + z * 1.58969099521155e-10);
  const sum = -1.6666666666666632e-1 + z * (8.33333333332249e-3 + z * (-1.984126982985795e-4 + z * tail));
  return x + x * z * sum;
}

/** Cosine of an angle from -π/4 to π/4. */
function cosine(x: number): number {
  const z = x * x;
  const tail = -2.7557314351390663e-7 + z * (2.087572321298175e-9 + z * -1.1359647557788195e-11);
  const sum = -1.388888888887411e-3 + z * (2.480158728947673e-5 + z * tail);
  return 1 - z * (0.5 - z * (4.16666666666666e-2 + z * sum));
}

/**
 * Box–Muller: two standard normal numbers of four words, times `deviation` plus `mean`, into `values` from `to` on. The angle is a
 * share of a turn, so that its quarter is exact, and one reduction and no library call give both its sine and cosine.
 */
function normalPair(values: FloatArray, to: number, words: Uint32Array, at: number, mean: number, deviation: number) {
  const radius = Math.sqrt(-2 * Math.log(1 - unit(words[at]!, words[at + 1]!)));
  const quarters = 4 * unit(words[at + 2]!, words[at + 3]!);
  const nearest = (quarters + 0.5) | 0;
  const rest = (quarters - nearest) * (Math.PI / 2);
  const c = cosine(rest);
  const s = sine(rest);
  const c0 = quarterCosines[nearest]!;
  const s0 = quarterSines[nearest]!;
  values[to] = mean + deviation * (radius * (c0 * c - s0 * s));
  values[to + 1] = mean + deviation * (radius * (s0 * c + c0 * s));
}

class PhiloxRandom implements Random {
  readonly #key: Key;
  readonly #single: boolean;
  #words = new Uint32Array(4);
  #used = 4;
  #block = 0;
  readonly #pair = new Float64Array(2);
  #spare: number | undefined;

  constructor(key: Key, single: boolean) {
    this.#key = key;
    this.#single = single;
  }

  /** Makes words, as all are used: as many as are wanted, if there is room. */
  #more(wanted: number): void {
    const blocks = Math.min(mostBlocks, Math.ceil(wanted / 4));
    if (this.#words.length !== 4 * blocks) this.#words = new Uint32Array(4 * blocks);
    philoxWords(this.#words, this.#block, this.#key);
    this.#block += blocks;
    this.#used = 0;
  }

  /** How many numbers of so many words can be made of those that are there, at most `count`; makes words if there are none. */
  #ready(count: number, words: number): number {
    if (count > 0 && this.#used === this.#words.length) this.#more(count * words);
    return Math.min(count, Math.floor((this.#words.length - this.#used) / words));
  }

  #word(): number {
    if (this.#used === this.#words.length) this.#more(1);
    return this.#words[this.#used++]!;
  }

  uniform(): number {
    return unit(this.#word(), this.#word());
  }

  normal(): number {
    if (this.#spare !== undefined) {
      const kept = this.#spare;
      this.#spare = undefined;
      return kept;
    }
    const words = Uint32Array.of(this.#word(), this.#word(), this.#word(), this.#word());
    normalPair(this.#pair, 0, words, 0, 0, 1);
    this.#spare = this.#pair[1]!;
    return this.#pair[0]!;
  }

  array(count: number): FloatArray {
    return this.#single ? new Float32Array(count) : new Float64Array(count);
  }

  fillUniform(values: FloatArray, low: number, high: number): void {
    for (let i = 0; i < values.length; ) {
      const end = i + this.#ready(values.length - i, 2);
      const words = this.#words;
      let at = this.#used;
      for (; i < end; i++, at += 2) values[i] = low + (high - low) * unit(words[at]!, words[at + 1]!);
      this.#used = at;
    }
  }

  fillNormal(values: FloatArray, mean: number, deviation: number): void {
    const one = () => mean + deviation * this.normal();
    for (let i = 0; i < values.length; ) {
      const pairs = this.#spare === undefined ? this.#ready((values.length - i) >> 1, 4) : 0;
      // One is left of a pair, or will be; or the words of a pair do not lie side by side.
      if (pairs === 0) values[i++] = one();
      const words = this.#words;
      const end = i + 2 * pairs;
      let at = this.#used;
      for (; i < end; i += 2, at += 4) normalPair(values, i, words, at, mean, deviation);
      this.#used = at;
    }
  }
}

/** The stream of one tensor. @param single whether the tensor is f32 */
export function randomOf(seed: number, name: string, single = false): Random {
  return new PhiloxRandom([seed >>> 0, fnv1a(name)], single);
}
