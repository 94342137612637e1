import { describe, expect, it } from "vitest";
import { conv } from "../../compiler/kernels/conv.js";
import { segments } from "../../compiler/kernels/conv-walk.js";
import type { Epilogue } from "../../compiler/kernels/epilogue.js";
import { gemm } from "../../compiler/kernels/gemm.js";
import { packChunkPanels } from "../../compiler/kernels/pack.js";
import { packedPairsLength, packPairs, packPairsKernel } from "../../compiler/kernels/pack-pairs.js";
import { broadcast, maxS, minS, shrS, typeOf } from "../../ir/loop-build.js";
import { type ConvCase, convCase, forEachProduct, outputSize, padded, paddedSize } from "./conv-reference.js";
import { Arena, type NumberArray, randomNumbers } from "./run.js";

const integers = (length: number, seed: number, low: number, high: number): Int32Array => {
  const next = randomNumbers(seed);
  return Int32Array.from({ length }, () => Math.floor(((next() + 1) / 2) * (high - low + 1)) + low);
};

function filled<T extends NumberArray>(view: T, values: ArrayLike<number>): T {
  view.set(values);
  return view;
}

/** Divides by 256 and clamps to i8. */
const requantise: Epilogue = {
  name: "shift8_clamp",
  params: [],
  apply: (_b, acc) => minS(maxS(shrS(acc, 8), broadcast(typeOf(acc), -128)), broadcast(typeOf(acc), 127)),
};

type Weights = Int8Array | Int16Array;
const alloc = (arena: Arena, elem: "i8" | "i16", length: number): Weights =>
  elem === "i8" ? arena.alloc(Int8Array, length) : arena.alloc(Int16Array, length);
const weights = (length: number, elem: "i8" | "i16"): Int32Array =>
  elem === "i8" ? integers(length, 2, -128, 127) : integers(length, 2, -32768, 32767);

describe("products of pairs", () => {
  const sizes = [
    [1, 1, 1],
    [1, 17, 2],
    [5, 9, 7],
    [4, 8, 16],
    [7, 16, 31],
    [9, 19, 33],
    [98, 35, 10],
  ] as const;

  it.each(["i8", "i16"] as const)("matrices by weights of %s, exactly, sums wrapping", (elem) => {
    for (const [m, n, k] of sizes)
      for (const nr of [8, 16]) {
        const arena = new Arena(8);
        const a = integers(m * k, 1, -32768, 32767);
        const b = weights(k * n, elem);
        const length = packedPairsLength(1, k, n, nr);
        // An odd K reads one element beyond the last row.
        const aView = filled(arena.alloc(Int16Array, m * k + (k % 2)), a);
        const packed = alloc(arena, elem, length);
        packPairs(b, [1, k, n], nr, (_, i, j) => i * n + j, packed);
        const c = arena.alloc(Int32Array, m * n);
        const kernel = gemm({ lane: "i16pair", a: "rows", b: "packed", bElem: elem, nr, mr: nr === 8 ? 4 : 2 });
        const run = arena.instantiate(kernel);
        const chunks = Math.ceil(m / kernel.chunkRows);
        for (let i = chunks - 1; i >= 0; i--) run(i, i + 1, aView, packed, c, m, n, k, k, 1, nr, n, 0, 0, 0);
        arena.checkGuards();
        const want = Array.from({ length: m * n }, (_, i) => {
          let sum = 0;
          for (let x = 0; x < k; x++) sum = (sum + Math.imul(a[Math.floor(i / n) * k + x]!, b[x * n + (i % n)]!)) | 0;
          return sum;
        });
        expect([...c]).toEqual(want);
      }
  });

  it("packs pairs in the run as when compiling", () => {
    for (const [, n, k] of sizes)
      for (const nr of [8, 16]) {
        const batch = 3;
        const arena = new Arena(8);
        const b = integers(batch * k * n, 3, -32768, 32767);
        const length = packedPairsLength(1, k, n, nr);
        const want = new Int16Array(batch * length);
        // Each matrix is stored transposed.
        for (let t = 0; t < batch; t++)
          packPairs(b, [1, k, n], nr, (_, i, j) => (t * n + j) * k + i, want.subarray(t * length, (t + 1) * length));
        const from = filled(arena.alloc(Int16Array, b.length), b);
        const packed = filled(arena.alloc(Int16Array, batch * length), new Int16Array(batch * length).fill(7));
        const panels = batch * Math.ceil(n / nr);
        const run = arena.instantiate(packPairsKernel(nr));
        for (let i = Math.ceil(panels / packChunkPanels) - 1; i >= 0; i--)
          run(i, i + 1, from, packed, k, n, 1, k, k * n, panels);
        arena.checkGuards();
        expect([...packed]).toEqual([...want]);
      }
  });

  const convolutions: readonly ConvCase[] = [
    ...[1, 2, 3, 8].map((cin) =>
      convCase({ images: 2, input: [1, 6, 7], cin, cout: 11, kernel: [1, 3, 3], padding: [0, 1, 1] }),
    ),
    convCase({ images: 3, input: [1, 13, 9], cin: 5, cout: 16, kernel: [1, 1, 1], stride: [1, 2, 2] }),
    convCase({ input: [1, 9, 8], cin: 6, cout: 8, kernel: [1, 3, 2], groups: 2, dilation: [1, 2, 1] }),
    convCase({ input: [1, 5, 5], cin: 9, cout: 6, kernel: [1, 3, 3], groups: 3, stride: [1, 2, 1] }),
    convCase({ input: [4, 5, 6], cin: 3, cout: 4, kernel: [2, 2, 3], padding: [1, 0, 1] }),
  ];

  it.each(["i8", "i16"] as const)("convolutions by weights of %s, requantised in the epilogue", (elem) => {
    for (const c of convolutions) {
      const [od, oh, ow] = outputSize(c);
      const [pd, ph, pw] = paddedSize(c);
      const [cPer, n] = [c.cin / c.groups, c.cout / c.groups];
      const taps = c.kernel[0] * c.kernel[1] * c.kernel[2];
      const arena = new Arena(8);
      const x = integers(c.images * c.input[0] * c.input[1] * c.input[2] * c.cin, 1, -255, 255);
      const w = weights(c.cout * cPer * taps, elem);
      const s = segments({ ...c, input: [pd, ph, pw], channels: c.cin });
      const odd = s.run % 2;
      const wide = padded(c, x);
      const xView = filled(arena.alloc(Int16Array, wide.length + odd), wide);
      const runTaps = s.run / cPer;
      const runs = taps / runTaps;
      const length = packedPairsLength(runs, s.run, n, 8);
      const packed = alloc(arena, elem, c.groups * length);
      for (let group = 0; group < c.groups; group++)
        packPairs(
          w,
          [runs, s.run, n],
          8,
          (r, i, j) => ((group * n + j) * cPer + (i % cPer)) * taps + r * runTaps + Math.floor(i / cPer),
          packed.subarray(group * length, (group + 1) * length),
        );
      const pixels = c.images * od * oh * ow;
      const y = arena.alloc(Int8Array, pixels * c.cout);
      const kernel = conv({
        lane: "i16pair",
        wElem: elem,
        yElem: "i8",
        epilogue: requantise,
        loops: s.counts.length as 1,
      });
      const step = [c.stride[2] * c.cin, c.stride[1] * pw * c.cin, c.stride[0] * ph * pw * c.cin, pd * ph * pw * c.cin];
      const run = arena.instantiate(kernel);
      const chunks = c.groups * Math.ceil(pixels / kernel.chunkPixels);
      for (let i = chunks - 1; i >= 0; i--)
        run(
          ...[i, i + 1, xView, packed, y, pixels, n, c.groups, cPer, length, c.cout],
          ...[ow, oh, od, ...step, s.run],
          ...s.counts.flatMap((count, l) => [count, s.steps[l]!]),
        );
      arena.checkGuards();
      const sums = new Int32Array(y.length);
      forEachProduct(c, (i, j, o) => {
        sums[o] = (sums[o]! + Math.imul(x[i]!, w[j]!)) | 0;
      });
      expect([...y]).toEqual([...sums].map((v) => Math.min(Math.max(v >> 8, -128), 127)));
    }
  });
});
