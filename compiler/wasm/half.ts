/**
 * Conversions between f32 and the two 16-bit float formats, as Loop IR over bit patterns in i32 (or i32x4) registers, exact
 * for subnormals, infinities and NaN (quieted, upper payload bits kept), rounding to nearest, ties to even. One definition
 * serves scalars and lanes.
 */

import { InternalError } from "../../ir/errors.js";
import type { Expr, LoopFunction } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";

import type { FunctionContext } from "./emit-context.js";
import type { Ref } from "./module.js";
import { wasmType } from "./opcodes.js";

type Lanes = "f32" | "f32x4";
export type HalfFormat = "f16" | "bf16";

/** `@f16_to_f32(i32) -> f32`, `@f32x4_to_bf16(f32x4) -> i32x4`, … */
export function halfName(format: HalfFormat, lanes: Lanes, direction: "widen" | "narrow"): string {
  return direction === "widen" ? `${format}_to_${lanes}` : `${lanes}_to_${format}`;
}

export function halfFunction(format: HalfFormat, lanes: Lanes, direction: "widen" | "narrow"): LoopFunction {
  const ints = lanes === "f32" ? "i32" : "i32x4";
  const name = halfName(format, lanes, direction);
  const body = { f16: { widen: widenF16, narrow: narrowF16 }, bf16: { widen: widenBf16, narrow: narrowBf16 } };
  const [from, to] = direction === "widen" ? ([ints, lanes] as const) : ([lanes, ints] as const);
  return buildFunction(name, [{ name: "x", type: from }], to, (b, [x]) =>
    b.return(body[format][direction](b, x, lanes)),
  );
}

type Direction = "widen" | "narrow";

const vectorForms = new Map<string, LoopFunction>();

/** Converts x: scalars by a call, vectors in place, since a call would cost as much as the conversion. */
export function emitHalf(
  ctx: FunctionContext,
  emit: (e: Expr) => Ref,
  format: HalfFormat,
  lanes: Lanes,
  direction: Direction,
  x: Ref,
): Ref {
  const m = ctx.module;
  if (lanes === "f32") {
    const name = ctx.need({ kind: "half", format, lanes, direction });
    return m.call(name, [x], direction === "widen" ? "f32" : "i32");
  }
  const name = halfName(format, lanes, direction);
  const f = vectorForms.get(name) ?? halfFunction(format, lanes, direction);
  vectorForms.set(name, f);
  return ctx.isolated(() => {
    const refs = f.params.map((p) => ctx.set(ctx.bind(p.name, p.type), x));
    for (const s of f.body) {
      if (s.kind === "let") {
        const value = emit(s.value);
        refs.push(ctx.set(ctx.bind(s.name, s.value.type), value));
      } else if (s.kind === "return" && s.value !== undefined) refs.push(emit(s.value));
      else throw new InternalError(`@${f.name} is not straight-line code`);
    }
    return m.block(null, refs, wasmType.f32x4);
  });
}

const intsOf = (lanes: Lanes) => (lanes === "f32" ? "i32" : "i32x4");

function widenF16(b: Block, x: Expr, lanes: Lanes): Expr {
  const sign = b.let("sign", B.shl(B.and(x, 0x8000), 16));
  const bits = b.let("bits", B.shl(B.and(x, 0x7fff), 13));
  // Reading exponent and fraction as f32 is off by 2^112, subnormals included; exponent 31 is infinity or NaN.
  const scaled = B.bitcast(intsOf(lanes), B.mul(B.bitcast(lanes, bits), 2 ** 112));
  const special = B.or(bits, 0x7f800000);
  const quiet = B.select(B.gtS(bits, 0x0f800000), B.or(special, 0x00400000), special);
  return B.bitcast(lanes, B.or(sign, B.select(B.geS(bits, 0x0f800000), quiet, scaled)));
}

function narrowF16(b: Block, x: Expr, lanes: Lanes): Expr {
  const bits = b.let("bits", B.bitcast(intsOf(lanes), x));
  const magnitude = b.let("magnitude", B.and(bits, 0x7fffffff));
  const odd = B.and(B.shrU(magnitude, 13), 1);
  // Rebias by −112 and round half to even by adding just under half a unit, plus one if the kept part is odd.
  const normal = B.shrU(B.add(B.add(magnitude, ((15 - 127) << 23) + 0xfff), odd), 13);
  // One half has the unit 2^-24 of half's subnormals, so the addition rounds for us.
  const shifted = B.bitcast(intsOf(lanes), B.add(B.bitcast(lanes, magnitude), 0.5));
  const subnormal = B.sub(shifted, 0x3f000000);
  const nan = B.or(B.and(B.shrU(magnitude, 13), 0x3ff), 0x7e00);
  const finite = B.select(B.ltS(magnitude, 0x38800000), subnormal, normal);
  // From 65520 on, values round to infinity.
  const large = B.select(B.gtS(magnitude, 0x7f800000), nan, 0x7c00);
  const result = B.select(B.geS(magnitude, 0x477ff000), large, finite);
  return B.or(result, B.and(B.shrU(bits, 16), 0x8000));
}

function widenBf16(_: Block, x: Expr, lanes: Lanes): Expr {
  return B.bitcast(lanes, B.shl(x, 16));
}

function narrowBf16(b: Block, x: Expr, lanes: Lanes): Expr {
  const bits = b.let("bits", B.bitcast(intsOf(lanes), x));
  const odd = B.and(B.shrU(bits, 16), 1);
  const rounded = B.shrU(B.add(B.add(bits, 0x7fff), odd), 16);
  const nan = B.or(B.shrU(bits, 16), 0x40);
  return B.select(B.gtS(B.and(bits, 0x7fffffff), 0x7f800000), nan, rounded);
}
