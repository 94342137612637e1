/** Graphs of two communities, as the stochastic block model makes them, of which few nodes say where they belong. */

import type { Random } from "wasmith/data";

export interface Graphs {
  readonly count: number;
  /** 1 or −1 where a node says its community, else 0; [nodes]. */
  readonly said: Float32Array;
  /** 1 or 0, [nodes]. */
  readonly community: Float32Array;
  /** Each edge in both directions. */
  readonly from: BigInt64Array;
  readonly to: BigInt64Array;
}

/** Nodes of a graph. */
export const size = 40;
/** Share of the pairs that are joined, within a community and between two. */
const [within, between] = [0.22, 0.07];
/** Nodes of each community that say so. */
const known = 2;

/** 0 … count − 1 in a random order. */
function shuffled(count: number, random: Random): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** Several graphs as one. */
export function graphs(count: number, random: Random): Graphs {
  const [said, community] = [new Float32Array(count * size), new Float32Array(count * size)];
  const [from, to]: [bigint[], bigint[]] = [[], []];
  for (let g = 0; g < count; g++) {
    const order = shuffled(size, random);
    for (const [place, node] of order.entries()) {
      const first = place < size / 2;
      community[g * size + node] = first ? 1 : 0;
      if (place % (size / 2) < known) said[g * size + node] = first ? 1 : -1;
    }
    for (let a = g * size; a < (g + 1) * size; a++)
      for (let b = a + 1; b < (g + 1) * size; b++)
        if (random.chance(community[a] === community[b] ? within : between)) {
          from.push(BigInt(a), BigInt(b));
          to.push(BigInt(b), BigInt(a));
        }
  }
  return { count, said, community, from: BigInt64Array.from(from), to: BigInt64Array.from(to) };
}

/**
 * Label propagation: again and again each node takes the mean of its neighbours, but for those that say what they are.
 * Zhu, Ghahramani and Lafferty, "Semi-supervised learning using Gaussian fields and harmonic functions", 2003.
 */
export function propagated({ said, from, to }: Graphs, rounds = 50): Float32Array {
  let values = said.slice();
  for (let round = 0; round < rounds; round++) {
    const [sums, degrees] = [new Float32Array(values.length), new Float32Array(values.length)];
    for (const [e, a] of from.entries()) {
      sums[Number(to[e])]! += values[Number(a)]!;
      degrees[Number(to[e])]!++;
    }
    values = sums.map((sum, i) => said[i]! || sum / Math.max(1, degrees[i]!));
  }
  return values;
}
