import { describe, it } from "vitest";
import { channelPairs, channelPairWeights } from "../../compiler/kernels/channel-pairs.js";
import { depthwise, depthwiseWeights } from "../../compiler/kernels/depthwise.js";
import { biasColumns, chain, relu } from "../../compiler/kernels/epilogue.js";
import { type ConvCase, convCase, forEachProduct, outputSize } from "./conv-reference.js";
import { Arena, expectClose, randomArray } from "./run.js";

/** `per`: channels of a group. */
function check(c: ConvCase, fused = false, per: 1 | 2 = 1): void {
  const out = outputSize(c);
  const taps = c.kernel[0] * c.kernel[1] * c.kernel[2];
  const arena = new Arena(16);
  const x = randomArray(c.images * c.input[0] * c.input[1] * c.input[2] * c.cin, 1);
  const w = randomArray(c.cin * taps * per, 2);
  const pixels = c.images * out[0] * out[1] * out[2];
  const bias = arena.f32(randomArray(c.cin, 3));
  const xView = arena.f32(x);
  const [generate, arrange] = per === 1 ? [depthwise, depthwiseWeights] : [channelPairs, channelPairWeights];
  // Channels-last, as lowering has them: the two of a group lie side by side.
  const last = w.map(
    (_, i) => w[(Math.floor(i / (taps * per)) * per + (i % per)) * taps + (Math.floor(i / per) % taps)]!,
  );
  const wView = arena.f32(arrange(last, c.cin, taps, new Float64Array(w.length)));
  const y = arena.f32(pixels * c.cin);
  const kernel = generate({
    elem: "f32",
    window: c.kernel,
    strides: c.stride,
    dilations: c.dilation,
    padLow: c.padding,
    padHigh: c.padding,
    ...(fused ? { epilogue: chain(biasColumns("f32"), relu) } : {}),
  });
  const rows = c.images * out[0] * out[1];
  const run = arena.instantiate(kernel);
  for (let r = rows - 1; r >= 0; r--)
    run(r, r + 1, xView, wView, y, c.cin, ...c.input, ...out, ...(fused ? [bias] : []));
  arena.checkGuards();
  const want = new Float64Array(y.length);
  forEachProduct(c, (i, j, o) => {
    want[o]! += x[i]! * w[j]!;
  });
  if (fused)
    want.forEach((v, i) => {
      want[i] = Math.max(v + bias[i % c.cin]!, 0);
    });
  expectClose(y, want, (per * taps + 4) * 2 ** -22, `${kernel.fn.name} ${JSON.stringify(c)}`);
}

const inPairs = (channels: number, c: Omit<Parameters<typeof convCase>[0], "cin" | "cout" | "groups">): ConvCase =>
  convCase({ ...c, cin: channels, cout: channels, groups: channels / 2 });

const of = (channels: number, c: Omit<Parameters<typeof convCase>[0], "cin" | "cout" | "groups">): ConvCase =>
  convCase({ ...c, cin: channels, cout: channels, groups: channels });

describe("depthwise", () => {
  it("channel counts around the lanes", () => {
    for (const channels of [1, 3, 4, 5, 8, 9])
      check(of(channels, { images: 2, input: [1, 6, 11], kernel: [1, 3, 3], padding: [0, 1, 1] }));
  });

  it("widths around the tile", () => {
    for (const width of [1, 2, 3, 4, 5, 6, 7, 9]) {
      check(of(5, { input: [1, 3, width], kernel: [1, 3, 3], padding: [0, 1, 1] }));
      if (width >= 3) check(of(5, { input: [1, 3, width], kernel: [1, 3, 3] }), true);
    }
  });

  it("windows, strides, dilations, ranks", () => {
    check(of(6, { images: 2, input: [1, 9, 10], kernel: [1, 3, 3], stride: [1, 2, 2], padding: [0, 1, 1] }), true);
    check(of(6, { images: 2, input: [1, 9, 10], kernel: [1, 5, 5], padding: [0, 2, 2] }));
    check(of(6, { input: [1, 9, 20], kernel: [1, 7, 7], padding: [0, 3, 3] }));
    check(of(6, { input: [1, 9, 20], kernel: [1, 3, 3], dilation: [1, 2, 3], padding: [0, 2, 3] }));
    check(of(6, { input: [1, 1, 30], kernel: [1, 1, 9], padding: [0, 0, 4] }));
    check(of(6, { input: [4, 5, 6], kernel: [3, 2, 3], stride: [2, 1, 1], padding: [1, 0, 1] }));
  });
});

describe("groups of two channels", () => {
  it("channel counts around the lanes, widths around the tile", () => {
    for (const channels of [2, 4, 6, 8, 10])
      for (const width of [1, 2, 3, 4, 5, 6, 7, 9])
        check(inPairs(channels, { images: 2, input: [1, 4, width], kernel: [1, 3, 3], padding: [0, 1, 1] }), true, 2);
  });

  it("windows, strides, dilations, ranks", () => {
    const cases = [
      { images: 2, input: [1, 9, 10], kernel: [1, 3, 3], stride: [1, 2, 2], padding: [0, 1, 1] },
      { images: 2, input: [1, 9, 10], kernel: [1, 5, 5], padding: [0, 2, 2] },
      { input: [1, 9, 20], kernel: [1, 3, 3], dilation: [1, 2, 3], padding: [0, 2, 3] },
      { input: [1, 5, 6], kernel: [1, 1, 1] },
      { input: [4, 5, 6], kernel: [3, 2, 3], stride: [2, 1, 1], padding: [1, 0, 1] },
    ] as const;
    for (const c of cases) check(inPairs(6, c), false, 2);
  });
});
