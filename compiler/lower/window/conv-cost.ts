/** What kernels of convolutions cost, in cycles of one thread, so far as sizes are known. */

import { type Dim, dimBounds } from "../../../ir/dim.js";
import { depthOf, type Geometry } from "./conv-geometry.js";

/** What is computed: a convolution (the input gradient is one), or the weight gradient. */
export type Product = "convolution" | "weights";

/** A size, or what stands for it where it depends on the input. */
function typical(d: Dim, usual: number): number {
  const { min, max } = dimBounds(d);
  return Math.min(Math.max(min, usual), max);
}

/** Height or width of an image. */
export const typicalEdge = (d: Dim): number => typical(d, 64);

/** Images that stand for a batch of unknown size. */
const typicalImages = 16;

/** Cost for so many images as there are at least. A weight gradient may lose for one image where it wins for a batch: both count. */
export function overImages(g: Geometry, product: Product, cost: (images: number) => number): number {
  const least = dimBounds(g.images).min;
  const varies = product === "weights" && typeof g.images !== "number";
  return varies ? Math.sqrt(cost(least) * cost(Math.max(least, typicalImages))) : cost(least);
}

/** Multiplications by the definition, of which the tiles do six a cycle. */
export function directCost(g: Geometry, product: Product): number {
  const [d, h, w] = g.output;
  const depth = typical(depthOf(g), 64);
  const outputs = typical(g.outputs, 64);
  return overImages(g, product, (images) => {
    return (images * typicalEdge(d) * typicalEdge(h) * typicalEdge(w) * depth * outputs) / 6;
  });
}

/**
 * Of the direct input gradient, whose tiles have images as rows: cycles of a step by `choose-tile.ts`, of two vectors for each image. It
 * reads and writes dx once for each row of taps.
 */
export function inputGradCost(g: Geometry): number {
  // Winograd's cost was fitted against whole tiles, whatever the number of images.
  if (g.stride.every((s) => s === 1)) return directCost(g, "convolution");
  const rows = Math.min(Math.max(dimBounds(g.images).min, 1), 4);
  const relative = (2 + 0.94 * rows) / rows / ((2 + 0.94 * 4) / 4);
  return directCost(g, "convolution") * relative;
}
