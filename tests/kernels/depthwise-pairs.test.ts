import { describe, expect, it } from "vitest";
import { depthwiseWeights } from "../../compiler/kernels/depthwise.js";
import { depthwisePairs } from "../../compiler/kernels/depthwise-pairs.js";
import type { Epilogue } from "../../compiler/kernels/epilogue.js";
import { broadcast, maxS, minS, shrS, typeOf } from "../../ir/loop-build.js";
import { type ConvCase, convCase, forEachProduct, outputSize } from "./conv-reference.js";
import { Arena, randomNumbers } from "./run.js";

const integers = (length: number, seed: number, low: number, high: number): Int32Array => {
  const next = randomNumbers(seed);
  return Int32Array.from({ length }, () => Math.floor(((next() + 1) / 2) * (high - low + 1)) + low);
};

/** Divides by 256 and clamps to i8. */
const requantise: Epilogue = {
  name: "shift8_clamp",
  params: [],
  apply: (_b, acc) => minS(maxS(shrS(acc, 8), broadcast(typeOf(acc), -128)), broadcast(typeOf(acc), 127)),
};

function check(c: ConvCase, fused = false): void {
  for (const wElem of ["i8", "i16"] as const) checkWith(wElem, c, fused);
}

function checkWith(wElem: "i8" | "i16", c: ConvCase, fused: boolean): void {
  const out = outputSize(c);
  const taps = c.kernel[0] * c.kernel[1] * c.kernel[2];
  const arena = new Arena(16);
  const x = integers(c.images * c.input[0] * c.input[1] * c.input[2] * c.cin, 1, -255, 255);
  const w = wElem === "i8" ? integers(c.cin * taps, 2, -128, 127) : integers(c.cin * taps, 2, -255, 255);
  const xView = arena.alloc(Int16Array, x.length);
  xView.set(x);
  const wView = wElem === "i8" ? arena.alloc(Int8Array, w.length) : arena.alloc(Int16Array, w.length);
  wView.set(depthwiseWeights(w, c.cin, taps, new Int32Array(w.length)));
  const pixels = c.images * out[0] * out[1] * out[2];
  const y = fused ? arena.alloc(Int8Array, pixels * c.cin) : arena.alloc(Int32Array, pixels * c.cin);
  const kernel = depthwisePairs({
    wElem,
    window: c.kernel,
    strides: c.stride,
    dilations: c.dilation,
    padLow: c.padding,
    padHigh: c.padding,
    ...(fused ? { epilogue: requantise, yElem: "i8" } : {}),
  });
  const run = arena.instantiate(kernel);
  for (let r = c.images * out[0] * out[1] - 1; r >= 0; r--) run(r, r + 1, xView, wView, y, c.cin, ...c.input, ...out);
  arena.checkGuards();
  const want = new Int32Array(y.length);
  forEachProduct(c, (i, j, o) => {
    want[o] = (want[o]! + Math.imul(x[i]!, w[j]!)) | 0;
  });
  const finished = fused ? want.map((v) => Math.min(Math.max(v >> 8, -128), 127)) : want;
  expect([...y], `${kernel.fn.name} ${JSON.stringify(c)}`).toEqual([...finished]);
}

const of = (channels: number, c: Omit<Parameters<typeof convCase>[0], "cin" | "cout" | "groups">): ConvCase =>
  convCase({ ...c, cin: channels, cout: channels, groups: channels });

describe("depthwise of integers, exactly", () => {
  it("channel counts around the lanes", () => {
    for (const channels of [1, 3, 7, 8, 9, 15, 16, 17])
      check(of(channels, { images: 2, input: [1, 6, 11], kernel: [1, 3, 3], padding: [0, 1, 1] }), channels % 2 === 0);
  });

  it("widths around the tile", () => {
    for (const width of [1, 2, 3, 4, 5, 6, 7, 9]) {
      check(of(9, { input: [1, 3, width], kernel: [1, 3, 3], padding: [0, 1, 1] }));
      if (width >= 3) check(of(9, { input: [1, 3, width], kernel: [1, 3, 3] }), true);
    }
  });

  it("windows, strides, dilations, ranks", () => {
    check(of(10, { images: 2, input: [1, 9, 10], kernel: [1, 3, 3], stride: [1, 2, 2], padding: [0, 1, 1] }), true);
    check(of(10, { images: 2, input: [1, 9, 10], kernel: [1, 5, 5], padding: [0, 2, 2] }));
    check(of(10, { images: 2, input: [1, 9, 11], kernel: [1, 4, 4], stride: [1, 2, 3], padding: [0, 1, 1] }));
    check(of(10, { input: [1, 9, 20], kernel: [1, 7, 7], padding: [0, 3, 3] }));
    check(of(10, { input: [1, 9, 20], kernel: [1, 3, 3], dilation: [1, 2, 3], padding: [0, 2, 3] }));
    check(of(10, { input: [1, 1, 30], kernel: [1, 1, 9], padding: [0, 0, 4] }));
    check(of(10, { input: [4, 5, 6], kernel: [3, 2, 3], stride: [2, 1, 1], padding: [1, 0, 1] }));
  });
});
