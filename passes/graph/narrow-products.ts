/**
 * Products of integers that are small go into the types whose kernels are fast. All of it is exact.
 *
 *   conv(x: i32, w: i32) → conv(cast i16 x, w: i8)          x within 16 bits, w constant within 8 (or 16) bits; dotGeneral alike
 *   conv(pad(x, z), w) → conv(cast i16 x − z, w) {with that padding} + z·Σw
 *   cast t(cast s x) → cast t x                             where x is an integer within s
 *   cast f32(cast i32 x) → x                                where x is whole
 *
 * What lies within what comes from dtypes, constants and the limits of a quantisation (passes/values).
 */

import type { Dim } from "../../ir/dim.js";
import { type DType, isInt } from "../../ir/dtype.js";
import type { Value } from "../../ir/graph.js";
import { cast } from "../../ir/ops/cast.js";
import { constant } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { conv } from "../../ir/ops/conv.js";
import { add, sub } from "../../ir/ops/elementwise.js";
import { broadcast } from "../../ir/ops/movement.js";
import { channelsOf, spatialOf } from "../../ir/ops/window-geometry.js";
import { element, scalar, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { any, type NodeNamed, node, op, type Rule, rule } from "../pattern.js";

import { type RewritePass, rewritePass } from "../rewrite.js";
import { filled } from "../rules/build.js";
import { contentsOf, type Fact, limitsOf } from "../values/index.js";

const rangeOf = (v: Value): Fact => contentsOf(v).each;

/** Whether every value in the range is one of the integer dtype's. */
const fitsIn = (r: Pick<Fact, "low" | "high" | "whole">, dtype: DType): boolean => {
  const limits = limitsOf(dtype);
  return r.whole && isInt(dtype) && r.low >= limits.low && r.high <= limits.high;
};

const to = (v: Value, dtype: DType): Value => (v.type.dtype === dtype ? v : cast([v], { to: dtype }));

/** The same whole numbers in another dtype that holds them; a constant stays one. */
function recast(v: Value, dtype: DType): Value {
  if (v.type.dtype === dtype) return v;
  if (v.def.op === "constant") return constant([], { value: converted(v.def.attrs.value, dtype) });
  // What was widened on the way is taken as it was.
  const inner = v.def.op === "cast" ? v.def.operands[0]! : v;
  return to(isInt(inner.type.dtype) && fitsIn(rangeOf(inner), v.type.dtype) ? inner : v, dtype);
}

const converted = (t: Tensor, dtype: DType): Tensor =>
  tensorFrom(
    dtype,
    t.shape,
    Array.from({ length: t.data.length }, (_, i) => element(t, i)),
  );

/** A constant as i8 or i16, whichever holds it. */
function narrowConstant(v: Value): Value | undefined {
  if (v.def.op !== "constant") return undefined;
  const range = rangeOf(v);
  const dtype = (["i8", "i16"] as const).find((d) => fitsIn(range, d));
  return dtype && recast(v, dtype);
}

const wide = (v: Value): Value | undefined => (fitsIn(rangeOf(v), "i16") ? recast(v, "i16") : undefined);

const isNew = (n: NodeNamed<"conv" | "dotGeneral">, operands: readonly Value[]): boolean =>
  operands.some((v, i) => v !== n.operands[i]);

const sumsIntegers = (n: NodeNamed<"conv" | "dotGeneral">): boolean => n.results[0]!.type.dtype === "i32";

/** Σ of the weights of each output channel, times z, modulo 2³². */
function sumsOfWeights(w: Tensor, z: number): Tensor {
  const [outputs = 0] = w.shape;
  const each = outputs === 0 ? 0 : w.data.length / outputs;
  const sums = Array.from({ length: outputs }, (_, o) => {
    let total = 0;
    for (let i = 0; i < each; i++) total += element(w, o * each + i);
    return BigInt(total) * BigInt(z);
  });
  return tensorFrom("i32", [outputs], sums);
}

const casts: readonly Rule[] = [
  rule("cast-in-range", op("cast", [op("cast", [any("x")], "inner")], "n"), ({ x, inner, n }) => {
    const range = rangeOf(x);
    if (isInt(x.type.dtype) && isInt(inner.attrs.to)) {
      return fitsIn(range, inner.attrs.to) ? to(x, n.attrs.to) : undefined;
    }
    const back = x.type.dtype === "f32" && n.attrs.to === "f32";
    return back && fitsIn(range, inner.attrs.to) ? x : undefined;
  }),
];

const products: readonly Rule[] = [
  rule("padding-to-convolution", op("conv", [op("pad", [any("x")], "p"), any("w")], "n"), ({ x, p, w, n }) => {
    const { layout, padLow, padHigh } = n.attrs;
    const { low, high, interior, value } = p.attrs;
    if (!sumsIntegers(n) || w.def.op !== "constant" || interior.some((i) => i !== 0)) return undefined;
    const outer = (d: readonly Dim[]) => [d[0]!, channelsOf(d, layout)];
    if ([...padLow, ...padHigh, ...outer(low), ...outer(high)].some((d) => d !== 0)) return undefined;
    const range = rangeOf(x);
    const fits = fitsIn({ low: range.low - value, high: range.high - value, whole: range.whole }, "i16");
    if (!fits || !fitsIn(range, "i16") || narrowConstant(w) === undefined) return undefined;
    const centred = sub([recast(x, "i16"), filled(scalar("i16", value), x.type.shape)]);
    const spatial = (d: readonly Dim[]) => spatialOf(d, layout);
    const attrs = { ...n.attrs, padLow: spatial(low), padHigh: spatial(high) };
    const product = conv([value === 0 ? recast(x, "i16") : centred, narrowConstant(w)!], attrs);
    if (value === 0) return product;
    const { shape } = n.results[0]!.type;
    const sums = constant([], { value: sumsOfWeights(w.def.attrs.value, value) });
    return add([product, broadcast([sums], { shape, axes: [layout === "channelsLast" ? shape.length - 1 : 1] })]);
  }),
  rule("narrow-convolution", op("conv", [any("x"), any("w")], "n"), ({ x, w, n }) => {
    if (!sumsIntegers(n)) return undefined;
    const [narrowX, narrowW] = [wide(x), narrowConstant(w)];
    if (narrowX === undefined || narrowW === undefined || !isNew(n, [narrowX, narrowW])) return undefined;
    return conv([narrowX, narrowW], n.attrs);
  }),
  rule("narrow-contraction", node("dotGeneral", "n"), ({ n }) => {
    if (!sumsIntegers(n)) return undefined;
    const [a, b] = n.operands as [Value, Value];
    const [narrowA, narrowB] = [wide(a), narrowConstant(b) ?? wide(b)];
    if (narrowA === undefined || narrowB === undefined || !isNew(n, [narrowA, narrowB])) return undefined;
    return dotGeneral([narrowA, narrowB], { ...n.attrs, result: "i32" });
  }),
];

export const narrowProducts: RewritePass = rewritePass("narrow-products", [...casts, ...products]);
