import { describe, expect, it } from "vitest";
import { addTensor, biasColumns, chain, relu } from "../../compiler/kernels/epilogue.js";
import { arrangeRows } from "../../compiler/kernels/row-arrange.js";
import { type RowProductSpec, rowProduct } from "../../compiler/kernels/row-product.js";
import { rowStorages } from "../../compiler/kernels/row-storage.js";
import { fromBf16, fromF16, toBf16, toF16 } from "../../ir/float-formats.js";
import { Arena, expectClose, onEngine, randomArray, randomNumbers } from "./run.js";

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
function check(
  spec: RowProductSpec & { readonly b: keyof typeof formats },
  { m, n, k, batch = 1 }: Sizes,
  tail: Tail = "none",
): void {
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
  const wide = kernel.wideRows === 0 ? [] : [arena.f32(kernel.wideRows * k)];
  const extra = randomArray(tail === "bias" ? n : batch * m * n, 5);
  const more = { none: [], bias: [arena.f32(extra)], add: [arena.f32(extra), n, m * n] }[tail];
  const chunks = batch * Math.ceil(m / kernel.chunkRows) * Math.ceil(n / kernel.chunkColumns);
  const initial = [...c];
  const all = (run: ReturnType<Arena["instantiate"]>) => {
    c.set(initial);
    for (let i = chunks - 1; i >= 0; i--)
      run(i, i + 1, aView, bView, c, m, n, k, k, k, n, m * k, n * k, m * n, sums, ...wide, ...more);
    return [...c];
  };
  expect(all(arena.instantiate(onEngine(kernel, { fma: 1 })))).toEqual(all(arena.instantiate(kernel)));
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
  const kernel = rowProduct({ b: "finite16", few: true });
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

interface Quantised {
  readonly b: "i8" | "u8" | "u4" | "u2";
  readonly zero?: "one" | "each";
  /** Elements of a block; all of a row where undefined. */
  readonly block?: number;
  readonly few?: boolean;
  /** Number k of row i of A, in place of a random one. */
  readonly ofA?: (i: number, k: number, random: number) => number;
}

/** Runs a product with quantised rows, A arranged by the kernel for it, and compares with the definition in f64. */
function checkQuantised({ b, zero, block, few = false, ofA }: Quantised, { m, n, k }: Sizes): void {
  const storage = rowStorages[b];
  const { group, bits } = storage;
  const groups = Math.ceil(k / group);
  const perBlock = block === undefined ? groups : block / group;
  const blocks = Math.ceil(groups / perBlock);
  const rowLength = blocks * perBlock * group;
  const short = block === group;
  const next = randomNumbers(m + 7 * n + 31 * k);
  const whole = (low: number, high: number) => Math.floor(((next() + 1) / 2) * (high - low + 1)) + low;
  const [low, high] = b === "i8" ? [-128, 127] : [0, 2 ** bits - 1];
  const q = Int32Array.from({ length: n * rowLength }, () => whole(low, high));
  const zeros = Int32Array.from({ length: zero === "each" ? n * blocks : 1 }, () => whole(low, high));
  const scales = randomArray(n * blocks, 3);
  const a = randomArray(m * k, 4).map((x, i) => Math.fround(ofA?.(Math.floor(i / k), i % k, x) ?? x));
  const arena = new Arena(64);
  const rowBytes = (rowLength * bits) / 8;
  const bytes = new Uint8Array(n * rowBytes);
  q.forEach((x, i) => {
    const at = (i * bits) / 8;
    bytes[Math.floor(at)]! |= (x & (2 ** bits - 1)) << (bits * (i % (8 / bits)));
  });
  const rows = arena.alloc(Uint8Array, bytes.length);
  rows.set(bytes);
  const zeroElem = b === "i8" ? "i8" : "u8";
  const zeroView = arena.alloc(Uint8Array, zeros.length);
  zeroView.set(zeros);
  const [aView, arranged, aSums] = [arena.f32(a, 4), arena.f32(m * rowLength), arena.f32(m * blocks * 4)];
  const units = arena.f32(m);
  const sumsOf = zero === undefined ? "none" : zero === "each" ? "each" : zeroElem;
  arena.instantiate(arrangeRows({ aElem: "f32", b, sums: sumsOf }))(
    ...[0, m, aView, arranged, units, m, k, k, rowLength / group, blocks, perBlock],
    ...(zero === undefined ? [] : zero === "each" ? [aSums] : [aSums, zeroView]),
  );
  const spec = zero === undefined ? {} : { zero: { elem: zeroElem, each: zero === "each" } as const };
  const kernel = rowProduct({ b, ...spec, short, few });
  const c = arena.f32(m * n);
  const scratch = arena.alloc(Uint8Array, kernel.scratchBytes);
  const wide = kernel.wideRows === 0 ? [] : [arena.f32(kernel.wideRows * rowLength)];
  const chunks = Math.ceil(m / kernel.chunkRows) * Math.ceil(n / kernel.chunkColumns);
  const run = arena.instantiate(kernel);
  for (let i = chunks - 1; i >= 0; i--)
    run(
      ...[i, i + 1, aView === undefined ? 0 : arranged, rows, c, m, n, rowLength, rowLength, rowBytes, n, 0, 0, 0],
      ...[scratch, ...wide, arena.f32(scales), blocks, perBlock, units],
      ...(zero === undefined ? [] : [aSums, zeroView]),
    );
  arena.checkGuards();
  const want = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    let largest = 0;
    for (let j = 0; j < n; j++) {
      let sum = 0;
      let size = 0;
      for (let x = 0; x < k; x++) {
        const at = j * blocks + Math.floor(x / (perBlock * group));
        const shift = zero === undefined ? 0 : zeros[zero === "each" ? at : 0]!;
        const w = (q[j * rowLength + x]! - shift) * scales[at]!;
        sum += a[i * k + x]! * w;
        size += Math.abs(a[i * k + x]! * scales[at]!) * 2 ** bits;
      }
      want[i * n + j] = sum;
      largest = Math.max(largest, size);
    }
    const [got, exact] = [c, want].map((x) => x.subarray(i * n, (i + 1) * n)) as [Float32Array, Float64Array];
    if (Number.isFinite(largest))
      expectClose(got, exact, largest * 2 ** -21, `${kernel.fn.name} ${JSON.stringify({ m, n, k, i })}`);
    else expect([...got]).toEqual([...exact]);
  }
}

describe.each(["i8", "u8", "u4", "u2"] as const)("quantised rows of %s", (b) => {
  const { group } = rowStorages[b];
  for (const zero of [undefined, "one", "each"] as const)
    it(`${zero ?? "no"} zero point: sizes, blocks, few and many rows of A`, () => {
      for (const block of [undefined, group, 2 * group, 4 * group])
        for (const k of [1, group - 1, group, 3 * group + 5, 8 * group])
          for (const m of [1, 2, 5])
            checkQuantised({ b, ...(zero ? { zero } : {}), ...(block ? { block } : {}) }, { m, n: 7, k });
      for (const n of [1, 4, 63, 70, 130])
        for (const few of [true, false])
          checkQuantised({ b, ...(zero ? { zero } : {}), block: group, few }, { m: 3, n, k: 4 * group });
      checkQuantised({ b, ...(zero ? { zero } : {}), block: 2 * group }, { m: 100, n: 20, k: 4 * group });
      // Sums of many groups, all at their largest.
      checkQuantised({ b, ...(zero ? { zero } : {}), ofA: () => 1 - 2 ** -24 }, { m: 1, n: 3, k: 200 * group });
    });

  it("rows of A that fixed point cannot hold, beside rows that it can", () => {
    const rows = [
      (x: number) => x,
      (x: number, k: number) => (k === 3 ? Infinity : x),
      (x: number, k: number) => (k === 5 ? NaN : x),
      (x: number) => x * 1e-30,
    ];
    for (const block of [group, 4 * group])
      for (let from = 0; from < rows.length; from++)
        for (const m of [1, 2, 3])
          checkQuantised(
            { b, block, ofA: (i, k, x) => rows[(from + i) % rows.length]!(x, k) },
            { m, n: 9, k: 3 * group + 1 },
          );
    checkQuantised({ b, block: group, zero: "one", ofA: () => 0 }, { m: 2, n: 5, k: 2 * group });
  });
});
