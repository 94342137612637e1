/**
 * What a symbolic dimension is, and what can be read of one: its text, its symbols, the interval that its values lie in. How they are made
 * and simplified: dim.ts.
 */

export interface DimSymbol {
  readonly kind: "symbol";
  readonly name: string;
  /** Inclusive range of values the symbol may take. */
  readonly min: number;
  /** Infinity when unbounded. */
  readonly max: number;
  /** Set where a kernel finds the value at run time (NonZero, NMS …): an upper bound for planning. */
  readonly bound?: Dim;
}

export type DimOp = "floordiv" | "mod" | "min" | "max";
/** An operator of two expressions. */
export interface DimOperation {
  readonly kind: DimOp;
  readonly a: Dim;
  readonly b: Dim;
}
/** ⌊a · factor⌋ with the product rounded to f32: see `dimScaled`. */
interface ScaledAtom {
  readonly kind: "scaled";
  readonly a: Dim;
  readonly factor: number;
}

export type Atom = DimSymbol | ScaledAtom | DimOperation;

export interface Term {
  readonly coefficient: number;
  /** Sorted by key; never empty. */
  readonly atoms: readonly Atom[];
}

export interface DimExpr {
  readonly kind: "dim";
  readonly constant: number;
  readonly terms: readonly Term[];
  /** Canonical text. Equal keys mean equal expressions. */
  readonly key: string;
}

export type Dim = number | DimExpr;

/** Values of symbols by name. */
export type DimEnv = ReadonlyMap<string, number>;

export function atomKey(a: Atom): string {
  if (a.kind === "symbol") return a.name;
  return `${a.kind}(${dimText(a.a)}, ${a.kind === "scaled" ? a.factor : dimText(a.b)})`;
}

export function termText(t: Term): string {
  const product = t.atoms.map(atomKey).join("*");
  return t.coefficient === 1 ? product : `${t.coefficient}*${product}`;
}

export function productKey(atoms: readonly Atom[]): string {
  return atoms.map(atomKey).join("*");
}

export function dimText(d: Dim): string {
  return typeof d === "number" ? String(d) : d.key;
}

/** The expressions that an atom is made of. */
export function atomOperands(a: Atom): readonly Dim[] {
  if (a.kind === "symbol") return [];
  return a.kind === "scaled" ? [a.a] : [a.a, a.b];
}

/** All symbols of the expression, bounds of unknowns not included. */
export function dimSymbols(d: Dim, into = new Map<string, DimSymbol>()): Map<string, DimSymbol> {
  if (typeof d === "number") return into;
  for (const t of d.terms) {
    for (const a of t.atoms) {
      if (a.kind === "symbol") into.set(a.name, a);
      else for (const operand of atomOperands(a)) dimSymbols(operand, into);
    }
  }
  return into;
}

export interface Bounds {
  readonly min: number;
  readonly max: number;
}

// 0 · ∞ is 0 for bounds.
const times = (a: number, b: number) => (a === 0 || b === 0 ? 0 : a * b);

function multiply(x: Bounds, y: Bounds): Bounds {
  const corners = [times(x.min, y.min), times(x.min, y.max), times(x.max, y.min), times(x.max, y.max)];
  return { min: Math.min(...corners), max: Math.max(...corners) };
}

export function atomBounds(a: Atom): Bounds {
  if (a.kind === "symbol") return { min: a.min, max: a.max };
  const x = dimBounds(a.a);
  if (a.kind === "scaled") {
    const at = (size: number) => Math.floor(Math.fround(Math.fround(size) * a.factor));
    return { min: at(x.min), max: at(x.max) };
  }
  const y = dimBounds(a.b);
  switch (a.kind) {
    case "min":
      return { min: Math.min(x.min, y.min), max: Math.min(x.max, y.max) };
    case "max":
      return { min: Math.max(x.min, y.min), max: Math.max(x.max, y.max) };
    case "mod":
      return { min: 0, max: Math.max(0, y.max - 1) };
    case "floordiv": {
      const low = Math.max(1, y.min);
      const q = (n: number, d: number) =>
        Number.isFinite(n) ? (d === Infinity ? (n < 0 ? -1 : 0) : Math.floor(n / d)) : n;
      const corners = [q(x.min, low), q(x.min, y.max), q(x.max, low), q(x.max, y.max)];
      return { min: Math.min(...corners), max: Math.max(...corners) };
    }
  }
}

/** Interval that contains every value of the expression (not always tight). */
export function dimBounds(d: Dim): Bounds {
  if (typeof d === "number") return { min: d, max: d };
  let min = d.constant;
  let max = d.constant;
  for (const t of d.terms) {
    let b: Bounds = { min: t.coefficient, max: t.coefficient };
    for (const a of t.atoms) b = multiply(b, atomBounds(a));
    min += b.min;
    max += b.max;
  }
  return { min, max };
}
