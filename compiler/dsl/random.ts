/**
 * Random numbers of the host, for initial weights.
 *
 * Generator: Philox 4×32-10 with key (seed, FNV-1a hash of the tensor's name in UTF-8) and a block counter from 0. So each tensor
 * has its own stream: its values depend on the seed and its name only, not on the order in which a model is built. Uniform
 * numbers take two words (53 bits), normal ones are made in pairs by Box–Muller in doubles.
 */

import { philoxInto } from "../../ir/ops/random.js";

export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Standard normal. */
  normal(): number;
}

/** 32-bit FNV-1a. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** The stream of one tensor. */
export function randomOf(seed: number, name: string): Random {
  const key = [seed >>> 0, fnv1a(name)] as const;
  let block = 0;
  const words = new Uint32Array(4);
  let used = 4;
  const word = (): number => {
    if (used === 4) {
      philoxInto(words, [block >>> 0, Math.floor(block / 2 ** 32), 0, 0], key);
      block++;
      used = 0;
    }
    return words[used++]!;
  };
  const uniform = () => ((word() >>> 5) * 2 ** 26 + (word() >>> 6)) / 2 ** 53;
  let spare: number | undefined;
  const normal = (): number => {
    if (spare !== undefined) {
      const kept = spare;
      spare = undefined;
      return kept;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
  return { uniform, normal };
}
