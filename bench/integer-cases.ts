/** The integer kernels in bench/kernels.ts. A product and its addition count as two operations, whatever their type. */

import { conv } from "../compiler/kernels/conv.js";
import { segments } from "../compiler/kernels/conv-walk.js";
import { depthwisePairs } from "../compiler/kernels/depthwise-pairs.js";
import { gemm } from "../compiler/kernels/gemm.js";
import { packChunkPanels } from "../compiler/kernels/pack.js";
import { packedPairsLength, packPairsKernel } from "../compiler/kernels/pack-pairs.js";
import { elemBytes } from "../ir/loop.js";
import type { Case, ConvShape } from "./kernel-cases.js";

type Weights = "i8" | "i16";

/** Words of 4 bytes that hold so many elements. */
const words = (elements: number, elem: Weights): number => Math.ceil((elements * elemBytes[elem]) / 4);

function pairGemm(m: number, n: number, k: number, weights: Weights, mr: number, nr: number): Case {
  return {
    name: `gemm pairs ${m}x${n}x${k} ${weights} ${mr}x${nr}`,
    flops: 2 * m * n * k,
    calls: (alloc) => {
      const kernel = gemm({ lane: "i16pair", a: "rows", b: "packed", bElem: weights, mr, nr, n });
      const chunks = Math.ceil(m / kernel.chunkRows) * Math.ceil(n / kernel.chunkColumns);
      const b = alloc(words(packedPairsLength(1, k, n, nr), weights));
      return [
        { kernel, args: [0, chunks, alloc(words(m * k, "i16")), b, alloc(m * n), m, n, k, k, 1, nr, n, 0, 0, 0] },
      ];
    },
  };
}

/** `size` is that of the (square) padded input. */
function pairConv(c: ConvShape, weights: Weights, mr: number, nr: number): Case {
  const { images, size, cin, cout } = c;
  const stride = c.stride ?? 1;
  const out = Math.floor((size - c.kernel) / stride) + 1;
  const [pixels, image, taps] = [images * out * out, size * size * cin, c.kernel * c.kernel];
  const geometry = { input: [size, size], channels: cin, groups: 1, kernel: [c.kernel, c.kernel] };
  const s = segments({ ...geometry, stride: [stride, stride], dilation: [1, 1] });
  return {
    name: `conv pairs ${images}x${size}x${size} ${cin}-${cout} k${c.kernel}s${stride} ${weights} ${mr}x${nr}`,
    flops: 2 * pixels * taps * cin * cout,
    calls: (alloc) => {
      const loops = s.counts.length as 1 | 2 | 3;
      const kernel = conv({ lane: "i16pair", wElem: weights, mr, nr, loops, n: cout });
      const chunks = Math.ceil(pixels / kernel.chunkPixels) * Math.ceil(cout / kernel.chunkColumns);
      const w = alloc(words(packedPairsLength((taps * cin) / s.run, s.run, cout, nr), weights));
      const walk = [out, out, 1, stride * cin, stride * size * cin, 0, image, s.run];
      const tail = s.counts.flatMap((count, i) => [count, s.steps[i]!]);
      const x = alloc(words(images * image + 1, "i16"));
      return [{ kernel, args: [0, chunks, x, w, alloc(pixels * cout), pixels, cout, 1, 0, 0, cout, ...walk, ...tail] }];
    },
  };
}

/** 3×3 over `size` × `size` pixels, padded by 1. */
function pairDepthwise(size: number, channels: number, stride: number): Case {
  const out = Math.floor((size - 1) / stride) + 1;
  return {
    name: `depthwise pairs ${size}x${size} ${channels} k3s${stride} i8`,
    flops: 2 * out * out * channels * 9,
    calls: (alloc) => {
      const padding = [0, 1, 1] as const;
      const strides = [1, stride, stride] as const;
      const kernel = depthwisePairs({
        window: [1, 3, 3],
        strides,
        dilations: [1, 1, 1],
        padLow: padding,
        padHigh: padding,
      });
      const x = alloc(words(size * size * channels, "i16"));
      const w = alloc(words(9 * channels, "i8"));
      return [{ kernel, args: [0, out, x, w, alloc(out * out * channels), channels, 1, size, size, 1, out, out] }];
    },
  };
}

function packPairsCase(k: number, n: number): Case {
  return {
    name: `pack pairs ${k}x${n}`,
    flops: k * n,
    calls: (alloc) => {
      const panels = Math.ceil(n / 16);
      const packed = alloc(words(packedPairsLength(1, k, n, 16), "i16"));
      const args = [alloc(words(k * n, "i16")), packed, k, n, n, 1, 0, panels];
      return [{ kernel: packPairsKernel(16), args: [0, Math.ceil(panels / packChunkPanels), ...args] }];
    },
  };
}

export const integerCases: readonly Case[] = [
  ...(["i8", "i16"] as const).flatMap((weights) => [
    pairGemm(480, 480, 480, weights, 4, 8),
    pairGemm(480, 480, 480, weights, 2, 16),
    pairGemm(1, 1024, 1024, weights, 2, 16),
    pairConv({ images: 1, size: 58, cin: 64, cout: 64, kernel: 3 }, weights, 4, 8),
    pairConv({ images: 1, size: 58, cin: 64, cout: 64, kernel: 3 }, weights, 2, 16),
    pairConv({ images: 1, size: 130, cin: 3, cout: 32, kernel: 3, stride: 2 }, weights, 4, 8),
  ]),
  pairDepthwise(56, 144, 1),
  pairDepthwise(56, 144, 2),
  packPairsCase(480, 480),
];
