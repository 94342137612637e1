import { describe, expect, it } from "vitest";
import { mathAccuracy } from "../../compiler/wasm/math.js";
import type { LoopFunction, LoopType, MathFn } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { isVector, lanesOf, mathArity, scalarOf } from "../../ir/loop-types.js";
import { type Errors, measureErrors, unaryFns } from "./f32-accuracy.js";
import { instantiate } from "./run.js";

const fns = Object.keys(mathArity) as MathFn[];
const types = ["f32", "f64", "f32x4", "f64x2"] as const satisfies readonly LoopType[];
const [xAt, yAt, outAt] = [65536, 65536 + 262144, 65536 + 2 * 262144];
const capacity = 32768;

/** `fn` over arrays of n elements (a multiple of the lanes). */
function arrayFunction(fn: MathFn, type: (typeof types)[number]): LoopFunction {
  const elem = scalarOf(type) as "f32" | "f64";
  return buildFunction(`${fn}_${type}`, [{ name: "n", type: "i32" }], undefined, (b, [n]) => {
    b.for("i", 0, n, lanesOf(type), (i) => {
      const x = B.load(type, elem, B.ptr(xAt), i);
      const y = mathArity[fn] === 2 ? B.load(type, elem, B.ptr(yAt), i) : undefined;
      b.store(elem, B.ptr(outAt), i, B.math(fn, x, y));
    });
  });
}

const functions = fns.flatMap((fn) => types.map((t) => arrayFunction(fn, t)));
const run = instantiate(
  functions,
  functions.map((f) => f.name),
);

function evaluate(fn: MathFn, type: (typeof types)[number], x: readonly number[], y: readonly number[] = x): number[] {
  const Values = scalarOf(type) === "f32" ? Float32Array : Float64Array;
  const n = Math.ceil(x.length / 4) * 4;
  if (n > capacity) throw new Error("too many values");
  new Values(run.memory.buffer, xAt, x.length).set(x);
  new Values(run.memory.buffer, yAt, x.length).set(y);
  run.call(`${fn}_${type}`, n);
  return [...new Values(run.memory.buffer, outAt, x.length)];
}

let seed = 1;
function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
}

const view = new DataView(new ArrayBuffer(8));
function anyF64(): number {
  view.setUint32(0, random() * 2 ** 32);
  view.setUint32(4, random() * 2 ** 32);
  return view.getFloat64(0);
}

const special = [0, -0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 5e-324, 1e-310, 1e-45, 1e-40, 88, -88, 1e30, -1e30, 1e300];
const specials = [...special, Infinity, -Infinity, NaN, Number.MAX_VALUE];

/** Distance in units of the last place of the wanted value; 0 for equal special values. */
function ulps(got: number, want: number, kind: "f32" | "f64"): number {
  if (Object.is(got, want)) return 0;
  if (Number.isNaN(got) || Number.isNaN(want) || !Number.isFinite(want)) return got === want ? 0.5 : Infinity;
  const bits = kind === "f32" ? 24 : 53;
  const least = kind === "f32" ? -149 : -1074;
  const exponent = want === 0 ? least : Math.max(Math.floor(Math.log2(Math.abs(want))) - bits + 1, least);
  return Math.abs(got - want) / 2 ** exponent;
}

const inputs = (count: number): number[] => {
  const scales = [1, 3, 10, 40, 700];
  return Array.from({ length: count }, (_, k) =>
    k % 6 === 5 ? anyF64() : (random() * 2 - 1) * (scales[k % 5] as number),
  );
};

describe("math library, f64", () => {
  const known = fns.filter((fn) => fn in Math && fn !== "pow");
  it.each(known)("%s agrees with Math within 3 ulp, special values included", (fn) => {
    const x = [...specials, ...inputs(3000)];
    const y = fn === "atan2" ? [...specials.toReversed(), ...inputs(3000)] : x;
    const reference = Math[fn as "exp"] as (x: number, y: number) => number;
    const got = evaluate(fn, "f64", x, y);
    for (const [k, value] of x.entries()) {
      const want = reference(value, y[k] as number);
      expect(ulps(got[k] as number, want, "f64"), `${fn}(${value}) = ${got[k]}, not ${want}`).toBeLessThanOrEqual(3);
    }
  });

  it("pow agrees with Math within 3 ulp, but has 1^y = (−1)^±∞ = 1", () => {
    const pairs = specials.flatMap((x) => specials.map((y) => [x, y] as const));
    const more = inputs(3000).map((x) => [Math.abs(x), (random() * 2 - 1) * 100] as const);
    const all = [...pairs, ...more];
    const x = all.map((p) => p[0]);
    const y = all.map((p) => p[1]);
    const got = evaluate("pow", "f64", x, y);
    for (const [k, [a, b]] of all.entries()) {
      const want = a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b;
      expect(ulps(got[k] as number, want, "f64"), `${a}^${b} = ${got[k]}, not ${want}`).toBeLessThanOrEqual(3);
    }
  });

  it("fmod is exact", () => {
    const pairs = [...specials, ...inputs(500)].flatMap((x, k) => [...specials, ...inputs(20)].map((y) => [x, y, k]));
    const x = pairs.map((p) => p[0] as number);
    const y = pairs.map((p) => p[1] as number);
    expect(evaluate("fmod", "f64", x, y)).toEqual(x.map((a, k) => a % (y[k] as number)));
  });

  // Values from mpmath with 40 digits.
  it.each([
    ["erf", 0.1, 0.1124629160182849],
    ["erf", 0.83, 0.759523756937773],
    ["erf", 0.85, 0.7706680576083526],
    ["erf", 2.5, 0.999593047982555],
    ["gelu", 1, 0.8413447460685429],
    ["gelu", -3, -0.0040496940948902835],
    ["gelu", -20, -5.507248237212468e-88],
    ["geluGrad", 1, 1.0833154705876864],
    ["lgamma", 0.5, 0.5723649429247001],
    ["lgamma", 10.5, 13.940625219403763],
    ["lgamma", -0.5, 1.2655121234846454],
    ["exp2", 0.5, Math.SQRT2],
    ["sigmoid", -30, 9.357622968839299e-14],
    ["sigmoid", -745, 5e-324],
  ] as const)("%s(%d) = %d", (fn, x, want) => {
    expect(ulps(evaluate(fn, "f64", [x])[0] as number, want, "f64")).toBeLessThanOrEqual(4);
  });
});

describe("math library, f32", () => {
  const ranges = { tanh: [-1, 1], sigmoid: [0, 1], erf: [-1, 1], sin: [-1, 1], cos: [-1, 1] } as const;

  it.each(unaryFns)("%s keeps its bound over the whole range", (fn) => {
    const [{ worst, at, wrong, least, greatest }] = measureErrors("simd128", [fn], 16001) as [Errors];
    expect(wrong).toEqual([]);
    const negativeLgamma = fn === "lgamma" && at < 0;
    if (!negativeLgamma) expect(worst, `${fn}(${at})`).toBeLessThanOrEqual(mathAccuracy[fn].f32);
    if (fn in ranges) {
      const [low, high] = ranges[fn as keyof typeof ranges];
      expect([least >= low, greatest <= high]).toEqual([true, true]);
    }
  });
});

describe("math library, f32 with two arguments", () => {
  it("pow keeps its bound, whatever lies in the neighbouring lanes", () => {
    const pairs = specials.flatMap((x) => specials.map((y) => [x, y] as const));
    const scales = [0.1, 1, 8, 100];
    const drawn = Array.from({ length: 20000 }, (_, k) => {
      const x = Math.fround(2 ** ((random() * 2 - 1) * (k % 2 === 0 ? 1 : 149)));
      return [k % 97 === 0 ? -x : x, Math.fround((random() * 2 - 1) * scales[k % 4]!)] as const;
    });
    const all = [...pairs, ...drawn].map(([x, y]) => [Math.fround(x), Math.fround(y)] as const);
    const got = evaluate(
      "pow",
      "f32x4",
      all.map((p) => p[0]),
      all.map((p) => p[1]),
    );
    for (const [k, [x, y]] of all.entries()) {
      const want = x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : Math.fround(x ** y);
      const bound = mathAccuracy.pow.f32;
      expect(ulps(got[k] as number, want, "f32"), `${x}^${y} = ${got[k]}, not ${want}`).toBeLessThanOrEqual(bound);
    }
  });
});

describe("math library", () => {
  it.each(fns)("%s gives the same bits in scalars and lanes", (fn) => {
    const x = [...specials, ...inputs(1000)];
    const y = [...specials.toReversed(), ...inputs(1000)];
    for (const type of types)
      if (isVector(type)) expect(evaluate(fn, type, x, y)).toEqual(evaluate(fn, scalarOf(type) as "f32" | "f64", x, y));
  });
});
