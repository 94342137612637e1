/**
 * Random numbers of the host, for initial weights.
 *
 * Generator: Philox 4×32-10 with key (seed, FNV-1a hash of the tensor's name in UTF-8) and a block counter from 0. So each tensor
 * has its own stream: its values depend on the seed and its name only, not on the order in which a model is built. Uniform
 * numbers take two words (53 bits), normal ones are made in pairs by Box–Muller in doubles. Arrays are filled with the numbers that
 * as many single calls give, on every engine: nothing here calls its library of functions.
 */

import { philoxInto } from "../../ir/ops/random.js";
import { type Distribution, fewestBlocks, fillBlocks, type Key } from "./random-blocks.js";

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

const bits = new DataView(new ArrayBuffer(8));

/**
 * The natural logarithm of FreeBSD's msun, for normal x > 0: x = 2^k · (1 + f) with 1 + f from √½ to √2, and
 * ln(1 + f) = f − f²/2 + s · (f²/2 + r), where s = f / (2 + f) and r is a polynomial in s².
 */
export function log(x: number): number {
  bits.setFloat64(0, x);
  const high = bits.getInt32(0);
  const mantissa = high & 0xfffff;
  const exponent = (high + 0x95f64) >> 20;
  bits.setInt32(0, high - ((exponent - 1023) << 20));
  const f = bits.getFloat64(0) - 1;
  const k = exponent - 1023;
  const low = k * 1.9082149292705877e-10;
  return k * 0.6931471803691238 - (shortOf(f, mantissa, low) - f);
}

/** What is taken from f: with fewer roundings close to 1, and in other order in the middle of the range. */
function shortOf(f: number, mantissa: number, low: number): number {
  if (mantissa >= 0xffffe || mantissa < 1) return f * f * (0.5 - (1 / 3) * f) - low;
  const s = f / (2 + f);
  const z = s * s;
  const w = z * z;
  const odd = w * (0.3999999999940942 + w * (0.22222198432149784 + w * 0.15313837699209373));
  const even = z * (0.6666666666666735 + w * (0.2857142874366239 + w * (0.1818357216161805 + w * 0.14798198605116586)));
  const r = even + odd;
  if (mantissa < 0x6147a || mantissa > 0x6b851) return s * (f - r) - low;
  const square = 0.5 * f * f;
  return square - (s * (square + r) + low);
}

/**
 * Box–Muller: two standard normal numbers of two uniform ones. The angle is a share of a turn, so that its quarter is exact, and one
 * reduction gives both its sine and cosine.
 */
function normalPair(first: number, second: number): [number, number] {
  const radius = Math.sqrt(-2 * log(1 - first));
  const quarters = 4 * second;
  const nearest = (quarters + 0.5) | 0;
  const rest = (quarters - nearest) * (Math.PI / 2);
  const c = cosine(rest);
  const s = sine(rest);
  const c0 = quarterCosines[nearest]!;
  const s0 = quarterSines[nearest]!;
  return [radius * (c0 * c - s0 * s), radius * (s0 * c + c0 * s)];
}

class PhiloxRandom implements Random {
  readonly #key: Key;
  readonly #single: boolean;
  readonly #words = new Uint32Array(4);
  #used = 4;
  /** The next block whose words are made. */
  #block = 0;
  /** The second number of a pair. */
  #spare: number | undefined;

  constructor(key: Key, single: boolean) {
    this.#key = key;
    this.#single = single;
  }

  #word(): number {
    if (this.#used === 4) {
      philoxInto(this.#words, [this.#block >>> 0, Math.floor(this.#block / 2 ** 32), 0, 0], this.#key);
      this.#block++;
      this.#used = 0;
    }
    return this.#words[this.#used++]!;
  }

  uniform(): number {
    const high = this.#word();
    return unit(high, this.#word());
  }

  normal(): number {
    const kept = this.#spare;
    this.#spare = undefined;
    if (kept !== undefined) return kept;
    const first = this.uniform();
    const [number, spare] = normalPair(first, this.uniform());
    this.#spare = spare;
    return number;
  }

  array(count: number): FloatArray {
    return this.#single ? new Float32Array(count) : new Float64Array(count);
  }

  fillUniform(values: FloatArray, low: number, high: number): void {
    this.#fill(values, "uniform", low, high - low);
  }

  fillNormal(values: FloatArray, mean: number, deviation: number): void {
    this.#fill(values, "normal", mean, deviation);
  }

  /** Single numbers where a block is begun or a pair, or will be; else whole blocks, which make two each. */
  #fill(values: FloatArray, distribution: Distribution, shift: number, scale: number): void {
    for (let i = 0; i < values.length; ) {
      const begun = this.#used < 4 || (distribution === "normal" && this.#spare !== undefined);
      const blocks = begun ? 0 : (values.length - i) >> 1;
      if (blocks < fewestBlocks) {
        values[i++] = shift + scale * this[distribution]();
        continue;
      }
      const end = i + 2 * blocks;
      fillBlocks(values.subarray(i, end), distribution, { key: this.#key, first: this.#block, shift, scale });
      this.#block += blocks;
      i = end;
    }
  }
}

/** The stream of one tensor. @param single whether the tensor is f32 */
export function randomOf(seed: number, name: string, single = false): Random {
  return new PhiloxRandom([seed >>> 0, fnv1a(name)], single);
}
