import { describe, expect, it } from "vitest";
import { addTensor, biasColumns, chain, relu } from "../../compiler/kernels/epilogue.js";
import { type RowProductSpec, rowProduct } from "../../compiler/kernels/row-product.js";
import { fromBf16, fromF16, toBf16, toF16 } from "../../ir/float-formats.js";
import { Arena, expectClose, randomArray } from "./run.js";

interface Sizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch?: number;
}

const half = { to: toF16, from: fromF16 };
const formats = { f32: undefined, bf16: { to: toBf16, from: fromBf16 }, f16: half, finite16: half } as const;

type Tail = "none" | "bias" | "add";

/** Runs one product, in chunks from the last to the first, and compares it with the definition in f64. */
function check(spec: RowProductSpec, { m, n, k, batch = 1 }: Sizes, tail: Tail = "none"): void {
  const epilogue = { none: undefined, bias: chain(biasColumns("f32"), relu), add: addTensor("f32") }[tail];
  const kernel = rowProduct({ ...spec, ...(epilogue ? { epilogue } : {}) });
  const arena = new Arena(32);
  const format = formats[spec.b];
  const a = randomArray(batch * m * k, 1 + m);
  const b = randomArray(batch * n * k, 2 + n);
  const aView = arena.f32(a, 4);
  const bView = format ? arena.alloc(Uint8Array, 2 * b.length, 2) : arena.f32(b, 4);
  if (format) {
    const bits = new Uint16Array(b.map(format.to));
    b.set(Float64Array.from(bits, format.from));
    bView.set(new Uint8Array(bits.buffer));
  }
  const c = arena.f32(new Float64Array(batch * m * n).fill(7));
  const sums = arena.alloc(Uint8Array, kernel.scratchBytes);
  const extra = randomArray(tail === "bias" ? n : batch * m * n, 5);
  const more = { none: [], bias: [arena.f32(extra)], add: [arena.f32(extra), n, m * n] }[tail];
  const chunks = batch * Math.ceil(m / kernel.chunkRows) * Math.ceil(n / kernel.chunkColumns);
  const run = arena.instantiate(kernel);
  for (let i = chunks - 1; i >= 0; i--)
    run(i, i + 1, aView, bView, c, m, n, k, k, k, n, m * k, n * k, m * n, sums, ...more);
  arena.checkGuards();
  const want = new Float64Array(batch * m * n);
  for (let t = 0; t < batch; t++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let x = 0; x < k; x++) sum += a[(t * m + i) * k + x]! * b[(t * n + j) * k + x]!;
        const at = (t * m + i) * n + j;
        want[at] = { none: sum, bias: Math.max(sum + extra[j]!, 0), add: sum + extra[at]! }[tail];
      }
  expectClose(c, want, (k + 4) * 2 ** -22, `${kernel.fn.name} ${JSON.stringify({ m, n, k, batch, tail })}`);
}

describe.each(["f32", "bf16", "f16", "finite16"] as const)("rows of %s", (b) => {
  it("of any sizes around the tile", () => {
    for (const m of [0, 1, 2, 3, 4, 7]) for (const n of [0, 1, 3, 4, 5, 8, 17, 66]) check({ b }, { m, n, k: 9 });
    for (const k of [4, 5, 6, 7, 8, 15, 16, 17, 33, 67]) check({ b }, { m: 3, n: 7, k });
  });

  it("over several chunks, of batches", () => {
    for (const n of [63, 64, 65, 130, 200]) check({ b }, { m: 1, n, k: 40 });
    check({ b }, { m: 99, n: 70, k: 12, batch: 2 });
    check({ b }, { m: 1, n: 70, k: 12, batch: 3 });
  });

  it("with epilogues, and a known number of columns", () => {
    for (const n of [1, 6, 8, 11, 64, 67])
      for (const tail of ["none", "bias", "add"] as const) {
        check({ b }, { m: 3, n, k: 11 }, tail);
        check({ b, n }, { m: 3, n, k: 11 }, tail);
      }
  });
});

it("gives a row the same bits wherever it stands", () => {
  const kernel = rowProduct({ b: "f32" });
  const arena = new Arena(32);
  const run = arena.instantiate(kernel);
  const [m, n, k] = [7, 75, 131];
  const a = arena.f32(randomArray(m * k, 1));
  const b = arena.f32(randomArray(n * k, 2));
  const sums = arena.alloc(Uint8Array, kernel.scratchBytes);
  const all = arena.f32(m * n);
  const one = arena.f32(n);
  run(0, 2, a, b, all, m, n, k, k, k, n, 0, 0, 0, sums);
  for (let i = 0; i < m; i++) {
    run(0, 2, a.byteOffset + i * k * 4, b, one, 1, n, k, k, k, n, 0, 0, 0, sums);
    expect([...one]).toEqual([...all.subarray(i * n, (i + 1) * n)]);
  }
});

it("widens all finite halves exactly", () => {
  const kernel = rowProduct({ b: "finite16" });
  const arena = new Arena(64);
  const bits = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i).filter((i) => (i & 0x7c00) !== 0x7c00);
  const n = bits.length;
  // Rows of four of which one is the half itself.
  const b = arena.alloc(Uint8Array, 8 * n, 0);
  new Uint16Array(b.buffer, b.byteOffset, 4 * n).set(Array.from(bits, (x) => [0, x, 0, 0]).flat());
  const a = arena.f32([1, 1, 1, 1]);
  const c = arena.f32(n);
  const sums = arena.alloc(Uint8Array, kernel.scratchBytes);
  arena.instantiate(kernel)(0, Math.ceil(n / kernel.chunkColumns), a, b, c, 1, n, 4, 4, 4, n, 0, 0, 0, sums);
  expect([...c]).toEqual(Array.from(bits, (x) => fromF16(x) + 0));
});
