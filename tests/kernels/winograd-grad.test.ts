import { describe, expect, it } from "vitest";
import { packBy, packedLength } from "../../compiler/kernels/pack.js";
import {
  winograd,
  winogradPlane,
  winogradScratch,
  winogradWeightChunk,
  winogradWeights,
} from "../../compiler/kernels/winograd.js";
import { winogradForms, winogradPoints } from "../../compiler/kernels/winograd-forms.js";
import {
  winogradGrad,
  winogradGradPlane,
  winogradGradScratch,
  winogradGradWeights,
  winogradSplitTiles,
} from "../../compiler/kernels/winograd-grad.js";
import { convCase, forEachProduct, outputSize } from "./conv-reference.js";
import { Arena, expectClose, randomArray } from "./run.js";

interface Sizes {
  readonly images?: number;
  /** Height and width of the convolution's input and result. */
  readonly output: readonly [number, number];
  readonly cin: number;
  readonly cout: number;
  readonly mr?: number;
  readonly nr?: number;
}

const ceil4 = (n: number): number => Math.ceil(n / 4);

/** Images in a frame of zeros: [images, height, width, channels] from row and column `at` on. */
function framed(
  arena: Arena,
  x: Float64Array,
  { images = 1, output: [h, w] }: Sizes,
  channels: number,
  [rows, columns]: readonly [number, number],
  at: number,
): Float32Array {
  const view = arena.f32(images * rows * columns * channels);
  for (let i = 0; i < images; i++)
    for (let y = 0; y < h; y++)
      view.set(
        x.subarray((i * h + y) * w * channels, (i * h + y + 1) * w * channels),
        ((i * rows + y + at) * columns + at) * channels,
      );
  return view;
}

/** A 3×3 convolution with a border of 1, its gradients by their definition in f64. */
function definition({ images = 1, output, cin, cout }: Sizes) {
  const c = convCase({ images, input: [1, ...output], cin, cout, kernel: [1, 3, 3], padding: [0, 1, 1] });
  expect(outputSize(c)).toEqual([1, ...output]);
  const pixels = images * output[0] * output[1];
  const [x, w, dy] = [randomArray(pixels * cin, 1), randomArray(cout * cin * 9, 2), randomArray(pixels * cout, 3)];
  const [dx, dw] = [new Float64Array(x.length), new Float64Array(w.length)];
  forEachProduct(c, (xi, wi, yi) => {
    dx[xi]! += dy[yi]! * w[wi]!;
    dw[wi]! += dy[yi]! * x[xi]!;
  });
  return { pixels, x, w, dy, dx, dw };
}

/** Runs the weight gradient, chunks in reverse order, against the definition. */
function checkWeights(sizes: Sizes): void {
  const { images = 1, output, cin, cout, mr = 4, nr = 8 } = sizes;
  const { pixels, x, dy, dw } = definition(sizes);
  const [tilesH, tilesW] = [ceil4(output[0]), ceil4(output[1])];
  const arena = new Arena(512);
  const [rows, columns] = [4 * tilesH + 2, 4 * tilesW + 2];
  const xView = framed(arena, x, sizes, cin, [rows, columns], 1);
  const dyView = framed(arena, dy, sizes, cout, [4 * tilesH, 4 * tilesW], 0);
  const tiles = images * tilesH * tilesW;
  const splits = Math.ceil(tiles / winogradSplitTiles(cin, cout));
  const plane = winogradGradPlane(cin, cout);
  const u = arena.f32(splits * winogradPoints(4) * plane).fill(7);
  const scratch = arena.f32(winogradGradScratch(cin, cout));
  const run = arena.instantiate(winogradGrad({ cin, cout, mr, nr }));
  for (let i = splits - 1; i >= 0; i--)
    run(i, i + 1, xView, dyView, u, scratch, tiles, tilesH, tilesW, columns * cin, rows * columns * cin);
  const got = arena.f32(cout * 9 * cin);
  const finish = arena.instantiate(winogradGradWeights());
  for (let i = cout - 1; i >= 0; i--) finish(i, i + 1, u, got, splits, cin, plane);
  arena.checkGuards();
  // [cout, cin, 9] to [cout, 9, cin].
  const want = new Float64Array(dw.length);
  for (let o = 0; o < cout; o++)
    for (let c = 0; c < cin; c++)
      for (let tap = 0; tap < 9; tap++) want[(o * 9 + tap) * cin + c] = dw[(o * cin + c) * 9 + tap]!;
  expectClose(got, want, 2 ** -18 * Math.sqrt(pixels), JSON.stringify(sizes));
}

/** Runs the input gradient as a convolution by flipped weights. */
function checkInput(sizes: Sizes): void {
  const { images = 1, output, cin, cout, mr = 4, nr = 8 } = sizes;
  const { w, dy, dx } = definition(sizes);
  const [tilesH, tilesW] = [ceil4(output[0]), ceil4(output[1])];
  const arena = new Arena(256);
  const [rows, columns] = [4 * tilesH + 2, 4 * tilesW + 2];
  const dyView = framed(arena, dy, sizes, cout, [rows, columns], 1);
  const length = packedLength(cout, cin, nr);
  const taps = arena.f32(9 * length);
  for (let tap = 0; tap < 9; tap++) {
    const to = taps.subarray(tap * length, (tap + 1) * length) as never;
    packBy(w, cout, cin, nr, (k, n) => (k * cin + n) * 9 + tap, to);
  }
  const u = arena.f32(winogradPoints(4) * winogradPlane(length));
  const weights = arena.instantiate(winogradWeights({ edge: 4, flipped: true }));
  for (let i = Math.ceil(length / winogradWeightChunk) - 1; i >= 0; i--) weights(i, i + 1, taps, u, length);
  const got = arena.f32(dx.length);
  const scratch = arena.f32(winogradScratch(4, cout, cin));
  const tiles = images * tilesH * tilesW;
  const args = [tiles, tilesH, tilesW, cout, ...output, columns * cout, rows * columns * cout, winogradPlane(length)];
  const kernel = winograd({ edge: 4, n: cin, mr, nr });
  const run = arena.instantiate(kernel);
  for (let i = kernel.columnBlocks * Math.ceil(tiles / winogradForms[4].tiles) - 1; i >= 0; i--)
    run(i, i + 1, dyView, u, got, scratch, ...args);
  arena.checkGuards();
  expectClose(got, dx, 2 ** -18 * Math.sqrt(9 * cout), JSON.stringify(sizes));
}

const cases: readonly Sizes[] = [
  { output: [4, 4], cin: 4, cout: 4 },
  { output: [1, 1], cin: 4, cout: 8 },
  { output: [5, 7], cin: 8, cout: 4, images: 3 },
  { output: [9, 6], cin: 20, cout: 12, images: 2, mr: 2, nr: 16 },
  { output: [8, 8], cin: 16, cout: 16, images: 5, mr: 2, nr: 16 },
  { output: [16, 12], cin: 100, cout: 104, images: 2 },
  // Several splits, of which the last is not full.
  { output: [32, 32], cin: 8, cout: 12, images: 9, mr: 2, nr: 16 },
];

describe("Winograd's gradients", () => {
  for (const sizes of cases) {
    it(`of weights, ${JSON.stringify(sizes)}`, () => checkWeights(sizes));
    it(`of the input, ${JSON.stringify(sizes)}`, () => checkInput(sizes));
  }
});
