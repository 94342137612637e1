/** Identities of selection, comparison, logic and casts. */

import { type DType, dtypeInfo, isFloat, isStorageOnly } from "../../ir/dtype.js";
import type { Value } from "../../ir/graph.js";
import { bitcast, cast } from "../../ir/ops/cast.js";
import { eq, ne, not, select } from "../../ir/ops/logic.js";
import { bigElement, scalar } from "../../ir/tensor.js";
import { any, op, type Rule, rule, type Splat, splat } from "../pattern.js";
import { filled } from "./build.js";

const truth = (v: Value, holds: boolean): Value => filled(scalar("bool", holds ? 1 : 0), v.type.shape);
/** Whether all bits are set: −1, or an unsigned type's largest value. */
const isOnes = (c: Splat): boolean => {
  const { bits } = dtypeInfo[c.tensor.dtype];
  return BigInt.asUintN(bits, bigElement(c.tensor, 0)) === (1n << BigInt(bits)) - 1n;
};

const selection: readonly Rule[] = [
  // select(true, a, b) → a;  select(false, a, b) → b
  rule("select-constant", op("select", [splat("c"), any("a"), any("b")]), ({ c, a, b }) => (c.value === 0 ? b : a)),
  // select(c, a, a) → a
  rule("select-same", op("select", [any(), any("a"), any("a")]), ({ a }) => a),
  // select(¬c, a, b) → select(c, b, a)
  rule("select-not", op("select", [op("not", [any("c")]), any("a"), any("b")]), ({ c, a, b }) => select([c, b, a])),
  // select(c, select(c, a, b), d) → select(c, a, d), and on the other side
  rule(
    "select-select-then",
    op("select", [any("c"), op("select", [any("c"), any("a"), any()]), any("d")]),
    ({ c, a, d }) => select([c, a, d]),
  ),
  rule(
    "select-select-else",
    op("select", [any("c"), any("a"), op("select", [any("c"), any(), any("d")])]),
    ({ c, a, d }) => select([c, a, d]),
  ),
  // select(c, true, false) → c;  select(c, false, true) → ¬c
  rule("select-truth", op("select", [any("c"), splat("a"), splat("b")], "n"), ({ c, a, b, n }) => {
    if (n.results[0]!.type.dtype !== "bool" || a.value === b.value) return undefined;
    return a.value === 0 ? not([c]) : c;
  }),
];

const logic: readonly Rule[] = [
  rule("not-not", op("not", [op("not", [any("x")])]), ({ x }) => x),
  // ¬(a = b) → a ≠ b.   (Not so for <: NaN makes both false.)
  rule("not-eq", op("not", [op("eq", [any("a"), any("b")])]), ({ a, b }) => ne([a, b])),
  rule("not-ne", op("not", [op("ne", [any("a"), any("b")])]), ({ a, b }) => eq([a, b])),
  // x ∧ ones → x;  x ∧ 0 → 0
  rule("and-constant", op("and", [any("x"), splat("c")]), ({ x, c }) =>
    isOnes(c) ? x : c.value === 0 ? filled(c.tensor, x.type.shape) : undefined,
  ),
  // x ∨ 0 → x;  x ∨ ones → ones
  rule("or-constant", op("or", [any("x"), splat("c")]), ({ x, c }) =>
    c.value === 0 ? x : isOnes(c) ? filled(c.tensor, x.type.shape) : undefined,
  ),
  // x ⊕ 0 → x;  x ⊕ ones → ¬x;  x ⊕ x → 0
  rule("xor-constant", op("xor", [any("x"), splat("c")]), ({ x, c }) =>
    c.value === 0 ? x : isOnes(c) ? not([x]) : undefined,
  ),
  rule("xor-self", op("xor", [any("x"), any("x")]), ({ x }) => filled(scalar(x.type.dtype, 0), x.type.shape)),
  // integers and bools: x = x → true;  x ≠ x, x < x → false
  rule("compare-self", op(["eq", "ne", "lt", "le", "gt", "ge"], [any("x"), any("x")], "n"), ({ x, n }) =>
    isFloat(x.type.dtype) ? undefined : truth(x, n.op === "eq" || n.op === "le" || n.op === "ge"),
  ),
  // bools: x = true → x;  x = false → ¬x;  x ≠ true → ¬x;  x ≠ false → x
  rule("compare-truth", op(["eq", "ne"], [any("x"), splat("c")], "n"), ({ x, c, n }) => {
    if (x.type.dtype !== "bool") return undefined;
    return (c.value !== 0) === (n.op === "eq") ? x : not([x]);
  }),
];

/** Significant bits of a float type. */
const significand = { f32: 24, f64: 53, f16: 11, bf16: 8 };
/** Exponents of a float type lie within those of another. */
const exponentBits = { f32: 8, f64: 11, f16: 5, bf16: 8 };

/** Whether every value of a type is one of another. Storage types are left out. */
function embeds(from: DType, to: DType): boolean {
  if (isStorageOnly(from) || isStorageOnly(to)) return false;
  if (from === to || from === "bool") return true;
  if (to === "bool") return false;
  if (isFloat(from)) {
    return isFloat(to) && significand[from] <= significand[to] && exponentBits[from] <= exponentBits[to];
  }
  const a = dtypeInfo[from];
  // Integers below 2^significand are exact; f16's range (65504) covers its 11 bits, the others' more than theirs.
  if (isFloat(to)) return a.bits - (a.signed ? 1 : 0) <= significand[to];
  const b = dtypeInfo[to];
  return a.signed ? b.signed && b.bits >= a.bits : b.bits - (b.signed ? 1 : 0) >= a.bits;
}

/**
 * cast(cast(x, inner), outer) is cast(x, outer) where `inner` keeps every value and both casts to `outer` treat it alike: floats
 * saturate on the way to integers where integers wrap, so a cast from integer to float and back does not merge.
 */
function casts(from: DType, inner: DType, outer: DType): boolean {
  if (!embeds(from, inner)) return false;
  const changesKind = dtypeInfo[from].kind === "int" && isFloat(inner);
  return !changesKind || isFloat(outer) || outer === "bool";
}

const conversion: readonly Rule[] = [
  // cast(x, its own type) → x
  rule("cast-nothing", op(["cast", "bitcast"], [any("x")], "n"), ({ x, n }) =>
    n.attrs.to === x.type.dtype ? x : undefined,
  ),
  rule("cast-of-cast", op("cast", [op("cast", [any("x")], "inner")], "n"), ({ x, inner, n }) =>
    casts(x.type.dtype, inner.attrs.to, n.attrs.to) ? cast([x], n.attrs) : undefined,
  ),
  // bitcast(bitcast(x)) → bitcast(x)
  rule("bitcast-of-bitcast", op("bitcast", [op("bitcast", [any("x")])], "n"), ({ x, n }) => bitcast([x], n.attrs)),
];

export const logicRules: readonly Rule[] = [...selection, ...logic, ...conversion];
