/** Winograd's convolution with the transformation of its weights, as a model runs it; counted like the direct one. */

import { packedLength } from "../compiler/kernels/pack.js";
import {
  winograd,
  winogradPlane,
  winogradScratch,
  winogradWeightChunk,
  winogradWeights,
} from "../compiler/kernels/winograd.js";
import { type WinogradEdge, winogradForms, winogradPoints } from "../compiler/kernels/winograd-forms.js";
import {
  winogradGrad,
  winogradGradPlane,
  winogradGradScratch,
  winogradGradWeights,
  winogradSplitTiles,
} from "../compiler/kernels/winograd-grad.js";
import type { Case } from "./kernel-cases.js";

/** `size` is the edge of the square result. */
export function winogradCase(size: number, cin: number, cout: number, tile: WinogradEdge = 4): Case {
  const nr = 16;
  const edge = Math.ceil(size / tile);
  const padded = tile * edge + 2;
  const length = packedLength(cin, cout, nr);
  return {
    name: `winograd ${tile === 4 ? "" : "2×2 "}${size}x${size} ${cin}-${cout}`,
    flops: 2 * 9 * size * size * cin * cout,
    calls: (alloc) => {
      const u = alloc(winogradPoints(tile) * winogradPlane(length));
      const row = padded * cin;
      const sizes = [edge * edge, edge, edge, cin, size, size, row, padded * row, winogradPlane(length)];
      const x = alloc(padded * row);
      const buffers = [x, u, alloc(size * size * cout), alloc(winogradScratch(tile, cin, cout))];
      const kernel = winograd({ edge: tile, n: cout, mr: 2, nr });
      return [
        {
          kernel: winogradWeights({ edge: tile }),
          args: [0, Math.ceil(length / winogradWeightChunk), alloc(9 * length), u, length],
        },
        {
          kernel,
          args: [0, kernel.columnBlocks * Math.ceil((edge * edge) / winogradForms[tile].tiles), ...buffers, ...sizes],
        },
      ];
    },
  };
}

/** The weight gradient, likewise. */
export function winogradGradCase(images: number, size: number, cin: number, cout: number): Case {
  const edge = Math.ceil(size / 4);
  const row = (4 * edge + 2) * cin;
  const image = (4 * edge + 2) * row;
  const tiles = images * edge * edge;
  const splits = Math.ceil(tiles / winogradSplitTiles(cin, cout));
  const plane = winogradGradPlane(cin, cout);
  return {
    name: `winograd dw ${images}x${size}x${size} ${cin}-${cout}`,
    flops: 2 * 9 * images * size * size * cin * cout,
    calls: (alloc) => {
      const u = alloc(splits * winogradPoints(4) * plane);
      const buffers = [alloc(images * image), alloc(tiles * 16 * cout), u, alloc(winogradGradScratch(cin, cout))];
      return [
        {
          kernel: winogradGrad({ cin, cout, mr: 2, nr: 16 }),
          args: [0, splits, ...buffers, tiles, edge, edge, row, image],
        },
        { kernel: winogradGradWeights(), args: [0, cout, u, alloc(9 * cin * cout), splits, cin, plane] },
      ];
    },
  };
}
