import { describe, expect, it } from "vitest";
import { conv, segments } from "../../compiler/kernels/conv.js";
import type { Epilogue } from "../../compiler/kernels/epilogue.js";
import { gemm } from "../../compiler/kernels/gemm.js";
import { packedLength } from "../../compiler/kernels/pack.js";
import { packPairs, pairsOf, widenPadKernel } from "../../compiler/kernels/quantised.js";
import { broadcast, maxS, minS, shrS, typeOf } from "../../ir/loop-build.js";
import { convCase, forEachProduct, outputSize, paddedSize } from "./conv-reference.js";
import { Arena, randomNumbers } from "./run.js";

const bytes = (length: number, seed: number, low: number): Int32Array => {
  const next = randomNumbers(seed);
  return Int32Array.from({ length }, () => Math.floor((next() + 1) * 128) + low);
};

/** Divides by 256 and clamps to i8. */
const requantise: Epilogue = {
  name: "shift8_clamp",
  params: [],
  apply: (_b, acc) => minS(maxS(shrS(acc, 8), broadcast(typeOf(acc), -128)), broadcast(typeOf(acc), 127)),
};

describe("quantised products", () => {
  it("matrices of bytes, exactly", () => {
    for (const [m, n, k] of [
      [1, 1, 1],
      [5, 9, 7],
      [4, 8, 16],
      [9, 19, 33],
    ] as const)
      for (const elem of ["u8", "i8"] as const) {
        const arena = new Arena(8);
        const a = bytes(m * k, 1, elem === "u8" ? 0 : -128);
        const b = bytes(k * n, 2, -128);
        const zero = elem === "u8" ? 131 : -7;
        const aView = elem === "u8" ? arena.alloc(Uint8Array, m * k) : arena.alloc(Int8Array, m * k);
        aView.set(a);
        const pairs = pairsOf(k);
        const wide = arena.alloc(Int32Array, m * pairs);
        arena.instantiate(widenPadKernel(elem))(0, m, aView, wide, zero, 1, m, 1, k, 0, 0, 0, 1, m, 1);
        const packed = arena.alloc(Int32Array, packedLength(pairs, n, 8));
        packPairs(
          b,
          1,
          k,
          n,
          8,
          (_t, c, j) => c * n + j,
          (j) => j % 3,
          packed,
        );
        const c = arena.alloc(Int32Array, m * n);
        const kernel = gemm({ lane: "i16pair", a: "rows", b: "packed" });
        arena.instantiate(kernel)(0, 1, wide, packed, c, m, n, pairs, pairs, 1, n, n, 0, 0, 0);
        arena.checkGuards();
        const want = Array.from({ length: m * n }, (_, i) => {
          let sum = 0;
          for (let x = 0; x < k; x++)
            sum += (a[Math.floor(i / n) * k + x]! - zero) * (b[x * n + (i % n)]! - ((i % n) % 3));
          return sum;
        });
        expect([...c]).toEqual(want);
      }
  });

  it("convolutions of bytes, requantised in the epilogue", () => {
    for (const cin of [1, 3, 4, 8]) {
      const c = convCase({ images: 2, input: [1, 6, 7], cin, cout: 11, kernel: [1, 3, 3], padding: [0, 1, 1] });
      const [, oh, ow] = outputSize(c);
      const [pd, ph, pw] = paddedSize(c);
      const arena = new Arena(8);
      const x = bytes(c.images * 6 * 7 * cin, 1, 0);
      const w = bytes(11 * cin * 9, 2, -128);
      const zero = 120;
      const xView = arena.alloc(Uint8Array, x.length);
      xView.set(x);
      const pairs = pairsOf(cin);
      const wide = arena.alloc(Int32Array, c.images * pd * ph * pw * pairs);
      arena.instantiate(widenPadKernel("u8"))(0, c.images * ph, xView, wide, zero, 1, 6, 7, cin, 0, 1, 1, pd, ph, pw);
      const packed = arena.alloc(Int32Array, packedLength(9 * pairs, 11, 8));
      packPairs(
        w,
        9,
        cin,
        11,
        8,
        (t, ch, j) => (j * cin + ch) * 9 + t,
        () => 0,
        packed,
      );
      const s = segments({
        input: [pd, ph, pw],
        channels: pairs,
        groups: 1,
        kernel: c.kernel,
        stride: c.stride,
        dilation: c.dilation,
      });
      const pixels = c.images * oh * ow;
      const y = arena.alloc(Int8Array, pixels * 11);
      const kernel = conv({ lane: "i16pair", yElem: "i8", epilogue: requantise, loops: s.counts.length as 1 });
      arena.instantiate(kernel)(
        ...[0, Math.ceil(pixels / kernel.chunkPixels), wide, packed, y, pixels, 11, 1, 0, 0, 11],
        ...[ow, oh, 1, pairs, pw * pairs, 0, ph * pw * pairs, s.run],
        ...s.counts.flatMap((count, i) => [count, s.steps[i]!]),
      );
      arena.checkGuards();
      const sums = new Int32Array(y.length);
      forEachProduct(c, (i, j, o) => {
        sums[o]! += (x[i]! - zero) * w[j]!;
      });
      expect([...y]).toEqual([...sums].map((v) => Math.min(Math.max(v >> 8, -128), 127)));
    }
  });
});
