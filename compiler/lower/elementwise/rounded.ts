/**
 * Rounded and limited floats as integers: the end of every quantisation.
 *
 *   cast i32 min(max(round(x) + z, low), high) → (bits(min(max(x, low − z), high − z) + 1.5·2²³) − bits(1.5·2²³)) + z
 *
 * Between 2²³ and 2²⁴ neighbouring floats are 1 apart, so the addition rounds to a whole number, to the even one in the middle, as `round`
 * does; its last bits are that number. Limits that are whole may come before. A saturating conversion takes an engine on x86-64 five
 * instructions, and rounding two.
 */

import { type DType, dtypeInfo, isFloat, isInt } from "../../../ir/dtype.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import { element, type Tensor } from "../../../ir/tensor.js";
import { limitsOf } from "../../../passes/values/index.js";
import type { KernelHost } from "../core/kernel-builder.js";
import type { Point } from "../core/point.js";
import { bind, same } from "./registers.js";

type Apply = Extract<Point, { readonly kind: "apply" }>;

/** A number rounded to a whole one, moved by `shift`, and then limited. */
export interface Rounded {
  readonly x: Point;
  readonly shift: number;
  readonly low: number;
  readonly high: number;
}

const magic = 1.5 * 2 ** 23;
const magicBits = 0x4b40_0000;
/** Limits and shifts up to here leave what is added to `magic` below 2²². */
const most = 2 ** 21;

const isApply = (p: Point | undefined, op: string): p is Apply => p?.kind === "apply" && p.node.op === op;

const wholeConstant = (p: Point | undefined): number | undefined => {
  const value = p?.kind === "const" ? Number(p.value) : Number.NaN;
  return Number.isInteger(value) && Math.abs(value) <= most ? value : undefined;
};

/**
 * What the cast of a float to an integer dtype, perhaps by way of another one, converts, where that is such a number within the dtypes.
 * What is at hand is not looked through.
 */
export function roundedOf(cast: Apply, isAtHand: (p: Point) => boolean): Rounded | undefined {
  const dtypes = [cast.dtype];
  let limited = cast.args[0];
  for (; isApply(limited, "cast") && isInt(limited.dtype) && !isAtHand(limited); limited = limited.args[0])
    dtypes.push(limited.dtype);
  if (limited?.dtype !== "f32" || isAtHand(limited)) return undefined;
  if (!dtypes.every((d) => isInt(d) && dtypeInfo[d].bits <= 32)) return undefined;
  if (!isApply(limited, "min") || !isApply(limited.args[0], "max")) return undefined;
  const high = wholeConstant(limited.args[1]);
  const low = wholeConstant(limited.args[0].args[1]);
  const moved = limited.args[0].args[0];
  const shift = isApply(moved, "add") ? wholeConstant(moved.args[1]) : 0;
  const whole = isApply(moved, "add") ? moved.args[0] : moved;
  if (low === undefined || high === undefined || shift === undefined || low > high || !isApply(whole, "round"))
    return undefined;
  if (dtypes.some((d) => low < limitsOf(d).low || high > limitsOf(d).high)) return undefined;
  return { x: whole.args[0]!, shift, low, high };
}

/**
 * The integer, x being given as a variable. NaN is 0, as in every cast. Limits and shifts differ from layer to layer, so they are parameters
 * where kernels take numbers as such.
 */
export function emitRounded(kernel: KernelHost, x: Expr, { x: point, shift, low, high }: Rounded): Expr {
  const b = kernel.block;
  const number = (value: number): Expr =>
    kernel.number && value !== 0 ? B.broadcast(x.type, kernel.number(value)) : same(x, value);
  // Where the least number is 0, NaN becomes it: pmax gives its first operand, unless the second is greater.
  const least = number(low - shift);
  const limited = B.pmin(low === 0 ? B.pmax(least, x) : B.pmax(x, least), number(high - shift));
  const bits = B.bitcast(x.type === "f32x4" ? "i32x4" : "i32", B.add(limited, same(x, magic)));
  const origin = magicBits - shift;
  const whole = B.sub(
    bits,
    kernel.number ? B.broadcast(bits.type, kernel.size(origin)) : B.constant(bits.type, origin),
  );
  if (low === 0 || Number.isFinite(magnitudeOf(point))) return whole;
  const i = bind(b, whole, "whole");
  return B.select(B.eq(x, x), i, B.constant(i.type, 0));
}

/** A number whose absolute value a float never exceeds; Infinity where it may be infinite or NaN, or nothing is known. */
function magnitudeOf(p: Point): number {
  const beyond = (x: number): number => (x <= 2 ** 127 ? x : Infinity);
  switch (p.kind) {
    case "const":
      return Number.isFinite(Number(p.value)) ? Math.abs(Number(p.value)) : Infinity;
    case "load": {
      if (isInt(p.dtype)) return largest(p.dtype);
      const { source } = p.view.buffer;
      // What is derived from a constant is packed for kernels that don't read points.
      if (source.kind !== "weight" || !("data" in source.value)) return Infinity;
      return magnitudeOfTensor(source.value);
    }
    case "index":
    case "given":
      return isInt(p.dtype) ? largest(p.dtype) : Infinity;
    case "apply": {
      if (isInt(p.dtype)) return largest(p.dtype);
      const of = (i: number): number => magnitudeOf(p.args[i]!);
      switch (p.node.op) {
        case "cast":
          return isFloat(p.node.operands[0]!.type.dtype) ? Infinity : of(0);
        case "mul":
          return beyond(of(0) * of(1));
        case "add":
        case "sub":
          return beyond(of(0) + of(1));
        case "div": {
          const by = p.args[1]!;
          return by.kind === "const" ? beyond(of(0) / Math.abs(Number(by.value))) : Infinity;
        }
        case "max":
        case "min":
          return Math.max(of(0), of(1));
        case "neg":
        case "abs":
          return of(0);
        default:
          return Infinity;
      }
    }
  }
}

function magnitudeOfTensor(t: Tensor): number {
  if (t.data.length > mostLooked) return Infinity;
  let found = 0;
  for (let i = 0; i < t.data.length; i++) {
    const x = Math.abs(element(t, i));
    if (!(x <= found)) found = x;
  }
  return Number.isFinite(found) ? found : Infinity;
}

const largest = (d: DType): number => Math.max(-limitsOf(d).low, limitsOf(d).high);

/** Elements of a constant that are looked through for the largest. */
const mostLooked = 1 << 14;
