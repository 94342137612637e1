/** What bench/kernels.ts measures. Operations are counted as the definition has them: padding and recomputation are not. */

import { conv } from "../compiler/kernels/conv.js";
import { convInputGradient } from "../compiler/kernels/conv-input-grad.js";
import { segments } from "../compiler/kernels/conv-walk.js";
import { convWeightGradient } from "../compiler/kernels/conv-weight-grad.js";
import { depthwise } from "../compiler/kernels/depthwise.js";
import { biasColumns, chain, relu } from "../compiler/kernels/epilogue.js";
import { gemm } from "../compiler/kernels/gemm.js";
import { type GemmSpec, rowPanel } from "../compiler/kernels/gemm-spec.js";
import type { Kernel } from "../compiler/kernels/kernel.js";
import { packChunkPanels, packedLength, packKernel } from "../compiler/kernels/pack.js";
import { maxPool } from "../compiler/kernels/pool.js";
import { maxPoolGradient } from "../compiler/kernels/pool-grad.js";
import { rowProduct } from "../compiler/kernels/row-product.js";
import { type RowStorageName, rowStorages } from "../compiler/kernels/row-storage.js";
import { peakLoop, peakOperations } from "../compiler/profile/peak.js";
import { elemBytes } from "../ir/loop.js";
import { winogradCase, winogradGradCase } from "./winograd-cases.js";

export interface Call {
  readonly kernel: Kernel;
  /** All arguments of the entry, begin and end included. */
  readonly args: readonly (number | Float32Array)[];
}

export interface Case {
  readonly name: string;
  readonly flops: number;
  /** Cases whose times are summed. */
  readonly group?: string;
  readonly calls: (alloc: (length: number) => Float32Array) => readonly Call[];
}

const peakRounds = 1e6;

const peak: Case = {
  name: "peak",
  flops: peakRounds * peakOperations,
  calls: (alloc) => [{ kernel: { fn: peakLoop(), helpers: [] }, args: [peakRounds, alloc(64)] }],
};

export interface GemmOptions {
  readonly mr?: number;
  readonly nr?: number;
  readonly a?: GemmSpec["a"];
  readonly b?: GemmSpec["b"];
  readonly fused?: boolean;
  readonly known?: boolean;
  readonly group?: string;
}

export function gemmCase(label: string, m: number, n: number, k: number, o: GemmOptions = {}): Case {
  const { mr = 4, nr = 8, a = "rows", b = "packed" } = o;
  return {
    name: `gemm ${label} ${m}x${n}x${k} ${a}/${b} ${mr}x${nr}`,
    flops: 2 * m * n * k,
    ...(o.group === undefined ? {} : { group: o.group }),
    calls: (alloc) => {
      const kernel = gemm({
        lane: "f32",
        a,
        b,
        mr,
        nr,
        ...(o.known ? { n } : {}),
        ...(o.fused ? { epilogue: chain(biasColumns("f32"), relu) } : {}),
      });
      const chunks = Math.ceil(m / kernel.chunkRows) * Math.ceil(n / kernel.chunkColumns);
      const bLength = b === "packed" ? packedLength(k, n, nr) : k * n;
      const aLength = a === "panels" ? packedLength(k, m, rowPanel) : m * k;
      const buffers = [alloc(aLength), alloc(bLength), alloc(m * n)];
      const strides = [a === "columns" ? 1 : k, a === "columns" ? m : 1, n, n, 0, 0, 0];
      return [{ kernel, args: [0, chunks, ...buffers, m, n, k, ...strides, ...(o.fused ? [alloc(n)] : [])] }];
    },
  };
}

/** A product with rows of B as they lie: few rows of A, at the rate of memory. */
export function rowCase(m: number, n: number, k: number, b: RowStorageName): Case {
  return {
    name: `rows ${b} ${m}x${n}x${k}`,
    flops: 2 * m * n * k,
    calls: (alloc) => {
      const kernel = rowProduct({ b, n });
      const chunks = Math.ceil(m / kernel.chunkRows) * Math.ceil(n / kernel.chunkColumns);
      const weights = alloc((n * k * elemBytes[rowStorages[b].elem]) / 4);
      const buffers = [alloc(m * k), weights, alloc(m * n)];
      return [{ kernel, args: [0, chunks, ...buffers, m, n, k, k, k, n, 0, 0, 0, alloc(kernel.scratchBytes / 4)] }];
    },
  };
}

export interface ConvShape {
  readonly images: number;
  readonly size: number;
  readonly cin: number;
  readonly cout: number;
  readonly kernel: number;
  readonly stride?: number;
}

export interface ConvOptions {
  readonly mr?: number;
  readonly nr?: number;
  readonly unroll?: number;
  readonly fused?: boolean;
  readonly group?: string;
}

/** `size` is that of the (square) padded input. */
export function convCases(
  label: string,
  what: "forward" | "dx" | "dw",
  c: ConvShape,
  { mr = 4, nr = 8, unroll = 4, fused = false, group }: ConvOptions = {},
): Case {
  const stride = c.stride ?? 1;
  const out = Math.floor((c.size - c.kernel) / stride) + 1;
  const s = segments({
    input: [c.size, c.size],
    channels: c.cin,
    groups: 1,
    kernel: [c.kernel, c.kernel],
    stride: [stride, stride],
    dilation: [1, 1],
  });
  const loops = s.counts.length as 1 | 2 | 3;
  const pixels = c.images * out * out;
  const k = c.kernel * c.kernel * c.cin;
  const image = c.size * c.size * c.cin;
  const walk = [out, out, 1, stride * c.cin, stride * c.size * c.cin, 0, image];
  const tail = [s.run, ...s.counts.flatMap((count, i) => [count, s.steps[i]!])];
  const shape = `${c.images}x${c.size}x${c.size} ${c.cin}-${c.cout} k${c.kernel}s${stride}`;
  return {
    name: `conv ${label} ${what} ${shape} ${mr}x${nr}${what === "forward" ? `u${unroll}` : ""}`,
    flops: 2 * pixels * k * c.cout,
    ...(group === undefined ? {} : { group }),
    calls: (alloc) => {
      const x = alloc(c.images * image);
      const y = alloc(pixels * c.cout);
      if (what === "forward") {
        const epilogue = chain(biasColumns("f32"), relu);
        const turns = unroll === s.run ? "run" : s.run % unroll === 0 ? "whole" : undefined;
        const kernel = conv({
          lane: "f32",
          mr,
          nr,
          unroll,
          ...(turns ? { turns } : {}),
          loops,
          n: c.cout,
          ...(fused ? { epilogue } : {}),
        });
        const chunks = Math.ceil(pixels / kernel.chunkPixels) * Math.ceil(c.cout / kernel.chunkColumns);
        const w = alloc(packedLength(k, c.cout, nr));
        const sizes = [pixels, c.cout, 1, 0, 0, c.cout];
        return [{ kernel, args: [0, chunks, x, w, y, ...sizes, ...walk, ...tail, ...(fused ? [alloc(c.cout)] : [])] }];
      }
      if (what === "dx") {
        const kernel = convInputGradient({
          lane: "f32",
          mr,
          nr,
          loops,
          rows: { loop: c.kernel > 1 ? 0 : undefined, stride, dilation: 1 },
          n: s.run,
        });
        const w = alloc((k / s.run) * packedLength(c.cout, s.run, nr));
        const chunks = Math.ceil(c.images / kernel.chunkImages);
        return [{ kernel, args: [0, chunks, y, w, x, c.images, c.cout, 1, 0, 0, c.cout, ...walk, ...tail] }];
      }
      const turn = [8, 7, 6, 5, 4].find((t) => out % t === 0);
      const kernel = convWeightGradient({ lane: "f32", mr, nr, loops, n: c.cout, ...(turn ? { turn } : {}) });
      const chunks = Math.ceil(k / kernel.chunkK);
      return [
        { kernel, args: [0, chunks, x, y, alloc(k * c.cout), c.images * out, c.cout, 0, c.cout, ...walk, ...tail] },
      ];
    },
  };
}

function packCase(
  label: string,
  k: number,
  n: number,
  along: "k" | "n",
  { nr = 16, group }: { readonly nr?: number; readonly group?: string } = {},
): Case {
  return {
    name: `pack ${label} along ${along} ${k}x${n} by ${nr}`,
    flops: k * n,
    ...(group === undefined ? {} : { group }),
    calls: (alloc) => {
      const panels = Math.ceil(n / nr);
      const args = [alloc(k * n), alloc(packedLength(k, n, nr)), k, n, ...(along === "k" ? [1, k] : [n, 1]), 0, panels];
      return [
        { kernel: packKernel({ elem: "f32", nr, along }), args: [0, Math.ceil(panels / packChunkPanels), ...args] },
      ];
    },
  };
}

function poolCase(label: string, images: number, size: number, channels: number, group: string): readonly Case[] {
  const zero = [0, 0, 0] as const;
  const window = [1, 2, 2] as const;
  const spec = { elem: "f32", window, strides: window, dilations: [1, 1, 1], padLow: zero, padHigh: zero } as const;
  const half = size / 2;
  const sizes = [channels, 1, size, size, 1, half, half];
  const [inputs, outputs] = [images * size * size * channels, images * half * half * channels];
  const shape = `${images}x${size}x${size}x${channels}`;
  return [
    {
      name: `pool ${label} max 2x2 ${shape}`,
      flops: inputs,
      group,
      calls: (alloc) => [
        {
          kernel: maxPool(spec, { indices: true }),
          args: [0, images * half, alloc(inputs), alloc(outputs), alloc(outputs), ...sizes],
        },
      ],
    },
    {
      name: `pool ${label} max gradient 2x2 ${shape}`,
      flops: inputs,
      group,
      calls: (alloc) => [
        {
          kernel: maxPoolGradient(spec),
          args: [0, images, alloc(outputs), alloc(outputs), alloc(inputs), ...sizes],
        },
      ],
    },
  ];
}

function depthwiseCase(size: number, channels: number, kernel: number, stride: number): Case {
  const pad = (kernel - 1) / 2;
  const out = Math.floor((size + 2 * pad - kernel) / stride) + 1;
  return {
    name: `depthwise ${size}x${size}x${channels} k${kernel}s${stride}`,
    flops: 2 * out * out * channels * kernel * kernel,
    calls: (alloc) => {
      const fn = depthwise({
        elem: "f32",
        window: [1, kernel, kernel],
        strides: [1, stride, stride],
        dilations: [1, 1, 1],
        padLow: [0, pad, pad],
        padHigh: [0, pad, pad],
        epilogue: chain(biasColumns("f32"), relu),
      });
      const buffers = [alloc(size * size * channels), alloc(kernel * kernel * channels), alloc(out * out * channels)];
      return [{ kernel: fn, args: [0, out, ...buffers, channels, 1, size, size, 1, out, out, alloc(channels)] }];
    },
  };
}

/** The contractions and poolings of a LeNet training step. */
function lenet(images: number): readonly Case[] {
  const group = `LeNet training kernels, batch ${images}`;
  const conv1 = { images, size: 32, cin: 1, cout: 6, kernel: 5 };
  const conv2 = { images, size: 14, cin: 6, cout: 16, kernel: 5 };
  const label = `lenet${images}`;
  return [
    convCases(label, "forward", conv1, { mr: 4, nr: 8, unroll: 5, fused: true, group }),
    convCases(label, "forward", conv2, { mr: 2, nr: 16, unroll: 5, fused: true, group }),
    ...(
      [
        [400, 120],
        [120, 84],
        [84, 10],
      ] as const
    ).flatMap(([k, n]) => [
      packCase(label, k, n, "k", { group }),
      gemmCase(label, images, n, k, { mr: 2, nr: 16, fused: true, known: true, group }),
      gemmCase(`${label} dx`, images, k, n, { mr: 2, nr: 16, b: "rows", known: true, group }),
      gemmCase(`${label} dw`, n, k, images, { mr: 4, nr: 8, a: "columns", b: "rows", known: true, group }),
    ]),
    convCases(label, "dx", conv2, { mr: 4, nr: 8, group }),
    convCases(label, "dw", conv2, { mr: 2, nr: 16, group }),
    convCases(label, "dw", conv1, { mr: 4, nr: 8, group }),
    ...poolCase(label, images, 28, 6, group),
    ...poolCase(label, images, 10, 16, group),
  ];
}

export const cases: readonly Case[] = [
  peak,
  gemmCase("square", 480, 480, 480, { mr: 4, nr: 8 }),
  gemmCase("square", 480, 480, 480, { mr: 2, nr: 16 }),
  gemmCase("square", 480, 480, 480, { mr: 4, nr: 8, b: "rows" }),
  gemmCase("square", 480, 480, 480, { mr: 2, nr: 16, b: "rows" }),
  gemmCase("square", 480, 480, 480, { mr: 4, nr: 8, a: "columns" }),
  gemmCase("square", 480, 480, 480, { mr: 2, nr: 16, a: "columns" }),
  gemmCase("square", 480, 480, 480, { mr: 4, nr: 8, a: "columns", b: "rows" }),
  gemmCase("square", 480, 480, 480, { mr: 2, nr: 16, a: "columns", b: "rows" }),
  gemmCase("deep", 169, 1000, 512, { mr: 4, nr: 8 }),
  gemmCase("deep", 169, 1000, 512, { mr: 2, nr: 16 }),
  gemmCase("vector", 1, 1024, 1024, { mr: 4, nr: 8 }),
  gemmCase("vector", 1, 1024, 1024, { mr: 2, nr: 16 }),
  gemmCase("step", 1, 512, 128, { mr: 2, nr: 16 }),
  gemmCase("step", 2, 256, 256, { mr: 2, nr: 16 }),
  gemmCase("thin", 4, 1024, 1024, { mr: 4, nr: 8 }),
  gemmCase("vector", 1, 8192, 4096, { mr: 2, nr: 16 }),
  ...(["f32", "finite16", "bf16"] as const).map((b) => rowCase(1, 8192, 4096, b)),
  rowCase(1, 1024, 1024, "f32"),
  rowCase(64, 1024, 1024, "f32"),
  ...[
    [128, 96, 3200],
    [96, 96, 3200],
    [512, 48, 3200],
    [128, 96, 256],
    [200, 50, 1920],
  ].flatMap(([m, n, k]) => [
    gemmCase("long", m!, n!, k!, { mr: 2, nr: 16, a: "columns" }),
    gemmCase("long", m!, n!, k!, { mr: 4, nr: 8, a: "columns" }),
    gemmCase("long", m!, n!, k!, { mr: 2, nr: 16, a: "panels" }),
  ]),
  packCase("long A", 3200, 512, "n", { nr: rowPanel }),
  packCase("long", 3200, 256, "n"),
  packCase("long", 3200, 256, "k"),
  convCases("resnet", "forward", { images: 1, size: 58, cin: 64, cout: 64, kernel: 3 }, { mr: 4, nr: 8 }),
  convCases("resnet", "forward", { images: 1, size: 58, cin: 64, cout: 64, kernel: 3 }, { mr: 2, nr: 16 }),
  winogradCase(56, 64, 64),
  convCases("resnet", "forward", { images: 1, size: 30, cin: 128, cout: 128, kernel: 3 }, { mr: 2, nr: 16 }),
  winogradCase(28, 128, 128),
  winogradCase(112, 16, 16),
  winogradGradCase(8, 32, 16, 16),
  winogradGradCase(8, 16, 32, 32),
  winogradGradCase(32, 8, 64, 64),
  convCases("resnet", "forward", { images: 1, size: 114, cin: 16, cout: 16, kernel: 3 }, { mr: 2, nr: 16 }),
  convCases("resnet", "forward", { images: 1, size: 9, cin: 512, cout: 512, kernel: 3 }, { mr: 4, nr: 8 }),
  convCases(
    "first",
    "forward",
    { images: 1, size: 230, cin: 3, cout: 64, kernel: 7, stride: 2 },
    { mr: 4, nr: 8, unroll: 7 },
  ),
  depthwiseCase(112, 32, 3, 1),
  depthwiseCase(14, 512, 3, 1),
  depthwiseCase(56, 128, 3, 2),
  depthwiseCase(14, 480, 5, 1),
  ...lenet(64),
  ...lenet(4),
];
