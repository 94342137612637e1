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

class PhiloxRandom implements Random {
  readonly #key: Key;
  readonly #single: boolean;
  #words = new Uint32Array(4);
  #used = 4;
  #block = 0;
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
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
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
      for (; i < end; i += 2, at += 4) {
        const radius = Math.sqrt(-2 * Math.log(1 - unit(words[at]!, words[at + 1]!)));
        const angle = 2 * Math.PI * unit(words[at + 2]!, words[at + 3]!);
        values[i] = mean + deviation * (radius * Math.cos(angle));
        values[i + 1] = mean + deviation * (radius * Math.sin(angle));
      }
      this.#used = at;
    }
  }
}

/** The stream of one tensor. @param single whether the tensor is f32 */
export function randomOf(seed: number, name: string, single = false): Random {
  return new PhiloxRandom([seed >>> 0, fnv1a(name)], single);
}
