import { describe, it } from "vitest";
import { type ConvSpec, conv } from "../../compiler/kernels/conv.js";
import { convInputGradient } from "../../compiler/kernels/conv-input-grad.js";
import { segments } from "../../compiler/kernels/conv-walk.js";
import { convWeightGradient } from "../../compiler/kernels/conv-weight-grad.js";
import { biasColumns, chain, relu } from "../../compiler/kernels/epilogue.js";
import { packConvWeights, packedLength, packInputGradientWeights } from "../../compiler/kernels/pack.js";
import { cropKernel, padKernel } from "../../compiler/kernels/pad.js";
import { type ConvCase, convCase, forEachProduct, outputSize, padded, paddedSize } from "./conv-reference.js";
import { Arena, expectClose, randomArray } from "./run.js";

const sizeOf = (...xs: readonly number[]): number => xs.reduce((a, b) => a * b, 1);

function checkKernel(c: ConvCase, spec: Partial<ConvSpec> = {}): void {
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

/** The kernel as it is asked for, with a run a turn where the run is short, and with turns that divide it. */
function check(c: ConvCase, spec: Partial<ConvSpec> = {}): void {
  checkKernel(c, spec);
  const { run } = segments({ ...c, input: paddedSize(c), channels: c.cin });
  if (run <= 10) checkKernel(c, { ...spec, unroll: run, turns: "run" });
  const divisor = [5, 4, 3, 2].find((u) => run % u === 0);
  if (divisor !== undefined) checkKernel(c, { ...spec, unroll: divisor, turns: "whole" });
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

/** Both gradients against the definition. */
function checkGradients(c: ConvCase, mr: number, nr: number, knownSizes = false): void {
  const [od, oh, ow] = outputSize(c);
  const p = paddedSize(c);
  const taps = sizeOf(...c.kernel);
  const cinG = c.cin / c.groups;
  const n = c.cout / c.groups;
  const x = randomArray(sizeOf(c.images, ...c.input, c.cin), 1);
  const w = randomArray(c.cout * cinG * taps, 2);
  const dy = randomArray(c.images * od * oh * ow * c.cout, 3);
  const s = segments({ ...c, input: p, channels: c.cin });
  const loops = s.counts.length as 1 | 2 | 3;
  const arena = new Arena(32);
  const pitch = [p[0] * p[1] * p[2], p[1] * p[2], p[2], 1].map((e) => e * c.cin) as [number, number, number, number];
  const steps = [c.stride[2] * pitch[3], c.stride[1] * pitch[2], c.stride[0] * pitch[1], pitch[0]];
  const segmentArgs = s.counts.flatMap((count, i) => [count, s.steps[i]!]);
  const runTaps = s.run / cinG;

  const widthLoops = runTaps === c.kernel[2] ? 0 : 1;
  const rows = {
    loop: c.kernel[1] === 1 ? undefined : widthLoops,
    stride: c.stride[1],
    dilation: c.dilation[1],
  };
  const inputKernel = convInputGradient({ lane: "f32", mr, nr, loops, rows, ...(knownSizes ? { n: s.run } : {}) });
  const one = (taps / runTaps) * packedLength(n, s.run, nr);
  const wView = arena.f32(one * c.groups);
  for (let g = 0; g < c.groups; g++)
    packInputGradientWeights(
      Float32Array.from(w.subarray(g * n * cinG * taps)),
      n,
      cinG,
      taps,
      runTaps,
      nr,
      wView.subarray(g * one),
    );
  const dyView = arena.f32(dy);
  const dx = arena.f32(c.images * pitch[0]);
  dx.fill(5);
  const runInput = arena.instantiate(inputKernel);
  const chunks = Math.ceil(c.images / inputKernel.chunkImages);
  for (let i = chunks - 1; i >= 0; i--)
    runInput(
      i,
      i + 1,
      dyView,
      wView,
      dx,
      c.images,
      n,
      c.groups,
      n,
      cinG,
      c.cout,
      ow,
      oh,
      od,
      ...steps,
      s.run,
      ...segmentArgs,
    );

  const weightKernel = convWeightGradient({ lane: "f32", mr, nr, loops, ...(knownSizes ? { n, turn: ow } : {}) });
  const xView = arena.f32(padded(c, x));
  const k = taps * cinG;
  const dw = arena.f32(c.groups * k * n);
  const runWeight = arena.instantiate(weightKernel);
  const weightChunks = c.groups * Math.ceil(k / weightKernel.chunkK);
  for (let i = weightChunks - 1; i >= 0; i--)
    runWeight(
      i,
      i + 1,
      xView,
      dyView,
      dw,
      c.images * od * oh,
      n,
      cinG,
      c.cout,
      ow,
      oh,
      od,
      ...steps,
      s.run,
      ...segmentArgs,
    );
  arena.checkGuards();

  const wantX = new Float64Array(x.length);
  const wantW = new Float64Array(w.length);
  forEachProduct(c, (i, j, o) => {
    wantX[i]! += dy[o]! * w[j]!;
    wantW[j]! += dy[o]! * x[i]!;
  });
  const what = `${mr}x${nr} ${JSON.stringify(c)}`;
  if (c.padding.every((e) => e === 0)) expectClose(dx, wantX, (taps * n + 4) * 2 ** -22, `dx ${what}`);
  else {
    // Crop, and compare what lies inside.
    const inside = padded(c, new Float64Array(x.length).fill(1));
    expectClose(
      [...dx].filter((_, i) => inside[i] === 1),
      wantX,
      (taps * n + 4) * 2 ** -22,
      `dx ${what}`,
    );
  }
  // dw lies as [group][tap][cin][cout].
  const got = new Float64Array(w.length);
  for (let g = 0; g < c.groups; g++)
    for (let row = 0; row < k; row++)
      for (let co = 0; co < n; co++)
        got[((g * n + co) * cinG + (row % cinG)) * taps + Math.floor(row / cinG)] = dw[(g * k + row) * n + co]!;
  expectClose(got, wantW, (c.images * od * oh * ow + 4) * 2 ** -22, `dw ${what}`);
}

describe("conv gradients", () => {
  it("channel counts around the tile", () => {
    for (const cin of [1, 3, 4, 6])
      for (const cout of [1, 3, 6, 8, 9, 16, 17])
        for (const [mr, nr] of [
          [4, 8],
          [2, 16],
        ] as const)
          checkGradients(convCase({ images: 3, input: [1, 7, 6], cin, cout, kernel: [1, 3, 3] }), mr, nr);
  });

  it("images around the tile, single output pixels", () => {
    for (const images of [1, 2, 4, 5, 9])
      checkGradients(convCase({ images, input: [1, 3, 4], cin: 2, cout: 5, kernel: [1, 3, 3] }), 4, 8);
    for (const cout of [1, 2, 3, 5])
      checkGradients(convCase({ images: 6, input: [1, 3, 3], cin: 1, cout, kernel: [1, 3, 3] }), 4, 8);
  });

  it("stride, padding, dilation, groups, other ranks", () => {
    const base = { images: 3, input: [1, 9, 8], cin: 6, cout: 10, kernel: [1, 3, 3] } as const;
    for (const c of [
      { ...base, padding: [0, 1, 1] },
      { ...base, padding: [0, 2, 1], stride: [1, 2, 3] },
      { ...base, padding: [0, 2, 2], dilation: [1, 2, 2] },
      { ...base, groups: 2, padding: [0, 1, 1] },
      { images: 2, input: [1, 1, 20], cin: 3, cout: 7, kernel: [1, 1, 5], stride: [1, 1, 2] },
      { images: 2, input: [5, 6, 7], cin: 2, cout: 5, kernel: [3, 2, 3], stride: [2, 1, 2], padding: [1, 0, 1] },
      { images: 2, input: [6, 6, 7], cin: 2, cout: 5, kernel: [3, 2, 3], dilation: [1, 2, 2] },
    ] as const) {
      checkGradients(convCase(c), 4, 8);
      checkGradients(convCase(c), 2, 16, true);
    }
  });

  it("blocks of rows larger than the cache budget", () => {
    checkGradients(convCase({ images: 2, input: [1, 40, 40], cin: 6, cout: 16, kernel: [1, 5, 5] }), 2, 16);
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
