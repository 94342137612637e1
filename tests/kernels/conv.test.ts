import { describe, it } from "vitest";
import { type ConvSpec, conv, segments } from "../../compiler/kernels/conv.js";
import { biasColumns, chain, relu } from "../../compiler/kernels/epilogue.js";
import { packConvWeights, packedLength } from "../../compiler/kernels/pack.js";
import { cropKernel, padKernel } from "../../compiler/kernels/pad.js";
import { type ConvCase, convCase, forEachProduct, outputSize, padded, paddedSize } from "./conv-reference.js";
import { Arena, expectClose, randomArray } from "./run.js";

const sizeOf = (...xs: readonly number[]): number => xs.reduce((a, b) => a * b, 1);

function check(c: ConvCase, spec: Partial<ConvSpec> = {}): void {
  const [od, oh, ow] = outputSize(c);
  const p = paddedSize(c);
  const taps = sizeOf(...c.kernel);
  const cinG = c.cin / c.groups;
  const n = c.cout / c.groups;
  const x = randomArray(sizeOf(c.images, ...c.input, c.cin), 1);
  const w = randomArray(c.cout * cinG * taps, 2);
  const s = segments({ ...c, input: p, channels: c.cin });
  const kernel = conv({ lane: "f32", loops: s.counts.length as 1 | 2 | 3, ...spec });
  const arena = new Arena(32);
  const one = packedLength(taps * cinG, n, kernel.nr);
  const xView = arena.f32(padded(c, x));
  const wView = arena.f32(one * c.groups);
  for (let g = 0; g < c.groups; g++)
    packConvWeights(w.subarray(g * n * cinG * taps), n, cinG, taps, kernel.nr, wView.subarray(g * one) as never);
  const pixels = c.images * od * oh * ow;
  const y = arena.f32(pixels * c.cout);
  const bias = arena.f32(randomArray(c.cout, 3));
  const pitch = [p[0] * p[1] * p[2], p[1] * p[2], p[2], 1].map((e) => e * c.cin) as [number, number, number, number];
  const chunks = c.groups * Math.ceil(pixels / kernel.chunkPixels) * Math.ceil(n / kernel.chunkColumns);
  const args = [
    ...[pixels, n, c.groups, cinG, one, c.cout],
    ...[ow, oh, od, c.stride[2] * pitch[3], c.stride[1] * pitch[2], c.stride[0] * pitch[1], pitch[0]],
    s.run,
    ...s.counts.flatMap((count, i) => [count, s.steps[i]!]),
    ...(spec.epilogue === undefined ? [] : [bias]),
  ];
  const run = arena.instantiate(kernel);
  for (let i = chunks - 1; i >= 0; i--) run(i, i + 1, xView, wView, y, ...args);
  arena.checkGuards();
  const want = new Float64Array(y.length);
  forEachProduct(c, (i, j, o) => {
    want[o]! += x[i]! * w[j]!;
  });
  if (spec.epilogue !== undefined)
    want.forEach((v, i) => {
      want[i] = Math.max(v + bias[i % c.cout]!, 0);
    });
  expectClose(y, want, (taps * cinG + 4) * 2 ** -22, `${kernel.fn.name} ${JSON.stringify(c)}`);
}

describe("conv", () => {
  it("channel counts around the tile", () => {
    for (const cin of [1, 3, 4, 6])
      for (const cout of [1, 3, 6, 8, 9, 16, 17])
        check(convCase({ images: 2, input: [1, 7, 6], cin, cout, kernel: [1, 3, 3] }));
  });

  it("stride, padding, dilation", () => {
    const base = { images: 2, input: [1, 9, 8], cin: 5, cout: 10, kernel: [1, 3, 3] } as const;
    check(convCase({ ...base, padding: [0, 1, 1] }));
    check(convCase({ ...base, padding: [0, 2, 1], stride: [1, 2, 3] }));
    check(convCase({ ...base, padding: [0, 2, 2], dilation: [1, 2, 2] }));
    check(convCase({ ...base, dilation: [1, 3, 1] }));
  });

  it("groups", () => {
    for (const groups of [2, 3])
      check(convCase({ images: 2, input: [1, 6, 6], cin: 6, cout: 12, kernel: [1, 3, 3], groups, padding: [0, 1, 1] }));
    check(convCase({ input: [1, 6, 6], cin: 4, cout: 4, kernel: [1, 3, 3], groups: 4 }));
  });

  it("one and three dimensions", () => {
    check(convCase({ images: 3, input: [1, 1, 20], cin: 3, cout: 7, kernel: [1, 1, 5], stride: [1, 1, 2] }));
    check(convCase({ input: [5, 6, 7], cin: 2, cout: 5, kernel: [3, 2, 3], stride: [2, 1, 2], padding: [1, 0, 1] }));
    check(convCase({ input: [6, 6, 7], cin: 2, cout: 5, kernel: [3, 2, 3], dilation: [1, 2, 2] }));
  });

  it("pixels beyond one chunk, other tiles, epilogue, known channels", () => {
    const big = convCase({ images: 2, input: [1, 15, 13], cin: 3, cout: 20, kernel: [1, 3, 3] });
    check(big, { mr: 2, nr: 16, unroll: 3 });
    check(big, { epilogue: chain(biasColumns("f32"), relu) });
    check(big, { n: 20, nr: 16, mr: 2, unroll: 9 });
    check(convCase({ input: [1, 40, 3], cin: 2, cout: 100, kernel: [1, 1, 1] }));
  });
});

describe("pad", () => {
  it("pads and crops", () => {
    const c = convCase({ images: 2, input: [3, 4, 5], cin: 3, cout: 1, kernel: [1, 1, 1], padding: [1, 2, 3] });
    const [pd, ph, pw] = paddedSize(c);
    const arena = new Arena(8);
    const x = arena.f32(randomArray(2 * 3 * 4 * 5 * 3, 1));
    const p = arena.f32(2 * pd * ph * pw * 3);
    p.fill(9);
    const back = arena.f32(x.length);
    const sizes = [3, 4, 5 * 3, 1, 2, 3 * 3, pd, ph, pw * 3];
    arena.instantiate(padKernel("f32"))(0, 2 * pd * ph, x, p, ...sizes);
    expectClose(p, padded(c, x), 0);
    arena.instantiate(cropKernel("f32"))(0, 2 * 3 * 4, p, back, ...sizes);
    arena.checkGuards();
    expectClose(back, x, 0);
  });
});
