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

type Lanes = "f32" | "f32x4";
/** To f32, to the format's bits, or to the format's nearest number, kept in f32. */
export type Direction = "widen" | "narrow" | "round";
export type HalfFormat = "f16" | "bf16";

/** `@f16_to_f32(i32) -> f32`, `@f32x4_to_bf16(f32x4) -> i32x4`, … */
export function halfName(format: HalfFormat, lanes: Lanes, direction: Direction): string {
  switch (direction) {
    case "widen":
      return `${format}_to_${lanes}`;
    case "narrow":
      return `${lanes}_to_${format}`;
    case "round":
      return `${lanes}_round_${format}`;
  }
}

export function halfFunction(format: HalfFormat, lanes: Lanes, direction: Direction): LoopFunction {
  const ints = lanes === "f32" ? "i32" : "i32x4";
  const name = halfName(format, lanes, direction);
  const body = {
    f16: { widen: widenF16, narrow: narrowF16, round: roundF16 },
    bf16: { widen: widenBf16, narrow: narrowBf16, round: roundBf16 },
  };
  const from = direction === "widen" ? ints : lanes;
  const to = direction === "narrow" ? ints : lanes;
  return buildFunction(name, [{ name: "x", type: from }], to, (b, [x]) =>
    b.return(body[format][direction](b, x, lanes)),
  );
}

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
    return m.call(name, [x], direction === "narrow" ? "i32" : "f32");
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
    return m.sequence(refs);
  });
}

const intsOf = (lanes: Lanes) => (lanes === "f32" ? "i32" : "i32x4");

function widenF16(b: Block, x: Expr, lanes: Lanes): Expr {
  const magnitude = b.let("magnitude", B.and(x, 0x7fff));
  const bits = b.let("bits", B.shl(magnitude, 13));
  // Exponent 31 is infinity or NaN; all others, read as f32, are off by 2^112, subnormals included.
  const isSpecial = B.geS(bits, 0x0f800000);
  const special =
    lanes === "f32x4" ? B.and(B.bitcast("i32x4", isSpecial), 0x7f800000) : B.select(isSpecial, 0x7f800000, 0);
  const scaled = B.mul(B.bitcast(lanes, B.or(bits, special)), 2 ** 112);
  return B.bitcast(lanes, B.or(B.bitcast(intsOf(lanes), scaled), B.shl(B.xor(x, magnitude), 16)));
}

/** The f32 that has the unit of half's numbers of x's size in its last place; `magnitude` are the bits of |x|. */
function unitOfF16(b: Block, magnitude: Expr): { readonly exponent: Expr; readonly unit: Expr } {
  // Of numbers below 2^-14, subnormals, the unit is the same; above 2^16 anything will do that is not infinite.
  const exponent = b.let("exponent", B.minS(B.maxS(B.and(magnitude, 0x7f800000), 113 << 23), 143 << 23));
  return { exponent, unit: b.let("unit", B.add(exponent, 13 << 23)) };
}

/** The nearest half, as f32. */
function roundF16(b: Block, x: Expr, lanes: Lanes): Expr {
  const bits = b.let("bits", B.bitcast(intsOf(lanes), x));
  const magnitude = b.let("magnitude", B.and(bits, 0x7fffffff));
  const unit = b.let("grid", B.bitcast(lanes, unitOfF16(b, magnitude).unit));
  const rounded = B.sub(B.add(B.bitcast(lanes, magnitude), unit), unit);
  // What has become 2^16 or more is infinite.
  const limited = B.mul(B.mul(rounded, 2 ** 112), 2 ** -112);
  return B.bitcast(lanes, B.or(B.bitcast(intsOf(lanes), limited), B.xor(bits, magnitude)));
}

function narrowF16(b: Block, x: Expr, lanes: Lanes): Expr {
  const bits = b.let("bits", B.bitcast(intsOf(lanes), x));
  const magnitude = b.let("magnitude", B.and(bits, 0x7fffffff));
  const { exponent, unit } = unitOfF16(b, magnitude);
  // The addition rounds: above the unit's own bits stand the units of |x|, 1024 to 2048 of them, or fewer if it is subnormal.
  const units = B.sub(B.bitcast(intsOf(lanes), B.add(B.bitcast(lanes, magnitude), B.bitcast(lanes, unit))), unit);
  const finite = B.add(units, B.sub(B.shrU(exponent, 13), 113 << 10));
  const isNan = B.gtS(magnitude, 0x7f800000);
  const payload = B.or(B.and(B.shrU(magnitude, 13), 0x3ff), 0x200);
  const nan = lanes === "f32x4" ? B.and(B.bitcast("i32x4", isNan), payload) : B.select(isNan, payload, 0);
  return B.or(B.or(B.minS(finite, 0x7c00), nan), B.and(B.shrU(bits, 16), 0x8000));
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

function roundBf16(b: Block, x: Expr, lanes: Lanes): Expr {
  return widenBf16(b, narrowBf16(b, x, lanes), lanes);
}
