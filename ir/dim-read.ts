/** How code generation and serialisation read dims. */

import {
  type Atom,
  atomOperands,
  build,
  type Dim,
  type DimOperation,
  type DimSymbol,
  dimAdd,
  dimMul,
  dimSymbols,
  productKey,
} from "./dim.js";
import { InternalError } from "./errors.js";

/** Walks the canonical form. */
export function foldDim<T>(
  d: Dim,
  on: {
    constant: (value: number) => T;
    symbol: (symbol: DimSymbol) => T;
    add: (a: T, b: T) => T;
    mul: (a: T, b: T) => T;
    op: (operation: DimOperation, a: T, b: T) => T;
    scaled: (a: T, factor: number) => T;
  },
): T {
  if (typeof d === "number") return on.constant(d);
  const atom = (a: Atom): T => {
    if (a.kind === "symbol") return on.symbol(a);
    if (a.kind === "scaled") return on.scaled(foldDim(a.a, on), a.factor);
    return on.op(a, foldDim(a.a, on), foldDim(a.b, on));
  };
  let sum: T | undefined;
  for (const t of d.terms) {
    let product: T | undefined;
    for (const a of t.atoms) {
      const factor = atom(a);
      product = product === undefined ? factor : on.mul(product, factor);
    }
    if (product === undefined) throw new InternalError("a dimension term has no atoms");
    if (t.coefficient !== 1) product = on.mul(product, on.constant(t.coefficient));
    sum = sum === undefined ? product : on.add(sum, product);
  }
  if (sum === undefined) return on.constant(d.constant);
  return d.constant === 0 ? sum : on.add(sum, on.constant(d.constant));
}

/** One product of `splitDim`: coefficient · factors. */
export interface DimPart {
  readonly coefficient: Dim;
  readonly factors: readonly Atom[];
  /** The product itself. */
  readonly value: Dim;
}

/**
 * The expression as rest + Σ coefficient · factors, where `inner` symbols occur in factors only. How code generation tells
 * loop variables (inner) from sizes.
 */
export function splitDim(d: Dim, inner: (symbol: DimSymbol) => boolean): { rest: Dim; parts: readonly DimPart[] } {
  if (typeof d === "number") return { rest: d, parts: [] };
  const isInner = (a: Atom): boolean =>
    a.kind === "symbol"
      ? inner(a)
      : atomOperands(a).some((operand) => [...dimSymbols(operand).values()].some((symbol) => inner(symbol)));
  let rest: Dim = d.constant;
  const parts = new Map<string, DimPart>();
  for (const t of d.terms) {
    const factors = t.atoms.filter(isInner);
    const outer = t.atoms.filter((a) => !isInner(a));
    const coefficient = build(
      outer.length === 0 ? t.coefficient : 0,
      outer.length === 0 ? [] : [{ ...t, atoms: outer }],
    );
    if (factors.length === 0) rest = dimAdd(rest, coefficient);
    else {
      const key = productKey(factors);
      const sum = dimAdd(parts.get(key)?.coefficient ?? 0, coefficient);
      parts.set(key, { coefficient: sum, factors, value: dimMul(sum, build(0, [{ coefficient: 1, atoms: factors }])) });
    }
  }
  return { rest, parts: [...parts.values()] };
}
