/** Sizes as ONNX values: symbols are read off shapes, expressions are computed. All are i64 vectors of one element. */

import { type Atom, type Dim, type DimExpr, dimAdd, dimBounds, dimNeg, dimSub, dimText } from "../../../ir/dim.js";
import { ModelError } from "../../../ir/errors.js";
import type { Shape } from "../../../ir/graph.js";
import { tensorFrom } from "../../../ir/tensor.js";
import { int, type Ref } from "./draft.js";
import type { Emitter } from "./emitter.js";

/** The symbol that a dim consists of. */
function plainSymbol(d: Dim): string | undefined {
  if (typeof d === "number" || d.constant !== 0 || d.terms.length !== 1) return undefined;
  const [term] = d.terms;
  const [atom] = term!.atoms;
  return term!.coefficient === 1 && term!.atoms.length === 1 && atom!.kind === "symbol" ? atom!.name : undefined;
}

/** The symbol s of a dim k·s + c. */
function linearSymbol(d: Dim): { readonly name: string; readonly factor: number; readonly offset: number } | undefined {
  if (typeof d === "number" || d.terms.length !== 1) return undefined;
  const [term] = d.terms;
  const [atom] = term!.atoms;
  if (term!.atoms.length !== 1 || atom!.kind !== "symbol") return undefined;
  return { name: atom!.name, factor: term!.coefficient, offset: d.constant };
}

export class Sizes {
  readonly #emitter: Emitter;
  readonly #outer: Sizes | undefined;
  readonly #sources = new Map<string, () => Ref>();
  readonly #made = new Map<string, Ref>();

  constructor(emitter: Emitter, outer: Sizes | undefined) {
    this.#emitter = emitter;
    this.#outer = outer;
  }

  #source(name: string): (() => Ref) | undefined {
    return this.#sources.get(name) ?? (this.#outer ? this.#outer.#source(name) : undefined);
  }

  #cached(key: string): Ref | undefined {
    return this.#made.get(key) ?? (this.#outer ? this.#outer.#cached(key) : undefined);
  }

  /** States a symbol's value, an i64 vector of one element. */
  define(name: string, value: Ref): void {
    if (!this.#source(name)) this.#sources.set(name, () => value);
  }

  /** Takes symbols that are not known yet from the shape of a value. */
  defineFrom(x: Ref, shape: Shape, only?: ReadonlySet<string>): void {
    const e = this.#emitter;
    const read = (axis: number) => e.op("Shape", [x], { start: int(axis), end: int(axis + 1) });
    shape.forEach((d, axis) => {
      const name = plainSymbol(d);
      if (name === undefined || (only && !only.has(name)) || this.#source(name)) return;
      this.#sources.set(name, () => read(axis));
    });
    shape.forEach((d, axis) => {
      const linear = linearSymbol(d);
      if (!linear || (only && !only.has(linear.name)) || this.#source(linear.name)) return;
      const { factor, offset } = linear;
      this.#sources.set(linear.name, () => {
        const rest = offset === 0 ? read(axis) : e.op("Sub", [read(axis), e.ints([offset])]);
        return factor === 1 ? rest : e.op("Div", [rest, e.ints([factor])]);
      });
    });
  }

  dim(d: Dim): Ref {
    if (typeof d === "number") return this.#emitter.ints([d]);
    const known = this.#cached(d.key);
    if (known) return known;
    const made = this.#compute(d);
    this.#made.set(d.key, made);
    return made;
  }

  /** Sizes as an i64 vector. */
  shape(dims: readonly Dim[]): Ref {
    const e = this.#emitter;
    if (dims.every((d) => typeof d === "number")) return e.ints(dims as number[]);
    const key = `[${dims.map(dimText)}]`;
    const known = this.#cached(key);
    if (known) return known;
    const parts: Ref[] = [];
    let fixed: number[] = [];
    const flush = () => {
      if (fixed.length > 0) parts.push(e.ints(fixed));
      fixed = [];
    };
    for (const d of dims) {
      if (typeof d === "number") {
        fixed.push(d);
        continue;
      }
      flush();
      parts.push(this.dim(d));
    }
    flush();
    const made = parts.length === 1 ? parts[0]! : e.op("Concat", parts, { axis: int(0) });
    this.#made.set(key, made);
    return made;
  }

  /** A size as an i64 scalar. */
  scalar(d: Dim): Ref {
    const e = this.#emitter;
    return typeof d === "number" ? e.scalar("i64", d) : e.op("Squeeze", [this.dim(d), e.ints([0])]);
  }

  #compute(d: DimExpr): Ref {
    const e = this.#emitter;
    let sum: Ref | undefined;
    const plus = (x: Ref) => {
      sum = sum === undefined ? x : e.op("Add", [sum, x]);
    };
    for (const term of d.terms) {
      let product: Ref | undefined;
      for (const atom of term.atoms) {
        const factor = this.#atom(atom);
        product = product === undefined ? factor : e.op("Mul", [product, factor]);
      }
      plus(term.coefficient === 1 ? product! : e.op("Mul", [product!, e.ints([term.coefficient])]));
    }
    if (d.constant !== 0) plus(e.ints([d.constant]));
    return sum!;
  }

  #atom(atom: Atom): Ref {
    if (atom.kind === "symbol") return this.#symbol(atom.name);
    const e = this.#emitter;
    if (atom.kind === "scaled") {
      const factor = e.constant(tensorFrom("f32", [1], [atom.factor]));
      return e.via([this.dim(atom.a)], "i64", "f32", ([size]) => e.op("Floor", [e.op("Mul", [size, factor])]));
    }
    const { kind, a, b } = atom;
    const [x, y] = [this.dim(a), this.dim(b)];
    if (kind === "min" || kind === "max") return e.op(kind === "min" ? "Min" : "Max", [x, y]);
    const { min, max } = dimBounds(a);
    // ⌊a / b⌋ = −⌈−a / b⌉, whose operands are not negative.
    if (kind === "floordiv" && max <= 0)
      return e.op("Neg", [e.op("Div", [this.dim(dimAdd(dimSub(b, 1), dimNeg(a))), y])]);
    // For operands that are not negative, C's division and remainder are the ones of sizes; they import more simply.
    const plain = min >= 0;
    const remainder = () => e.op("Mod", [x, y], { fmod: int(plain ? 1 : 0) });
    if (kind === "mod") return remainder();
    return plain ? e.op("Div", [x, y]) : e.op("Div", [e.op("Sub", [x, remainder()]), y]);
  }

  /** Read in the graph that has the value whose shape shows it. */
  #symbol(name: string): Ref {
    const known = this.#made.get(name);
    if (known) return known;
    const source = this.#sources.get(name);
    if (!source && this.#outer) return this.#outer.#symbol(name);
    if (!source)
      throw new ModelError({
        message: `the size ${name} can't be computed: no input has it as a size of its own`,
        hint: `give an input an axis of size ${name}`,
      });
    const made = source();
    this.#made.set(name, made);
    return made;
  }
}
