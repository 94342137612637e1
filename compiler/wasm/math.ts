/**
 * The wasm math library: every `MathFn` as Loop IR functions over a lane type, generated on demand.
 *
 * Hot f32 functions are straight-line code generic over f32 and f32x4 (math-f32.ts). The other f32 functions round the f64
 * function's result, lane by lane; f64x2 calls the f64 function for each lane. Either way one definition serves scalars and
 * lanes, so that a loop's tail gives the bits its vector part gives.
 */

import type { Expr, LoopFunction, LoopType, MathFn } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { isVector, lanesOf, mathArity, scalarOf } from "../../ir/loop-types.js";
import * as f32 from "./math-f32.js";
import * as f64Exp from "./math-f64-exp.js";
import * as f64Special from "./math-f64-special.js";
import * as f64Trig from "./math-f64-trig.js";

/** Name of the function that computes `fn` over `type`. */
export function mathName(fn: MathFn, type: LoopType): string {
  return `math_${fn}_${type}`;
}

type Body = (b: Block, x: Expr, y: Expr) => void;

const scalarF64 = {
  exp: f64Exp.exp,
  expm1: f64Exp.expm1,
  exp2: f64Exp.exp2,
  log: f64Exp.log,
  log1p: f64Exp.log1p,
  log2: f64Exp.log2,
  pow: f64Exp.pow,
  sigmoid: f64Exp.sigmoid,
  tanh: f64Exp.tanh,
  sinh: f64Exp.sinh,
  cosh: f64Exp.cosh,
  asinh: f64Exp.asinh,
  acosh: f64Exp.acosh,
  atanh: f64Exp.atanh,
  sin: f64Trig.sin,
  cos: f64Trig.cos,
  tan: f64Trig.tan,
  asin: f64Trig.asin,
  acos: f64Trig.acos,
  atan: f64Trig.atan,
  atan2: f64Trig.atan2,
  erf: f64Special.erf,
  gelu: f64Special.gelu,
  geluGrad: f64Special.geluGrad,
  lgamma: f64Special.lgamma,
  cbrt: f64Special.cbrt,
  fmod: f64Special.fmod,
} satisfies { readonly [N in MathFn]: Body };

/** f32 functions with an algorithm of their own, over scalars and lanes. `throughF64` gives the f64 function's value. */
const lanesF32: Partial<Record<MathFn, (b: Block, x: Expr, throughF64: () => Expr, y: Expr) => Expr>> = {
  exp: f32.exp,
  expm1: f32.expm1,
  log: f32.log,
  log1p: f32.log1p,
  sigmoid: f32.sigmoid,
  tanh: f32.tanh,
  erf: f32.erf,
  gelu: f32.gelu,
  geluGrad: f32.geluGrad,
  sin: f32.sin,
  cos: f32.cos,
  pow: f32.pow,
};

/** A bound on the error, in units of the last place of the exact result; in subnormal results, of the least subnormal. */
export interface MathAccuracy {
  readonly f32: number;
  readonly f64: number;
}

/**
 * Bounds that tests hold over the whole range. f64 gelu: for normal results; f32 gelu and geluGrad: in ulp of max(1, |x|) and of
 * max(1, |result|), as what they are used for needs no digits of results near 0. lgamma: for x > 0; for x < 0 the error is within as
 * many ulp of max(1, |result|).
 */
export const mathAccuracy = {
  exp: { f32: 1, f64: 1 },
  expm1: { f32: 1.6, f64: 1.5 },
  log: { f32: 1, f64: 1 },
  log1p: { f32: 1, f64: 1 },
  sin: { f32: 1, f64: 1 },
  cos: { f32: 1, f64: 1 },
  tan: { f32: 1, f64: 2.5 },
  asin: { f32: 1, f64: 1 },
  acos: { f32: 1, f64: 1 },
  atan: { f32: 1, f64: 1 },
  sinh: { f32: 1, f64: 2.5 },
  cosh: { f32: 1, f64: 1.5 },
  tanh: { f32: 2.5, f64: 2.5 },
  asinh: { f32: 1, f64: 2 },
  acosh: { f32: 1, f64: 2 },
  atanh: { f32: 1, f64: 2 },
  erf: { f32: 1.5, f64: 1.5 },
  sigmoid: { f32: 2.5, f64: 3 },
  pow: { f32: 1, f64: 1 },
  atan2: { f32: 1, f64: 1.5 },
  fmod: { f32: 0, f64: 0 },
  exp2: { f32: 1, f64: 1.5 },
  log2: { f32: 1, f64: 1 },
  cbrt: { f32: 1, f64: 1 },
  gelu: { f32: 4, f64: 4 },
  geluGrad: { f32: 4, f64: 4 },
  lgamma: { f32: 1, f64: 6 },
} as const satisfies { readonly [N in MathFn]: MathAccuracy };

/** The function `mathName(fn, type)`, first, and private helpers it calls beside other math functions. */
export function mathFunctions(fn: MathFn, type: LoopType): readonly LoopFunction[] {
  const params = (["x", "y"] as const).slice(0, mathArity[fn]).map((name) => ({ name, type }));
  const helpers = fn === "sin" || fn === "cos" || fn === "tan" ? f64Trig.trigHelpers() : [];
  const make = (body: (b: Block, args: readonly Expr[]) => void) =>
    buildFunction(mathName(fn, type), params, type, (b, args) => body(b, args as readonly Expr[]));
  if (type === "f64") return [make((b, [x, y]) => scalarF64[fn](b, x as Expr, y as Expr)), ...helpers];
  const own = lanesF32[fn];
  if (own !== undefined && scalarOf(type) === "f32")
    return [make((b, args) => b.return(own(b, args[0] as Expr, () => throughF64(b, fn, type, args), args[1] as Expr)))];
  return [make((b, args) => b.return(throughF64(b, fn, type, args)))];
}

const inlinable = new Map<MathFn, LoopFunction>();

/** The library's own straight-line functions over f32x4, for `inlineMath`. */
export function inlinableMath(fn: MathFn, type: LoopType): LoopFunction | undefined {
  if (type !== "f32x4" || lanesF32[fn] === undefined) return undefined;
  const f = inlinable.get(fn) ?? (mathFunctions(fn, type)[0] as LoopFunction);
  inlinable.set(fn, f);
  return f;
}

/** Lane by lane through the scalar f64 function. */
function throughF64(b: Block, fn: MathFn, type: LoopType, args: readonly Expr[]): Expr {
  const single = scalarOf(type) === "f32";
  const lane = (x: Expr, k: number): Expr => {
    const value = isVector(type) ? B.extractLane(x, k) : x;
    return single ? B.convert("f64.from_f32", value) : value;
  };
  const result = (k: number): Expr => {
    const [x, y] = args.map((a) => lane(a, k)) as [Expr, Expr?];
    const value = B.math(fn, x, y);
    return single ? B.convert("f32.from_f64", value) : value;
  };
  if (!isVector(type)) return result(0);
  let all = b.let("lane0", B.splat(type, result(0)));
  for (let k = 1; k < lanesOf(type); k++) all = b.let(`lane${k}`, B.replaceLane(all, k, result(k)));
  return all;
}
