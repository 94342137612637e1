/**
 * Symbolic dimensions: integer expressions over named symbols with ranges.
 *
 * A `Dim` is a number or a `DimExpr`. Expressions are kept in one canonical form, a polynomial
 *   c + Σ kᵢ · (atom · atom · …)      atom = symbol | floordiv(a,b) | mod(a,b) | min(a,b) | max(a,b) | scaled(a,factor)
 * so that two expressions which the rules can prove equal have the same `key`. Text: `n*2 + floordiv(h + 1, 2)`.
 */

import {
  type Atom,
  atomKey,
  type Dim,
  type DimEnv,
  type DimExpr,
  type DimOp,
  type DimOperation,
  type DimSymbol,
  dimBounds,
  dimText,
  productKey,
  type Term,
  termText,
} from "./dim-expr.js";
import { InternalError, ModelError } from "./errors.js";

export {
  type Atom,
  atomBounds,
  atomOperands,
  type Bounds,
  type Dim,
  type DimEnv,
  type DimExpr,
  type DimOp,
  type DimOperation,
  type DimSymbol,
  dimBounds,
  dimSymbols,
  dimText,
  productKey,
} from "./dim-expr.js";

export function build(constant: number, terms: readonly Term[]): Dim {
  const byProduct = new Map<string, Term>();
  for (const t of terms) {
    const key = productKey(t.atoms);
    const old = byProduct.get(key);
    byProduct.set(key, old ? { coefficient: old.coefficient + t.coefficient, atoms: t.atoms } : t);
  }
  const kept = [...byProduct.entries()].filter(([, t]) => t.coefficient !== 0);
  if (kept.length === 0) return constant;
  // k·b·floordiv(a, b) + k·mod(a, b) = k·a
  for (const [, m] of kept) {
    const atom = m.atoms[0]!;
    if (atom.kind !== "mod" || m.atoms.length > 1 || typeof atom.b !== "number") continue;
    const quotient = byProduct.get(atomKey({ ...atom, kind: "floordiv" }));
    if (quotient === undefined || quotient.coefficient !== m.coefficient * atom.b) continue;
    const rest = kept.map(([, t]) => t).filter((t) => t !== m && t !== quotient);
    return dimAdd(build(constant, rest), dimMul(atom.a, m.coefficient));
  }
  // k·max(a, b) + k·min(a, b) = k·a + k·b
  for (const [, m] of kept) {
    const atom = m.atoms[0]!;
    if (atom.kind !== "max" || m.atoms.length > 1) continue;
    const least = byProduct.get(atomKey({ ...atom, kind: "min" }));
    if (least === undefined || least.coefficient !== m.coefficient) continue;
    const rest = kept.map(([, t]) => t).filter((t) => t !== m && t !== least);
    return dimAdd(build(constant, rest), dimMul(dimAdd(atom.a, atom.b), m.coefficient));
  }
  // k·a − k·b·floordiv(a, b) = k·mod(a, b) and k·a − k·mod(a, b) = k·b·floordiv(a, b)
  for (const [, t] of kept) {
    const atom = t.atoms[0]!;
    if (t.atoms.length > 1 || (atom.kind !== "floordiv" && atom.kind !== "mod") || typeof atom.b !== "number") continue;
    const k = atom.kind === "mod" ? -t.coefficient : -t.coefficient / atom.b;
    if (!Number.isInteger(k)) continue;
    const whole = parts(dimMul(atom.a, k));
    if (!whole.terms.every((w) => byProduct.get(productKey(w.atoms))?.coefficient === w.coefficient)) continue;
    const gone = new Set([productKey(t.atoms), ...whole.terms.map((w) => productKey(w.atoms))]);
    const rest = kept.flatMap(([key, other]) => (gone.has(key) ? [] : [other]));
    const made =
      atom.kind === "mod"
        ? atomDim({ kind: "floordiv", a: atom.a, b: atom.b })
        : atomDim({ kind: "mod", a: atom.a, b: atom.b });
    return dimAdd(build(constant - whole.constant, rest), dimMul(made, atom.kind === "mod" ? k * atom.b : k));
  }
  kept.sort(([a], [b]) => (a < b ? -1 : 1));
  const sorted = kept.map(([, t]) => t);
  const texts = sorted.map(termText);
  if (constant !== 0) texts.push(String(constant));
  return { kind: "dim", constant, terms: sorted, key: texts.join(" + ").replaceAll("+ -", "- ") };
}

export function atomDim(a: Atom): Dim {
  return build(0, [{ coefficient: 1, atoms: [a] }]);
}

/** A named symbol. Ranges are inclusive; the default is [1, ∞). */
export function dimSymbol(name: string, range: { min?: number; max?: number; bound?: Dim } = {}): DimExpr {
  if (!/^[A-Za-z_][\w.]*$/.test(name)) {
    throw new ModelError({ message: `"${name}" is not a valid dimension name`, hint: "use letters, digits, _ and ." });
  }
  const bound = range.bound;
  const max = range.max ?? (bound === undefined ? Infinity : dimBounds(bound).max);
  const symbol: DimSymbol = {
    kind: "symbol",
    name,
    min: range.min ?? 1,
    max,
    ...(bound === undefined ? {} : { bound }),
  };
  return atomDim(symbol) as DimExpr;
}

/** The symbol as an expression. */
export const symbolDim = (s: DimSymbol): DimExpr => atomDim(s) as DimExpr;

/** Whether something is a size, as far as can be seen: a number, or an expression over sizes. */
export const isDim = (d: unknown): d is Dim =>
  typeof d === "number" || (typeof d === "object" && d !== null && "kind" in d);
export const isStaticDim = (d: Dim): d is number => typeof d === "number";

function parts(d: Dim): { constant: number; terms: readonly Term[] } {
  return typeof d === "number" ? { constant: d, terms: [] } : d;
}

export function dimAdd(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a + b;
  if (a === 0) return b;
  if (b === 0) return a;
  const x = parts(a);
  const y = parts(b);
  return build(x.constant + y.constant, [...x.terms, ...y.terms]);
}

/** The sum of many, in one go. */
export function dimSum(dims: readonly Dim[]): Dim {
  const [first, second, ...others] = dims.filter((d) => d !== 0);
  if (others.length === 0) return dimAdd(first ?? 0, second ?? 0);
  const all = dims.map(parts);
  return build(
    all.reduce((sum, p) => sum + p.constant, 0),
    all.flatMap((p) => p.terms),
  );
}

export function dimMul(a: Dim, b: Dim): Dim {
  // There is no −0 among sizes.
  if (typeof a === "number" && typeof b === "number") return a * b + 0;
  if (a === 1) return b;
  if (b === 1) return a;
  const x = parts(a);
  const y = parts(b);
  const terms: Term[] = [];
  for (const t of x.terms)
    if (y.constant !== 0) terms.push({ coefficient: t.coefficient * y.constant, atoms: t.atoms });
  for (const t of y.terms)
    if (x.constant !== 0) terms.push({ coefficient: t.coefficient * x.constant, atoms: t.atoms });
  for (const s of x.terms) {
    for (const t of y.terms) {
      const atoms = [...s.atoms, ...t.atoms].sort((p, q) => (atomKey(p) < atomKey(q) ? -1 : 1));
      terms.push({ coefficient: s.coefficient * t.coefficient, atoms });
    }
  }
  return build(x.constant * y.constant, terms);
}

export const dimProduct = (dims: readonly Dim[]): Dim => dims.reduce<Dim>((p, d) => dimMul(p, d), 1);
export const dimNeg = (a: Dim): Dim => dimMul(a, -1);
export const dimSub = (a: Dim, b: Dim): Dim => dimAdd(a, dimNeg(b));

function divisible(d: Dim, by: number): boolean {
  const p = parts(d);
  return p.constant % by === 0 && p.terms.every((t) => t.coefficient % by === 0);
}

function divideExactly(d: Dim, by: number): Dim {
  const p = parts(d);
  return build(
    p.constant / by,
    p.terms.map((t) => ({ coefficient: t.coefficient / by, atoms: t.atoms })),
  );
}

/** d / (single product), when every term contains the product. Undefined otherwise. */
function divideByProduct(d: Dim, by: DimExpr): Dim | undefined {
  if (by.constant !== 0 || by.terms.length !== 1) return undefined;
  const divisor = by.terms[0]!;
  const p = parts(d);
  if (p.constant !== 0) return undefined;
  const quotients: Term[] = [];
  let constant = 0;
  for (const t of p.terms) {
    if (t.coefficient % divisor.coefficient !== 0) return undefined;
    const rest = [...t.atoms];
    for (const a of divisor.atoms) {
      const i = rest.findIndex((r) => atomKey(r) === atomKey(a));
      if (i < 0) return undefined;
      rest.splice(i, 1);
    }
    const coefficient = t.coefficient / divisor.coefficient;
    if (rest.length === 0) constant += coefficient;
    else quotients.push({ coefficient, atoms: rest });
  }
  return build(constant, quotients);
}

/** Whether every value lies in [0, b). */
function isWithin(a: Dim, b: number): boolean {
  const { min, max } = dimBounds(a);
  return min >= 0 && max < b;
}

/** ⌊a / b⌋ (towards −∞). b must be positive for every value of its symbols. */
export function dimFloorDiv(a: Dim, b: Dim): Dim {
  if (b === 0) throw new ModelError("division of a dimension by zero");
  if (typeof a === "number" && typeof b === "number") return Math.floor(a / b);
  if (b === 1) return a;
  if (dimEqual(a, b)) return 1;
  if (typeof b === "number") {
    if (divisible(a, b)) return divideExactly(a, b);
    // floordiv(b·q + r, b) = q + floordiv(r, b)
    const p = parts(a);
    const whole = p.terms.filter((t) => t.coefficient % b === 0);
    const rest = p.terms.filter((t) => t.coefficient % b !== 0);
    const wholeConstant = Math.floor(p.constant / b) * b;
    if (whole.length > 0 || wholeConstant !== 0) {
      const r = build(p.constant - wholeConstant, rest);
      const q = divideExactly(build(wholeConstant, whole), b);
      return dimAdd(q, dimFloorDiv(r, b));
    }
    const only = p.terms[0]!;
    // floordiv(floordiv(x, c), b) = floordiv(x, c·b)
    const atom = only.atoms[0]!;
    if (
      p.constant === 0 &&
      p.terms.length === 1 &&
      only.coefficient === 1 &&
      only.atoms.length === 1 &&
      atom.kind === "floordiv" &&
      typeof atom.b === "number"
    ) {
      return dimFloorDiv(atom.a, atom.b * b);
    }
    if (isWithin(a, b)) return 0;
  } else {
    const exact = divideByProduct(a, b);
    if (exact !== undefined) return exact;
  }
  return atomDim({ kind: "floordiv", a, b });
}

/** ⌈a / b⌉. */
export const dimCeilDiv = (a: Dim, b: Dim): Dim =>
  typeof b === "number" ? dimFloorDiv(dimAdd(a, b - 1), b) : dimNeg(dimFloorDiv(dimNeg(a), b));

/** a − b·⌊a/b⌋. */
export function dimMod(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a - b * Math.floor(a / b);
  if (typeof b === "number") {
    if (b === 1 || divisible(a, b)) return 0;
    if (isWithin(a, b)) return a;
    // mod(mod(x, b) + y, b) = mod(x + y, b)
    const inner = parts(a).terms.find(
      ({ atoms: [m] }) => m!.kind === "mod" && typeof m!.b === "number" && m!.b % b === 0,
    );
    const [within] = inner?.atoms.length === 1 ? inner.atoms : [];
    if (inner !== undefined && within?.kind === "mod") {
      const less = build(
        parts(a).constant,
        parts(a).terms.filter((t) => t !== inner),
      );
      return dimMod(dimAdd(less, dimMul(within.a, inner.coefficient)), b);
    }
    const p = parts(a);
    const reduced = build(
      p.constant - b * Math.floor(p.constant / b),
      p.terms.filter((t) => t.coefficient % b !== 0),
    );
    return isWithin(reduced, b) ? reduced : atomDim({ kind: "mod", a: reduced, b });
  }
  if (dimEqual(a, b) || a === 0 || divideByProduct(a, b) !== undefined) return 0;
  return atomDim({ kind: "mod", a, b });
}

export function dimMin(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return Math.min(a, b);
  if (isNeverNegative(dimSub(b, a))) return a;
  if (isNeverNegative(dimSub(a, b))) return b;
  return dimText(a) < dimText(b) ? atomDim({ kind: "min", a, b }) : atomDim({ kind: "min", a: b, b: a });
}

export function dimMax(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return Math.max(a, b);
  if (isNeverNegative(dimSub(a, b)) || maxArguments(a).some((d) => dimEqual(d, b))) return a;
  if (isNeverNegative(dimSub(b, a)) || maxArguments(b).some((d) => dimEqual(d, a))) return b;
  return dimText(a) < dimText(b) ? atomDim({ kind: "max", a, b }) : atomDim({ kind: "max", a: b, b: a });
}

/**
 * ⌊a · factor⌋ as ONNX defines the size of a resized axis: factor is an f32, and so is the product, rounded to nearest. 10 · 0.7f is
 * 7, though 0.7f is less than 0.7. Whole factors and powers of two are exact. The factor must not be negative.
 */
export function dimScaled(a: Dim, factor: number): Dim {
  if (typeof a === "number") return Math.floor(Math.fround(Math.fround(a) * factor));
  if (Number.isInteger(factor)) return dimMul(a, factor);
  if (Number.isInteger(1 / factor) && Number.isInteger(Math.log2(factor))) return dimFloorDiv(a, 1 / factor);
  return atomDim({ kind: "scaled", a, factor });
}

/** What the larger is taken of, at any depth, where the expression is a maximum. */
function maxArguments(d: Dim): readonly Dim[] {
  const only = typeof d !== "number" && d.constant === 0 && d.terms.length === 1 ? d.terms[0]! : undefined;
  const [atom] = only?.atoms ?? [];
  if (only?.coefficient !== 1 || only.atoms.length !== 1 || atom?.kind !== "max") return [];
  return [atom.a, atom.b].flatMap((x) => [x, ...maxArguments(x)]);
}

/** Provably equal. Two different expressions may still be equal for some values of their symbols. */
export function dimEqual(a: Dim, b: Dim): boolean {
  if (typeof a === "number" || typeof b === "number") return a === b;
  return a === b || a.key === b.key;
}

/** Provably different for every value of the symbols. */
export function dimDiffers(a: Dim, b: Dim): boolean {
  const { min, max } = dimBounds(dimSub(a, b));
  return min > 0 || max < 0;
}

/** Steps of relaxation, and what they may branch into. */
const MOST_RELAXED = 6;

/**
 * Whether d ≥ 0 is proven for all values of the symbols: by its bounds, or with ⌊x / c⌋ between (x − c + 1) / c and x / c, and a
 * smallest or largest one of its two, so that what they have in common with the rest of the expression cancels.
 */
export function isNeverNegative(d: Dim, steps = MOST_RELAXED): boolean {
  const { min, max } = dimBounds(d);
  if (min >= 0) return true;
  if (max < 0 || typeof d === "number" || steps === 0) return false;
  for (const t of d.terms) {
    const [atom] = t.atoms;
    if (t.atoms.length > 1 || atom!.kind === "symbol" || atom!.kind === "scaled" || atom!.kind === "mod") continue;
    const { kind, a, b } = atom as DimOperation;
    const k = t.coefficient;
    const rest = dimSub(d, build(0, [t]));
    const holds = (e: Dim): boolean => isNeverNegative(dimAdd(rest, dimMul(e, k)), steps - 1);
    if (kind === "floordiv") {
      if (typeof b !== "number") continue;
      const limit = k > 0 ? dimSub(a, b - 1) : a;
      return isNeverNegative(dimAdd(dimMul(rest, b), dimMul(limit, k)), steps - 1);
    }
    // The smaller of two times a positive number is known by neither alone; times a negative one by either.
    return (kind === "min") === k > 0 ? holds(a) && holds(b) : holds(a) || holds(b);
  }
  return false;
}

/** Rebuilds the expression with each symbol replaced (undefined keeps it). */
export function dimSubstitute(d: Dim, replace: (symbol: DimSymbol) => Dim | undefined): Dim {
  if (typeof d === "number") return d;
  const terms = d.terms.map((t): Dim => {
    let product: Dim = t.coefficient;
    for (const a of t.atoms) {
      if (a.kind === "symbol") product = dimMul(product, replace(a) ?? atomDim(a));
      else if (a.kind === "scaled") product = dimMul(product, dimScaled(dimSubstitute(a.a, replace), a.factor));
      else product = dimMul(product, applyAtom(a.kind, dimSubstitute(a.a, replace), dimSubstitute(a.b, replace)));
    }
    return product;
  });
  return dimSum([d.constant, ...terms]);
}

export function applyAtom(kind: DimOp, a: Dim, b: Dim): Dim {
  switch (kind) {
    case "floordiv":
      return dimFloorDiv(a, b);
    case "mod":
      return dimMod(a, b);
    case "min":
      return dimMin(a, b);
    case "max":
      return dimMax(a, b);
  }
}

/** Value under an environment. Throws InternalError on an unbound symbol. */
export function evaluateDim(d: Dim, env: DimEnv): number {
  const value = dimSubstitute(d, (s) => {
    const v = env.get(s.name);
    if (v === undefined) throw new InternalError(`dimension ${s.name} has no value`);
    return v;
  });
  if (typeof value !== "number") throw new InternalError(`dimension ${dimText(d)} did not evaluate to a number`);
  return value;
}
