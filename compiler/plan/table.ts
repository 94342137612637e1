/** Slots of the dims table: where each size and offset that is not a constant stands at run time. */

import { type Dim, dimSymbols, dimText, foldDim } from "../../ir/dim.js";
import type { Expr, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";

/**
 * A value in f64 as the 32 bits of a slot: negative ones (strides of reversed axes) as signed, addresses from 2^31 on as unsigned.
 */
export const asSlot = (x: Expr): Expr => b.convert("i32.from_i64", b.convert("i64.from_f64S", x));

/** Slots of one entry. Expressions with equal text share a slot. */
export class EntryTable {
  readonly #first: number;
  readonly #tableOffset: number;
  readonly #slots = new Map<string, { readonly slot: number; readonly value: Dim }>();

  constructor(tableOffset: number, firstSlot: number) {
    this.#tableOffset = tableOffset;
    this.#first = firstSlot;
  }

  get count(): number {
    return this.#slots.size;
  }

  /** The slot of an expression; a new one the first time. */
  slot(value: Dim): number {
    const key = dimText(value);
    const known = this.#slots.get(key);
    if (known) return known.slot;
    const slot = this.#first + this.#slots.size;
    this.#slots.set(key, { slot, value });
    return slot;
  }

  address(slot: number): number {
    return this.#tableOffset + 4 * slot;
  }

  /** The value as an i32: a constant, or a load from its slot. */
  read(value: Dim): Expr {
    if (typeof value === "number") return b.i32(value);
    return b.load("i32", "i32", b.i32(this.address(this.slot(value))), b.i32(0));
  }

  /** Expressions that are not plain symbols, in order of their slots. */
  derived(): readonly { readonly slot: number; readonly value: Dim }[] {
    return [...this.#slots.values()].filter(({ value }) => !isSymbol(value));
  }

  /** Statements that recompute every derived slot that depends on one of the symbols, from the slots of the symbols. */
  refresh(symbols: ReadonlySet<string>): readonly Stmt[] {
    return this.derived()
      .filter(({ value }) => [...dimSymbols(value).keys()].some((s) => symbols.has(s)))
      .map(({ slot, value }) => b.store("i32", b.i32(this.address(slot)), b.i32(0), asSlot(this.inDoubles(value))));
  }

  /** The value in f64, from the slots of its symbols: exact below 2^53, and too large values stay recognisably large. */
  inDoubles(value: Dim): Expr {
    return foldDim<Expr>(value, {
      constant: (c) => b.f64(c),
      symbol: (s) => b.convert("f64.from_i32S", this.read(symbolDim(value, s.name))),
      add: (x, y) => b.add(x, y),
      mul: (x, y) => b.mul(x, y),
      op: (kind, x, y) => {
        switch (kind) {
          case "floordiv":
            return b.floor(b.div(x, y));
          case "mod":
            return b.sub(x, b.mul(y, b.floor(b.div(x, y))));
          case "min":
            return b.min(x, y);
          case "max":
            return b.max(x, y);
        }
      },
    });
  }
}

/** The symbol of that name, as the expression it stands in knows it. */
function symbolDim(within: Dim, name: string): Dim {
  const symbol = dimSymbols(within).get(name)!;
  return { kind: "dim", constant: 0, terms: [{ coefficient: 1, atoms: [symbol] }], key: name };
}

export function isSymbol(d: Dim): boolean {
  return typeof d !== "number" && dimSymbols(d).has(d.key);
}
