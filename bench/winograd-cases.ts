/** Winograd's convolution with the transformation of its weights, as a model runs it; counted like the direct one. */

import { packedLength } from "../compiler/kernels/pack.js";
import {
  winograd,
  winogradPoints,
  winogradScratch,
  winogradTiles,
  winogradWeightChunk,
  winogradWeights,
} from "../compiler/kernels/winograd.js";
import type { Case } from "./kernel-cases.js";

/** `size` is the edge of the square result. */
export function winogradCase(size: number, cin: number, cout: number): Case {
  const nr = 16;
  const edge = Math.ceil(size / 4);
  const padded = 4 * edge + 2;
  const length = packedLength(cin, cout, nr);
  return {
    name: `winograd ${size}x${size} ${cin}-${cout}`,
    flops: 2 * 9 * size * size * cin * cout,
    calls: (alloc) => {
      const u = alloc(winogradPoints * length);
      const row = padded * cin;
      const sizes = [edge * edge, edge, edge, cin, size, size, row, padded * row, length];
      const x = alloc(padded * row);
      const buffers = [x, u, alloc(size * size * cout), alloc(winogradScratch(cin, cout))];
      return [
        { kernel: winogradWeights(), args: [0, Math.ceil(length / winogradWeightChunk), alloc(9 * length), u, length] },
        {
          kernel: winograd({ n: cout, mr: 2, nr }),
          args: [0, Math.ceil((edge * edge) / winogradTiles), ...buffers, ...sizes],
        },
      ];
    },
  };
}
