/** Slots of the dims table: where each size and address that is not a constant stands at run time. */

import { type Dim, type DimSymbol, dimSubstitute, dimSymbols, dimText, symbolDim } from "../../ir/dim.js";
import { foldDim } from "../../ir/dim-read.js";
import { InternalError } from "../../ir/errors.js";
import type { Expr, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import { type Bases, regionOf } from "./placement.js";
import { isStageSymbol } from "./stages.js";

/**
 * A value in f64 as the 32 bits of a slot: negative ones (strides of reversed axes) as signed, addresses from 2^31 on as unsigned.
 */
export const asSlot = (x: Expr): Expr => b.convert("i32.from_i64", b.convert("i64.from_f64S", x));

const sizesIn = (d: Dim): DimSymbol[] => [...dimSymbols(d).values()].filter((s) => regionOf(s) === undefined);

/** The expressions of one entry that need a slot, before it is known where the table and the regions lie. */
export class Slots {
  readonly #values = new Map<string, Dim>();

  /** Expressions with equal text share a slot; constants, and addresses that will be, have none. */
  add(value: Dim): void {
    const key = dimText(value);
    if (this.#values.has(key)) return;
    if (sizesIn(value).length === 0) return;
    this.#values.set(key, value);
    this.addSymbols(value);
  }

  /** Slots for the sizes that an expression is made of, but for the counters of loops. */
  addSymbols(value: Dim, loops?: ReadonlySet<string>): void {
    for (const s of sizesIn(value)) if (!loops?.has(s.name)) this.add(symbolDim(s));
  }

  get values(): readonly Dim[] {
    return [...this.#values.values()];
  }
}

export interface TableLayout {
  /** Byte address of the table. */
  readonly offset: number;
  /** The entry's first slot in it. */
  readonly firstSlot: number;
  readonly bases: Bases;
}

/** The slots of one entry, in their places. */
export class EntryTable {
  readonly #layout: TableLayout;
  readonly #placed = new Map<string, Dim>();
  readonly #slots: ReadonlyMap<string, { readonly slot: number; readonly value: Dim }>;

  constructor(slots: Slots, layout: TableLayout) {
    this.#layout = layout;
    this.#slots = new Map(
      slots.values.map((value, i) => [dimText(value), { slot: layout.firstSlot + i, value }] as const),
    );
  }

  slot(value: Dim): number {
    const known = this.#slots.get(dimText(value));
    if (known === undefined) throw new InternalError(`no slot was kept for ${dimText(value)}`);
    return known.slot;
  }

  /** The value as it stands in the manifest. */
  numberOrSlot(value: Dim): number | { readonly slot: number } {
    const known = this.#constant(value);
    return known ?? { slot: this.slot(value) };
  }

  address(slot: number): number {
    return this.#layout.offset + 4 * slot;
  }

  /** A constant, or the address of the slot where the value stands. */
  source(value: Dim): { readonly isSlot: boolean; readonly number: number } {
    const known = this.#constant(value);
    return known !== undefined
      ? { isSlot: false, number: known }
      : { isSlot: true, number: this.address(this.slot(value)) };
  }

  /** The value as an i32: a constant, or a load from its slot. */
  read(value: Dim): Expr {
    const { isSlot, number } = this.source(value);
    return isSlot ? b.load("i32", "i32", b.i32(number), b.i32(0)) : b.i32(number);
  }

  #constant(value: Dim): number | undefined {
    if (typeof value === "number") return value;
    const placed = this.placed(value);
    return typeof placed === "number" ? placed : undefined;
  }

  /** The expression with the regions' addresses in it. */
  placed(value: Dim): Dim {
    const key = dimText(value);
    const known = this.#placed.get(key);
    if (known !== undefined) return known;
    const made = dimSubstitute(value, (s) => {
      const region = regionOf(s);
      return region && this.#layout.bases[region];
    });
    this.#placed.set(key, made);
    return made;
  }

  /** Expressions that are not plain symbols, in order of their slots. */
  derived(): readonly { readonly slot: number; readonly value: Dim }[] {
    return [...this.#slots.values()].filter(({ value }) => !isSymbol(value));
  }

  /** Stores a value in f64 in a slot, and keeps the largest of those stored so. */
  keep(slot: number, value: Expr, largest: Expr, name: string): readonly Stmt[] {
    return b.letIn(name, value, (x) => [
      b.store("i32", b.i32(this.address(slot)), b.i32(0), asSlot(x)),
      b.assign(largest, b.binary("pmax", largest, x)),
    ]);
  }

  /** The value in f64, from the slots of its symbols: exact below 2^53, and too large values stay recognisably large. */
  inDoubles(value: Dim): Expr {
    return foldDim<Expr>(this.placed(value), {
      constant: (c) => b.f64(c),
      symbol: (s) => b.convert(isStageSymbol(s.name) ? "f64.from_i32U" : "f64.from_i32S", this.read(symbolDim(s))),
      add: (x, y) => b.add(x, y),
      mul: (x, y) => b.mul(x, y),
      op: ({ kind }, x, y) => {
        // Only sizes that a requirement then refuses divide by less than 1; the quotient is a number even so.
        const divisor = () => (y.kind === "const" ? y : b.max(y, b.f64(1)));
        switch (kind) {
          case "floordiv":
            return b.floor(b.div(x, divisor()));
          case "mod":
            return b.sub(x, b.mul(divisor(), b.floor(b.div(x, divisor()))));
          case "min":
            return b.min(x, y);
          case "max":
            return b.max(x, y);
        }
      },
      // As f32 computes it: converting rounds the size, and the f64 product of two f32 is exact until it is rounded.
      scaled: (x, factor) => {
        const single = (v: Expr) => b.convert("f64.from_f32", b.convert("f32.from_f64", v));
        return b.floor(single(b.mul(single(x), b.f64(factor))));
      },
    });
  }
}

export function isSymbol(d: Dim): boolean {
  return typeof d !== "number" && dimSymbols(d).has(d.key);
}
