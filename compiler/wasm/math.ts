/**
 * The wasm math library: every `MathFn` as a Loop IR function over a lane type, generated on demand. One definition serves
 * scalars and lanes, so that a loop's tail gives the bits its vector part gives.
 */

import { InternalError } from "../../ir/errors.js";
import type { LoopFunction, LoopType, MathFn } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { expF32 } from "./math-f32.js";

/** Name of the function that computes `fn` over `type`. */
export function mathName(fn: MathFn, type: LoopType): string {
  return `math_${fn}_${type}`;
}

export function mathFunction(fn: MathFn, type: LoopType): LoopFunction {
  if ((type === "f32" || type === "f32x4") && fn === "exp")
    return buildFunction(mathName(fn, type), [{ name: "x", type }], type, (b, [x]) => b.return(expF32(b, x)));
  throw new InternalError(`no ${fn} over ${type}`);
}
