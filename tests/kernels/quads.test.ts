import { describe, expect, it } from "vitest";
import type { Epilogue } from "../../compiler/kernels/epilogue.js";
import type { Kernel } from "../../compiler/kernels/kernel.js";
import { packedPairsLength, packPairs } from "../../compiler/kernels/pack-pairs.js";
import { byteProduct, byteProductScratch, readyWeightsKernel } from "../../compiler/kernels/quads.js";
import { emitModule } from "../../compiler/wasm/emit.js";
import { engineDots, engineDotsName } from "../../compiler/wasm/engine.js";
import type { Expr, LoopFunction } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { binary, broadcast, constant, engine, maxS, minS, named, pointer, shrS, typeOf } from "../../ir/loop-build.js";
import { interpretLoop } from "../../ir/loop-interpret.js";
import { parseLoopFunction } from "../../ir/loop-parse.js";
import { printLoopFunction } from "../../ir/loop-print.js";
import { Arena, type NumberArray, randomNumbers } from "./run.js";

/** Engines whose dots saturate, read without a sign, and with one. */
const engines = [0, 1, 2] as const;

const requantise: Epilogue = {
  name: "shift8_clamp",
  params: [],
  apply: (_b, acc) => minS(maxS(shrS(acc, 8), broadcast(typeOf(acc), -128)), broadcast(typeOf(acc), 127)),
};

/** Extremes often: they are what saturates. */
function bytes(length: number, seed: number, low: number): Int16Array {
  const next = randomNumbers(seed);
  return Int16Array.from({ length }, () => {
    const x = next();
    return x > 0.5 ? low + 255 : x < -0.6 ? low : low + Math.floor(((x + 0.6) / 1.1) * 256);
  });
}

/** Kernels as an engine of the kind sees them. */
const on = (dots: number, { fn, helpers }: Kernel): Kernel => {
  const seen = (f: LoopFunction) => parseLoopFunction(printLoopFunction(f).replaceAll("engine.dots()", String(dots)));
  return { fn: { ...seen(fn), name: `${fn.name}_on_${dots}` }, helpers: helpers.map(seen) };
};

/** What this engine says of an expression. */
function computed(name: string, e: Expr): number {
  const arena = new Arena(1);
  const params = [pointer("to", "i32")];
  const fn = buildFunction(name, params, undefined, (f) => f.store("i32", named(params).to, 0, e));
  const to = arena.alloc(Int32Array, 4);
  arena.instantiate({ fn, helpers: [engineDots] }, "relaxed")(to);
  return to[0]!;
}

/** How this engine's instruction reads its second operand; undefined where it does something else: V8 11 adds its sum twice. */
function readsSecond(): 1 | 2 | undefined {
  const dot = computed("dot_of_ones", binary("dotI8", constant("i8x16", 1), constant("i8x16", -1)));
  return dot === 4 * 255 ? 1 : dot === -4 ? 2 : undefined;
}

interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly nr: 8 | 16;
  readonly low: number;
  readonly requantised?: boolean;
}

interface Operands {
  readonly a: Int16Array;
  readonly b: Int16Array;
  readonly want: Int32Array;
}

function operandsOf({ m, n, k, low }: Case, ofWeights = (x: number) => x): Operands {
  const a = bytes(m * k, 1, low);
  const b = bytes(k * n, 2, -128).map(ofWeights);
  const want = Int32Array.from({ length: m * n }, (_, i) => {
    let sum = 0;
    for (let x = 0; x < k; x++) sum += a[Math.floor(i / n) * k + x]! * b[x * n + (i % n)]!;
    return sum;
  });
  return { a, b, want };
}

type Run = (kernel: Kernel, args: readonly (number | NumberArray)[]) => void;

/** The product in memory of the arena. */
function product(c: Case, { a, b }: Operands, arena: Arena, run: Run): NumberArray {
  const { m, n, k, nr, low } = c;
  const { ready, multiply } = kernelsOf(c);
  const length = packedPairsLength(1, k, n, nr);
  const panels = Math.ceil(n / nr);
  const aView = arena.alloc(Int16Array, m * k + (k % 2));
  aView.set(a);
  const packed = packPairs(b, [1, k, n], nr, (_, i, j) => i * n + j, arena.alloc(Int8Array, length));
  const weights = arena.alloc(Int16Array, length);
  const sums = arena.alloc(Int32Array, panels * nr);
  for (let p = panels - 1; p >= 0; p--) run(ready, [p, p + 1, packed, weights, sums, Math.ceil(k / 2), low]);
  const out = c.requantised ? arena.alloc(Int8Array, m * n) : arena.alloc(Int32Array, m * n);
  const scratch = arena.alloc(Int8Array, byteProductScratch(multiply, k));
  const chunks = Math.ceil(m / multiply.chunkRows) * Math.ceil(n / multiply.chunkColumns);
  const sizes = [m, n, k, k, 1, nr, n, 0, 0, 0];
  for (let i = 0; i < chunks; i += 2)
    run(multiply, [i, Math.min(i + 2, chunks), aView, weights, out, ...sizes, sums, scratch, low]);
  arena.checkGuards();
  return out;
}

function kernelsOf({ n, nr, requantised }: Case) {
  const own = requantised ? ({ epilogue: requantise, cElem: "i8" } as const) : {};
  return { ready: readyWeightsKernel(nr), multiply: byteProduct({ mr: nr === 8 ? 4 : 2, nr, n, ...own }) };
}

const cases: readonly Case[] = [
  { m: 1, n: 1, k: 1, nr: 8, low: 0 },
  { m: 5, n: 9, k: 7, nr: 8, low: -128 },
  { m: 4, n: 16, k: 18, nr: 16, low: -255 },
  { m: 6, n: 19, k: 35, nr: 16, low: -17 },
  { m: 9, n: 12, k: 64, nr: 8, low: -128, requantised: true },
];

const wanted = (c: Case, { want }: Operands): number[] =>
  c.requantised ? [...want].map((x) => Math.max(-128, Math.min(127, x >> 8))) : [...want];

describe("products of bytes", () => {
  it.each(engines)("are the same integers on an engine whose dots are of kind %i", (dots) => {
    for (const c of cases) {
      const operands = operandsOf(c);
      const arena = new Arena(4);
      const { ready, multiply } = kernelsOf(c);
      const functions = [ready.fn, ...multiply.helpers, multiply.fn];
      const got = product(c, operands, arena, ({ fn }, args) => {
        const numbers = args.map((x) => (typeof x === "number" ? x : x.byteOffset));
        interpretLoop({ functions }, fn.name, numbers, { memory: arena.memory.buffer, dots });
      });
      expect([...got]).toEqual(wanted(c, operands));
    }
  });

  it.each(["simd128", "relaxed"] as const)(
    "are right on this engine, %s, over several chunks of rows and columns",
    (simd) => {
      const more: Case = { m: 203, n: 130, k: 37, nr: 8, low: -128 };
      for (const c of [...cases, more]) {
        const operands = operandsOf(c);
        const arena = new Arena(8);
        const { ready, multiply } = kernelsOf(c);
        const runs = new Map([ready, multiply].map((k) => [k.fn.name, arena.instantiate(k, simd)]));
        const got = product(c, operands, arena, ({ fn }, args) => runs.get(fn.name)!(...args));
        expect([...got]).toEqual(wanted(c, operands));
      }
    },
  );

  it.each(engines)("ask an engine of kind %i what its dots are", (dots) => {
    const memory = new ArrayBuffer(16);
    expect(interpretLoop({ functions: [engineDots] }, engineDotsName, [], { memory, dots })).toBe(dots);
  });

  it("are right by the instruction itself, where sums of two products have 16 bits on every engine", () => {
    const kind = readsSecond();
    // An engine whose instruction is of a draft is asked for pairs alone.
    if (kind === undefined) {
      expect(computed("dots", engine("dots"))).toBe(0);
      return;
    }
    for (const c of cases) {
      const operands = operandsOf(c, (x) => x >> 1);
      const arena = new Arena(4);
      const runs = new Map<string, ReturnType<Arena["instantiate"]>>();
      for (const k of Object.values(kernelsOf(c))) runs.set(k.fn.name, arena.instantiate(on(kind, k), "relaxed"));
      const got = product(c, operands, arena, ({ fn }, args) => runs.get(fn.name)!(...args));
      expect([...got]).toEqual(wanted(c, operands));
    }
  });

  it("are pairs alone on the baseline", () => {
    const { multiply } = kernelsOf(cases[1]!);
    const module = (simd: "simd128" | "relaxed") =>
      emitModule({
        functions: [...multiply.helpers, multiply.fn],
        exports: [multiply.fn.name],
        memory: { shared: false, initialPages: 1, maximumPages: 1 },
        variant: { simd, threads: false },
      }).wat();
    expect(module("relaxed")).toMatch(/i32x4\.relaxed_dot_i8x16_i7x16_add_s/);
    expect(module("relaxed")).toMatch(/i8quad_gemmstrip/);
    expect(module("simd128")).not.toMatch(/relaxed_dot|i8quad/);
  });
});
