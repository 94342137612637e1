import { describe, expect, it } from "vitest";
import {
  addTensor,
  biasColumns,
  biasRows,
  chain,
  clamp,
  type Epilogue,
  relu,
} from "../../compiler/kernels/epilogue.js";
import { gemm } from "../../compiler/kernels/gemm.js";
import { type GemmSpec, rowPanel } from "../../compiler/kernels/gemm-spec.js";
import { packChunkPanels, packedLength, packKernel, packPanels } from "../../compiler/kernels/pack.js";
import { lanes } from "../../compiler/kernels/tile.js";
import { Arena, expectClose, type NumberArray, onEngine, randomArray } from "./run.js";

interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch?: number;
}

/** C = post(A·B) by the definition, in f64. */
function reference(
  a: Float64Array,
  b: Float64Array,
  { m, n, k, batch = 1 }: Case,
  post: (sum: number, i: number, j: number, batch: number) => number = (x) => x,
): Float64Array {
  const c = new Float64Array(batch * m * n);
  for (let t = 0; t < batch; t++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let x = 0; x < k; x++) sum += a[(t * m + i) * k + x]! * b[(t * k + x) * n + j]!;
        c[(t * m + i) * n + j] = post(sum, i, j, t);
      }
  return c;
}

function transpose(a: Float64Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(a.length);
  for (let at = 0; at < a.length; at += rows * columns)
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[at + j * rows + i] = a[at + i * columns + j]!;
  return out;
}

/** Matrices of [rows, columns] one after the other, each packed in panels of `width` columns. */
function panelsOf(b: Float64Array, rows: number, columns: number, width: number): Float64Array {
  const one = packedLength(rows, columns, width);
  const matrices = b.length / Math.max(rows * columns, 1);
  const packed = new Float64Array(matrices * one);
  for (let t = 0; t < matrices; t++) {
    const matrix = b.subarray(t * rows * columns, (t + 1) * rows * columns);
    packPanels(matrix, rows, columns, width, columns, 1, packed.subarray(t * one, (t + 1) * one));
  }
  return packed;
}

const arrays = { f32: Float32Array, f64: Float64Array, i32: Int32Array } as const;

/** Runs one product through the kernel, cut into the given chunk ranges, and compares; the same in the tiles of fused multiply-adds. */
function check(spec: GemmSpec & { lane: keyof typeof arrays }, sizes: Case, cutChunks = false): void {
  const { m, n, k, batch = 1 } = sizes;
  const fused = spec.lane === "i32" ? {} : { fused: { mr: 6, nr: 2 * lanes[spec.lane].count } };
  const kernel = gemm({ ...spec, ...fused });
  const arena = new Arena(32);
  const run = arena.instantiate(kernel);
  const runFused = arena.instantiate(onEngine(kernel, { fma: 1 }));
  const round = (x: Float64Array) => (spec.lane === "i32" ? x.map((y) => Math.round(y * 100)) : x);
  const a = round(randomArray(batch * m * k, 1 + m));
  const b = round(randomArray(batch * k * n, 2 + n));
  const type = arrays[spec.lane] as new (b: ArrayBufferLike, o: number, l: number) => NumberArray;
  const buffer = (values: ArrayLike<number>) => {
    const view = arena.alloc(type as never, values.length, 0) as NumberArray;
    view.set(values);
    return view;
  };
  const transposed = () => transpose(a, m, k);
  const aView = buffer(
    spec.a === "columns" ? transposed() : spec.a === "panels" ? panelsOf(transposed(), k, m, rowPanel) : a,
  );
  const bView = buffer(spec.b === "packed" ? panelsOf(b, k, n, kernel.nr) : b);
  const before = spec.accumulate ? round(randomArray(batch * m * n, 8)) : new Float64Array(batch * m * n).fill(7);
  const c = buffer(before);
  const aBatch = spec.a === "panels" ? packedLength(k, m, rowPanel) : m * k;
  const bBatch = spec.b === "packed" ? packedLength(k, n, kernel.nr) : k * n;
  const extra = extraOperands(spec.epilogue, sizes, buffer, c);
  const chunks = batch * Math.ceil(m / kernel.chunkRows) * Math.ceil(n / kernel.chunkColumns);
  const call = (from: number, to: number, runs = run) =>
    runs(
      from,
      to,
      aView,
      bView,
      c,
      m,
      n,
      k,
      k,
      spec.a === "columns" ? m : 1,
      n,
      n,
      aBatch,
      bBatch,
      m * n,
      ...extra.args,
    );
  const initial = [...c];
  const all = (runs: typeof run) => {
    c.set(initial);
    if (cutChunks) for (let i = chunks - 1; i >= 0; i--) call(i, i + 1, runs);
    else call(0, chunks, runs);
    return [...c];
  };
  expect(all(runFused), "tiles for fused multiply-adds give other sums").toEqual(all(run));
  arena.checkGuards();
  const post = spec.accumulate
    ? (sum: number, i: number, j: number, t: number) => sum + before[(t * m + i) * n + j]!
    : extra.post;
  const want = reference(a, b, sizes, post);
  const eps = spec.lane === "f32" ? 2 ** -23 : spec.lane === "f64" ? 2 ** -52 : 0;
  expectClose(c, want, (k + 4) * eps * 2, `${kernel.fn.name} ${JSON.stringify(sizes)}`);
}

function extraOperands(
  epilogue: Epilogue | undefined,
  { m, n, batch = 1 }: Case,
  buffer: (x: ArrayLike<number>) => NumberArray,
  c: NumberArray,
): { args: (number | NumberArray)[]; post?: (sum: number, i: number, j: number, t: number) => number } {
  switch (epilogue?.name) {
    case "bias_relu": {
      const bias = randomArray(n, 5);
      return { args: [buffer(bias)], post: (x, _i, j) => Math.max(x + bias[j]!, 0) };
    }
    case "rowbias_clamp_m0p5_0p5": {
      const bias = randomArray(m, 6);
      return { args: [buffer(bias)], post: (x, i) => Math.min(Math.max(x + bias[i]!, -0.5), 0.5) };
    }
    case "add": {
      // Accumulates into C itself.
      const old = randomArray(batch * m * n, 7);
      c.set(old);
      return { args: [c, n, m * n], post: (x, i, j, t) => x + old[(t * m + i) * n + j]! };
    }
    default:
      return { args: [] };
  }
}

const edges = [0, 1, 3, 4, 5, 7, 8, 9, 17];

describe("gemm f32", () => {
  for (const a of ["rows", "columns", "strided", "panels"] as const)
    for (const b of ["packed", "rows"] as const)
      for (const [mr, nr] of [
        [4, 8],
        [2, 16],
      ] as const)
        it(`${a} ${b} ${mr}x${nr}: sizes around the tile`, () => {
          const spec = { lane: "f32", a, b, mr, nr } as const;
          for (const m of edges) for (const n of edges) check(spec, { m, n, k: 5 });
          for (const k of [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17]) check(spec, { m: mr + 1, n: nr + 3, k });
          check(spec, { m: 2 * mr + 1, n: 2 * nr + 1, k: 33 });
        });

  for (const a of ["columns", "strided", "panels"] as const)
    it(`${a}: long K, in blocks that do not fill, over several chunks`, () => {
      for (const b of ["packed", "rows"] as const)
        for (const [mr, nr] of [
          [4, 8],
          [2, 16],
        ] as const)
          for (const k of [255, 256, 257, 600, 3200])
            for (const [m, n] of [
              [7, 21],
              [99, 19],
              [1, 100],
            ] as const)
              check({ lane: "f32", a, b, mr, nr }, { m, n, k, batch: k < 300 ? 2 : 1 }, true);
    });

  it("reaches steps at known strides by offsets", () => {
    for (const a of ["rows", "columns"] as const)
      for (const [m, n] of [
        [32, 16],
        [9, 21],
        [7, 3],
      ] as const)
        for (const k of [0, 1, 7, 8, 9, 300]) {
          const strides = { aColumn: m, bRow: n };
          check({ lane: "f32", a, b: "rows", mr: 2, nr: 16, strides }, { m, n, k });
          check({ lane: "f32", a, b: "rows", mr: 2, nr: 16, strides, n, accumulate: true }, { m, n, k });
        }
  });

  it("cuts rows and columns into even blocks, of which the last may be empty", () => {
    for (const a of ["rows", "columns", "panels"] as const)
      for (const [m, n] of [
        [96, 64],
        [97, 65],
        [1249, 3],
        [3, 1201],
        [770, 130],
      ] as const)
        for (const mr of [1, 4]) check({ lane: "f32", a, b: "packed", mr }, { m, n, k: 3 }, true);
  });

  it("blocks of K change no bit", () => {
    const [m, n, k] = [9, 13, 1000];
    const values = randomArray(m * k, 1);
    const forms = { columns: values, rows: transpose(values, k, m), panels: panelsOf(values, k, m, rowPanel) };
    const results = (["columns", "panels", "rows"] as const).map((a) => {
      const arena = new Arena(32);
      const operands = [arena.f32(forms[a]), arena.f32(randomArray(k * n, 2))];
      const c = arena.f32(m * n);
      const [aRow, aColumn] = a === "rows" ? [k, 1] : [0, m];
      arena.instantiate(gemm({ lane: "f32", a, b: "rows" }))(
        0,
        1,
        ...operands,
        c,
        m,
        n,
        k,
        aRow,
        aColumn,
        n,
        n,
        0,
        0,
        0,
      );
      return [...c];
    });
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  it("adds to what C holds", () => {
    for (const a of ["rows", "columns", "panels"] as const)
      for (const n of [3, 6, 8, 10, 21])
        for (const known of [{}, { n }])
          check(
            { lane: "f32", a, b: "rows", nr: 16, mr: 2, accumulate: true, ...known },
            { m: 7, n, k: 300, batch: 2 },
            true,
          );
  });

  it("batches, in chunks of any order", () => {
    check({ lane: "f32", a: "panels", b: "packed" }, { m: 201, n: 77, k: 7, batch: 3 }, true);
    check({ lane: "f32", a: "rows", b: "packed" }, { m: 100, n: 101, k: 7, batch: 3 }, true);
    check({ lane: "f32", a: "rows", b: "rows" }, { m: 97, n: 200, k: 7, batch: 2 }, true);
  });

  it("fuses epilogues in vectors and at the edges", () => {
    for (const epilogue of [
      chain(biasColumns("f32"), relu),
      chain(biasRows("f32"), clamp(-0.5, 0.5)),
      addTensor("f32"),
    ])
      for (const n of [1, 6, 7, 8, 10, 14, 15])
        for (const m of [5, 8]) {
          check({ lane: "f32", a: "rows", b: "packed", epilogue }, { m, n, k: 9 });
          check({ lane: "f32", a: "rows", b: "packed", epilogue, n }, { m, n, k: 9 });
          check({ lane: "f32", a: "rows", b: "rows", nr: 16, mr: 2, epilogue, n }, { m, n, k: 9 });
          check({ lane: "f32", a: "rows", b: "rows", epilogue }, { m: m + 1, n, k: 9, batch: 2 });
        }
  });

  it("leaves out tails that a known N can't have", () => {
    for (const n of [10, 84, 120, 6, 16, 3]) {
      const spec = { lane: "f32", a: "rows", b: "packed", nr: 16, mr: 2, n } as const;
      check(spec, { m: 5, n, k: 11 });
      expect(gemm(spec).helpers.length).toBeLessThan(gemm({ ...spec, n: undefined as never }).helpers.length);
    }
  });

  it("gives a row the same bits wherever it stands in the tiling", () => {
    const kernel = gemm({ lane: "f32", a: "rows", b: "packed" });
    const arena = new Arena(32);
    const run = arena.instantiate(kernel);
    const [m, n, k] = [7, 21, 50];
    const a = arena.f32(randomArray(m * k, 1));
    const b = arena.f32(packPanels(randomArray(k * n, 2), k, n, 8, n, 1, new Float64Array(packedLength(k, n, 8))));
    const all = arena.f32(m * n);
    const one = arena.f32(n);
    run(0, 1, a, b, all, m, n, k, k, 1, n, n, 0, 0, 0);
    for (let i = 0; i < m; i++) {
      run(0, 1, a.byteOffset + i * k * 4, b, one, 1, n, k, k, 1, n, n, 0, 0, 0);
      expect([...one]).toEqual([...all.subarray(i * n, (i + 1) * n)]);
    }
  });
});

describe("gemm in other types", () => {
  for (const lane of ["f64", "i32"] as const)
    it(lane, () => {
      for (const b of ["packed", "rows"] as const)
        for (const m of [1, 4, 6])
          for (const n of [1, 3, 4, 5, 8, 11]) {
            check({ lane, a: "rows", b }, { m, n, k: 13 });
            check({ lane, a: "columns", b }, { m, n, k: 270 });
            check({ lane, a: "panels", b }, { m, n, k: 270 });
          }
    });

  it("u8 · i8 → i32, with operands stored as bytes", () => {
    const kernel = gemm({ lane: "i32", a: "rows", b: "packed", aElem: "u8", bElem: "i8" });
    for (const n of [1, 5, 8, 19]) {
      const [m, k] = [6, 10];
      const arena = new Arena(8);
      const a = arena.alloc(Uint8Array, m * k).map((_, i) => (i * 37) % 256);
      const aView = arena.alloc(Uint8Array, m * k);
      aView.set(a);
      const b = Int8Array.from({ length: k * n }, (_, i) => ((i * 91) % 256) - 128);
      const packed = arena.alloc(Int8Array, packedLength(k, n, 8));
      packed.set(packPanels(b, k, n, 8, n, 1, new Int8Array(packed.length)));
      const c = arena.alloc(Int32Array, m * n);
      arena.instantiate(kernel)(0, 1, aView, packed, c, m, n, k, k, 1, n, n, 0, 0, 0);
      arena.checkGuards();
      expect([...c]).toEqual([...reference(Float64Array.from(a), Float64Array.from(b), { m, n, k })]);
    }
  });
});

describe("pack", () => {
  const typed = { f32: Float32Array, f64: Float64Array, f16: Uint16Array } as const;
  for (const elem of ["f32", "f64", "f16"] as const)
    for (const along of ["k", "n", "neither"] as const)
      it(`${elem} along ${along}: as packPanels does`, () => {
        for (const nr of [8, 16])
          for (const n of [1, 7, 8, 9, 16, 37, 70])
            for (const k of [0, 1, 3, 4, 5, 16, 19, 70]) {
              const arena = new Arena(16);
              const type = typed[elem] as typeof Float32Array;
              // Two matrices, and elements between their rows or columns where neither is dense.
              const [kStride, nStride] = along === "k" ? [1, k] : along === "n" ? [n, 1] : [2 * n, 2];
              const one = along === "neither" ? 2 * k * n : k * n;
              const b = arena.alloc(type, 2 * one);
              b.set(Array.from({ length: 2 * one }, (_, i) => (i * 7919) % 30011));
              const length = packedLength(k, n, nr);
              const packed = arena.alloc(type, 2 * length).fill(7);
              const panels = 2 * Math.ceil(n / nr);
              const run = arena.instantiate(packKernel({ elem, nr, along }));
              const chunks = Math.ceil(panels / packChunkPanels);
              for (let c = chunks - 1; c >= 0; c--) run(c, c + 1, b, packed, k, n, kStride, nStride, one, panels);
              arena.checkGuards();
              for (const t of [0, 1])
                expect(packed.subarray(t * length, (t + 1) * length)).toEqual(
                  packPanels(b.subarray(t * one), k, n, nr, kStride, nStride, new type(length)),
                );
            }
      });
});
