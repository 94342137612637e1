import { describe, expect, it } from "vitest";
import { biasColumns, chain, type Epilogue, relu } from "../../compiler/kernels/epilogue.js";
import { packBy, packedLength } from "../../compiler/kernels/pack.js";
import {
  winograd,
  winogradPlane,
  winogradScratch,
  winogradWeightChunk,
  winogradWeights,
} from "../../compiler/kernels/winograd.js";
import { type WinogradEdge, winogradForms, winogradPoints } from "../../compiler/kernels/winograd-forms.js";
import { convCase, forEachProduct, outputSize, padded } from "./conv-reference.js";
import { Arena, expectClose, randomArray } from "./run.js";

interface Sizes {
  readonly images?: number;
  /** Height and width of the result. */
  readonly output: readonly [number, number];
  readonly cin: number;
  readonly cout: number;
  readonly mr?: number;
  readonly nr?: number;
  readonly epilogue?: Epilogue;
  /** Chunks in a call: the later ones may use what the first made of their tiles. */
  readonly chunksAtOnce?: number;
}

/** Runs the kernel, chunks in reverse order, against the definition in f64; gives the result and the largest error. */
function check(
  edge: WinogradEdge,
  { images = 1, output: [outH, outW], cin, cout, mr = 4, nr = 8, epilogue, chunksAtOnce = 1 }: Sizes,
): Float32Array {
  const [tilesH, tilesW] = [Math.ceil(outH / edge), Math.ceil(outW / edge)];
  const input = [1, outH + 2, outW + 2] as const;
  const c = convCase({ images, input, cin, cout, kernel: [1, 3, 3] });
  expect(outputSize(c)).toEqual([1, outH, outW]);
  const x = randomArray(images * input[1] * input[2] * cin, 1);
  const w = randomArray(cout * cin * 9, 2);
  const arena = new Arena(256);
  // Whole tiles of input, with zeros beyond the image.
  const [rows, columns] = [edge * tilesH + 2, edge * tilesW + 2];
  const xView = arena.f32(images * rows * columns * cin);
  const plain = padded(c, x);
  for (let i = 0; i < images; i++)
    for (let y = 0; y < input[1]; y++)
      xView.set(
        plain.subarray((i * input[1] + y) * input[2] * cin, (i * input[1] + y + 1) * input[2] * cin),
        (i * rows + y) * columns * cin,
      );
  const length = packedLength(cin, cout, nr);
  const taps = arena.f32(9 * length);
  for (let tap = 0; tap < 9; tap++)
    packBy(
      w,
      cin,
      cout,
      nr,
      (k, n) => (n * cin + k) * 9 + tap,
      taps.subarray(tap * length, (tap + 1) * length) as never,
    );
  const u = arena.f32(winogradPoints(edge) * winogradPlane(length));
  const weights = arena.instantiate(winogradWeights({ edge }));
  for (let i = Math.ceil(length / winogradWeightChunk) - 1; i >= 0; i--) weights(i, i + 1, taps, u, length);

  const kernel = winograd({ edge, n: cout, mr, nr, ...(epilogue ? { epilogue } : {}) });
  const y = arena.f32(images * outH * outW * cout);
  const bias = arena.f32(randomArray(cout, 3));
  const scratch = arena.f32(winogradScratch(edge, cin, cout));
  const run = arena.instantiate(kernel);
  const tiles = images * tilesH * tilesW;
  const sizes = [tiles, tilesH, tilesW, cin, outH, outW, columns * cin, rows * columns * cin, winogradPlane(length)];
  const chunks = kernel.columnBlocks * Math.ceil(tiles / winogradForms[edge].tiles);
  for (let i = Math.ceil(chunks / chunksAtOnce) - 1; i >= 0; i--)
    run(
      i * chunksAtOnce,
      Math.min((i + 1) * chunksAtOnce, chunks),
      xView,
      u,
      y,
      scratch,
      ...sizes,
      ...(epilogue ? [bias] : []),
    );
  arena.checkGuards();
  const want = new Float64Array(y.length);
  forEachProduct(c, (i, j, o) => {
    want[o]! += x[i]! * w[j]!;
  });
  if (epilogue !== undefined)
    want.forEach((v, i) => {
      want[i] = Math.max(v + bias[i % cout]!, 0);
    });
  expectClose(y, want, (9 * cin + 4) * 2 ** -22, `${kernel.fn.name} ${outH}×${outW}`);
  return y.slice();
}

describe.each([2, 4] as const)("winograd by tiles of %i", (edge) => {
  it("whole and cut tiles", () => {
    for (const outH of [1, 3, 4, 5, 9])
      for (const outW of [1, 4, 6, 7, 8]) check(edge, { output: [outH, outW], cin: 4, cout: 8 });
  });

  it("channel counts around the panels", () => {
    for (const cin of [4, 8, 12]) for (const cout of [4, 8, 12, 20]) check(edge, { output: [6, 5], cin, cout });
    check(edge, { output: [6, 5], cin: 16, cout: 36, mr: 2, nr: 16 });
    check(edge, { output: [5, 5], cin: 4, cout: 100, mr: 2, nr: 16 });
  });

  it("several images and chunks, epilogue", () => {
    check(edge, { images: 3, output: [17, 23], cin: 8, cout: 12 });
    check(edge, { images: 2, output: [10, 7], cin: 8, cout: 12, epilogue: chain(biasColumns("f32"), relu) });
  });

  it("chunks of channels, alone and with others of their tiles", () => {
    const epilogue = chain(biasColumns("f32"), relu);
    for (const cout of [112, 144, 320])
      for (const chunksAtOnce of [1, 2, 3, 100])
        for (const output of [
          [3, 9],
          [17, 18],
        ] as const)
          check(edge, { output, cin: 4, cout, mr: 2, nr: 16, epilogue, chunksAtOnce });
  });

  it("an image has the same bits alone and among others", () => {
    // 15 or 60 tiles an image: chunks hold tiles of both.
    const both = check(edge, { images: 2, output: [20, 12], cin: 8, cout: 8 });
    const alone = check(edge, { images: 1, output: [20, 12], cin: 8, cout: 8 });
    expect(both.subarray(0, alone.length)).toEqual(alone);
  });
});
