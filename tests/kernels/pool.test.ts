import { describe, expect, it } from "vitest";
import { scale } from "../../compiler/kernels/epilogue.js";
import { type Axes, maxPool, type PoolSpec, windowSum } from "../../compiler/kernels/pool.js";
import { maxPoolGradient, windowSumGradient } from "../../compiler/kernels/pool-grad.js";
import { copiesRows, maxPoolRows, servesRows } from "../../compiler/kernels/pool-rows.js";
import { Arena, expectClose, type NumberArray, randomNumbers } from "./run.js";

interface Case {
  readonly images: number;
  readonly channels: number;
  readonly input: Axes;
  readonly window: Axes;
  readonly strides: Axes;
  readonly dilations?: Axes;
  readonly padLow?: Axes;
  readonly padHigh?: Axes;
}

const arrays = { f32: Float32Array, f64: Float64Array, i32: Int32Array, i8: Int8Array, u8: Uint8Array } as const;

const specOf = (c: Case, elem: PoolSpec["elem"]): PoolSpec => ({
  elem,
  window: c.window,
  strides: c.strides,
  dilations: c.dilations ?? [1, 1, 1],
  padLow: c.padLow ?? [0, 0, 0],
  padHigh: c.padHigh ?? [0, 0, 0],
});

const outputOf = (c: Case): Axes =>
  [0, 1, 2].map((a) => {
    const { dilations, padLow, padHigh } = specOf(c, "f32");
    const free = c.input[a]! + padLow[a]! + padHigh[a]! - (c.window[a]! - 1) * dilations[a]! - 1;
    return free < 0 ? 0 : Math.floor(free / c.strides[a]!) + 1;
  }) as unknown as Axes;

/** Visits (output element, input element, flat spatial index) of every tap in x. */
function forEachTap(c: Case, visit: (y: number, x: number, plane: number) => void): void {
  const { dilations, padLow } = specOf(c, "f32");
  const [od, oh, ow] = outputOf(c);
  const [d, h, w] = c.input;
  for (let n = 0; n < c.images; n++)
    for (let oz = 0; oz < od; oz++)
      for (let oy = 0; oy < oh; oy++)
        for (let ox = 0; ox < ow; ox++)
          for (let kz = 0; kz < c.window[0]; kz++)
            for (let ky = 0; ky < c.window[1]; ky++)
              for (let kx = 0; kx < c.window[2]; kx++) {
                const iz = oz * c.strides[0] - padLow[0] + kz * dilations[0];
                const iy = oy * c.strides[1] - padLow[1] + ky * dilations[1];
                const ix = ox * c.strides[2] - padLow[2] + kx * dilations[2];
                if (iz < 0 || iz >= d || iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
                const plane = (iz * h + iy) * w + ix;
                const out = ((n * od + oz) * oh + oy) * ow + ox;
                for (let ch = 0; ch < c.channels; ch++)
                  visit(out * c.channels + ch, (n * d * h * w + plane) * c.channels + ch, plane);
              }
}

const volume = (a: readonly number[]): number => a.reduce((x, y) => x * y, 1);

function check(c: Case, elem: keyof typeof arrays = "f32"): void {
  const spec = specOf(c, elem);
  const output = outputOf(c);
  const arena = new Arena(16);
  const type = arrays[elem] as new (b: ArrayBufferLike, o: number, l: number) => NumberArray;
  const buffer = (length: number, fill?: () => number) => {
    const view = arena.alloc(type as never, length) as NumberArray;
    if (fill) for (let i = 0; i < length; i++) view[i] = fill();
    else view.fill(99);
    return view;
  };
  const next = randomNumbers(7);
  // Few values, so that equal elements occur.
  const number = elem.startsWith("f")
    ? () => Math.round(next() * 8) / 8
    : () => Math.round(Math.abs(next() * 20)) - (elem === "u8" ? 0 : 10);
  const x = buffer(c.images * volume(c.input) * c.channels, number);
  const length = c.images * volume(output) * c.channels;
  const y = buffer(length);
  const where = arena.alloc(Int32Array, length);
  const sizes = [c.channels, ...c.input, ...output];
  const rows = c.images * output[0] * output[1];
  const what = `${elem} ${JSON.stringify(c)}`;

  const wantY = new Float64Array(length).fill(
    elem === "u8" ? 0 : elem === "i8" ? -128 : elem === "i32" ? -(2 ** 31) : -Infinity,
  );
  const wantWhere = new Int32Array(length).fill(-1);
  const wantSum = new Float64Array(length);
  forEachTap(c, (yi, xi, plane) => {
    const v = x[xi]!;
    if (wantWhere[yi] === -1 || v > wantY[yi]! || (Number.isNaN(v) && !Number.isNaN(wantY[yi]!))) {
      wantY[yi] = v;
      wantWhere[yi] = plane;
    }
    wantSum[yi]! += v;
  });
  arena.instantiate(maxPool(spec, { indices: true }))(0, rows, x, y, where, ...sizes);
  arena.checkGuards();
  expect([...y], what).toEqual([...wantY]);
  expect([...where], what).toEqual([...wantWhere]);
  y.fill(0);
  arena.instantiate(maxPool(spec, { indices: false }))(0, rows, x, y, ...sizes);
  expect([...y], what).toEqual([...wantY]);
  if (c.channels === 1 && servesRows(spec)) checkRows(c, elem, arena, x, wantY);

  if (elem === "i8" || elem === "u8") return;
  arena.instantiate(windowSum(spec))(0, rows, x, y, ...sizes);
  arena.checkGuards();
  expectClose(y, wantSum, 1e-5, what);
  if (elem === "i32") return;

  const dy = buffer(length, number);
  const dx = buffer(x.length);
  const wantMax = new Float64Array(x.length);
  const wantAll = new Float64Array(x.length);
  forEachTap(c, (yi, xi, plane) => {
    wantAll[xi]! += dy[yi]!;
    if (wantWhere[yi] === plane) wantMax[xi]! += dy[yi]!;
  });
  const gradient = arena.instantiate(maxPoolGradient(spec));
  for (let i = c.images - 1; i >= 0; i--) gradient(i, i + 1, dy, where, dx, ...sizes);
  expectClose(dx, wantMax, 1e-5, `max ${what}`);
  dx.fill(99);
  arena.instantiate(windowSumGradient(spec))(0, c.images, dy, dx, ...sizes);
  arena.checkGuards();
  expectClose(dx, wantAll, 1e-5, `sum ${what}`);
}

/** The kernel for rows of one channel, in bands of several sizes, from the last to the first. */
function checkRows(c: Case, elem: keyof typeof arrays, arena: Arena, x: NumberArray, want: Float64Array): void {
  const spec = specOf(c, elem);
  const [, inH, inW] = c.input;
  const [, outH, outW] = outputOf(c);
  const type = arrays[elem] as new (b: ArrayBufferLike, o: number, l: number) => NumberArray;
  const width = inW + spec.padLow[2] + spec.padHigh[2];
  for (const band of [1, 2, outH]) {
    const rows = (band - 1) * spec.strides[1] + (spec.window[1] - 1) * spec.dilations[1] + 1;
    const y = arena.alloc(type as never, want.length) as NumberArray;
    const scratch = arena.alloc(type as never, copiesRows(spec) ? width * rows : 0) as NumberArray;
    const bands = Math.ceil(outH / band);
    const run = arena.instantiate(maxPoolRows(spec));
    for (let b = c.images * bands - 1; b >= 0; b--) run(b, b + 1, x, y, scratch, inH, inW, outH, outW, band, bands);
    arena.checkGuards();
    expect([...y], `rows ${elem} ${band} ${JSON.stringify(c)}`).toEqual([...want]);
  }
}

const window2 = { window: [1, 2, 2], strides: [1, 2, 2] } as const;
const window3 = { window: [1, 3, 3], strides: [1, 2, 2], padLow: [0, 1, 1], padHigh: [0, 1, 1] } as const;

describe("pooling", () => {
  it("channel counts around the lanes", () => {
    for (const channels of [1, 3, 4, 5, 6, 8, 9]) {
      check({ images: 2, channels, input: [1, 6, 7], ...window2 });
      check({ images: 2, channels, input: [1, 6, 7], ...window3 });
    }
  });

  it("strides, dilation, padding, ranks", () => {
    const base = { images: 2, channels: 5 } as const;
    check({ ...base, input: [1, 7, 8], window: [1, 3, 2], strides: [1, 1, 1] });
    check({
      ...base,
      input: [1, 7, 9],
      window: [1, 3, 2],
      strides: [1, 1, 2],
      dilations: [1, 2, 3],
      padLow: [0, 2, 1],
      padHigh: [0, 1, 3],
    });
    check({ ...base, input: [4, 5, 6], window: [2, 2, 2], strides: [2, 1, 2] });
    check({ ...base, input: [4, 5, 6], window: [2, 2, 2], strides: [2, 2, 2] });
    check({ ...base, input: [1, 1, 9], window: [1, 1, 3], strides: [1, 1, 2] });
    check({ ...base, input: [1, 1, 9], window: [1, 1, 3], strides: [1, 1, 4] });
    check({
      ...base,
      input: [1, 1, 6],
      window: [1, 1, 2],
      strides: [1, 1, 1],
      padLow: [0, 0, -1],
      padHigh: [0, 0, -1],
    });
    check({ ...base, input: [1, 1, 3], window: [1, 1, 2], strides: [1, 1, 1], padLow: [0, 0, 2], padHigh: [0, 0, 2] });
    check({ ...base, input: [1, 8, 8], window: [1, 8, 8], strides: [1, 1, 1] });
    check({ ...base, input: [1, 2, 2], window: [1, 3, 3], strides: [1, 3, 3] });
    check({ ...base, images: 0, input: [1, 4, 4], ...window2 });
  });

  it("rows of one channel", () => {
    const base = { images: 3, channels: 1 } as const;
    for (const width of [2, 3, 4, 5, 7, 8, 9, 13])
      for (const stride of [1, 2, 3]) {
        const strides: Axes = [1, stride, stride];
        check({ ...base, input: [1, 6, width], window: [1, 2, 2], strides });
        for (const elem of ["f32", "f64", "u8"] as const)
          check(
            { ...base, input: [1, 5, width], window: [1, 3, 3], strides, padLow: [0, 1, 1], padHigh: [0, 1, 1] },
            elem,
          );
        check({ ...base, input: [1, 6, width], window: [1, 3, 2], strides, padLow: [0, 0, 2], padHigh: [0, 3, 1] });
      }
    const dilated = { window: [1, 2, 3], strides: [1, 1, 2], dilations: [1, 3, 2] } as const;
    check({ ...base, input: [1, 7, 14], ...dilated, padLow: [0, 2, 1], padHigh: [0, 1, 3] });
    check({ ...base, input: [1, 7, 9], window: [1, 5, 5], strides: [1, 1, 1], padLow: [0, 2, 2], padHigh: [0, 2, 2] });
    check({
      ...base,
      input: [1, 7, 9],
      window: [1, 2, 2],
      strides: [1, 1, 1],
      padLow: [0, -1, -2],
      padHigh: [0, -1, 0],
    });
    check({ ...base, input: [1, 2, 2], window: [1, 2, 2], strides: [1, 1, 1], padLow: [0, 3, 3], padHigh: [0, 3, 3] });
  });

  it("other types", () => {
    for (const elem of ["f64", "i32", "i8", "u8"] as const) {
      check({ images: 2, channels: 5, input: [1, 6, 7], ...window2 }, elem);
      check({ images: 2, channels: 3, input: [1, 6, 7], ...window3 }, elem);
    }
  });

  it("a NaN is the largest", () => {
    const arena = new Arena(8);
    const x = arena.f32([1, Number.NaN, 3, Number.NaN, -0, 0, 5, 5, -Infinity, -Infinity]);
    const y = arena.f32(5);
    const where = arena.alloc(Int32Array, 5);
    const spec = specOf({ images: 1, channels: 1, input: [1, 1, 10], window: [1, 1, 2], strides: [1, 1, 2] }, "f32");
    arena.instantiate(maxPool(spec, { indices: true }))(0, 1, x, y, where, 1, 1, 1, 10, 1, 1, 5);
    expect([...y]).toEqual([Number.NaN, Number.NaN, -0, 5, -Infinity]);
    expect([...where]).toEqual([1, 3, 4, 6, 8]);
    for (const margin of [0, 2]) {
      const rows = { ...spec, padLow: [0, 0, margin], padHigh: [0, 0, margin] } as const;
      const [outW, begin] = [5 + margin, margin / 2];
      const out = arena.f32(outW);
      arena.instantiate(maxPoolRows(rows))(0, 1, x, out, arena.f32(10 + 2 * margin), 1, 10, 1, outW, 1, 1);
      expect([...out].slice(begin, begin + 5)).toEqual([Number.NaN, Number.NaN, -0, 5, -Infinity]);
    }
    arena.checkGuards();
  });

  it("scales sums to averages", () => {
    const arena = new Arena(8);
    const x = arena.f32([1, 3, 5, 7]);
    const y = arena.f32(2);
    const spec = specOf({ images: 1, channels: 1, input: [1, 1, 4], window: [1, 1, 2], strides: [1, 1, 2] }, "f32");
    arena.instantiate(windowSum({ ...spec, epilogue: scale("f32") }))(0, 1, x, y, 1, 1, 1, 4, 1, 1, 2, 0.5);
    expect([...y]).toEqual([2, 6]);
  });
});
