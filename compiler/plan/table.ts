/** Slots of the dims table: where each size and address that is not a constant stands at run time. */

import { type Dim, type DimSymbol, dimSubstitute, dimSymbols, dimText, symbolDim } from "../../ir/dim.js";
import { foldDim } from "../../ir/dim-read.js";
import { InternalError } from "../../ir/errors.js";
import type { Expr, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import { planRefused } from "../../runtime/format.js";
import { type Bases, regionOf } from "./placement.js";
import { isStageSymbol } from "./stages.js";

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
  /** Whether slots hold 64 bits, since addresses may need them. */
  readonly wide: boolean;
}

/** Words that a slot takes. */
export const slotWords = (wide: boolean): number => (wide ? 2 : 1);

/** The slots of one entry, in their places. */
export class EntryTable {
  readonly #layout: TableLayout;
  readonly #placed = new Map<string, Dim>();
  readonly #slots: ReadonlyMap<string, { readonly slot: number; readonly value: Dim }>;

  constructor(slots: Slots, layout: TableLayout) {
    this.#layout = layout;
    this.#slots = new Map(
      slots.values.map(
        (value, i) => [dimText(value), { slot: layout.firstSlot + i * slotWords(layout.wide), value }] as const,
      ),
    );
  }

  /** Whether addresses may have 64 bits. */
  get wide(): boolean {
    return this.#layout.wide;
  }

  /** The words of a slot. */
  get words(): number {
    return slotWords(this.#layout.wide);
  }

  /** The first value that neither a slot nor the memory can hold. */
  get beyond(): number {
    return this.#layout.wide ? 2 ** 53 : 2 ** 32 + planRefused;
  }

  /** The slot of a value, as the index of its first word. */
  slot(value: Dim): number {
    const known = this.#slots.get(dimText(value));
    if (known === undefined) throw new InternalError(`no slot was kept for ${dimText(value)}`);
    return known.slot;
  }

  /** The value as it stands in the manifest. */
  numberOrSlot(value: Dim): number | { readonly slot: number; readonly high?: number } {
    const known = this.#constant(value);
    if (known !== undefined) return known;
    const slot = this.slot(value);
    return this.#layout.wide ? { slot, high: slot + 1 } : { slot };
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

  /** The value: a constant, or a load from its slot. */
  read(value: Dim, type: "i32" | "ptr"): Expr {
    const { isSlot, number } = this.source(value);
    return isSlot ? this.load(b.ptr(number), type) : b.constant(type, number);
  }

  /** What a slot holds, as a size or as an address. */
  load(address: Expr, type: "i32" | "ptr"): Expr {
    const size = () => b.load("i32", "i32", address, b.i32(0));
    if (type === "i32") return size();
    if (!this.#layout.wide) return b.convert("ptr.from_i32U", size());
    return b.convert("ptr.from_i64", b.load("i64", "i64", address, b.i32(0)));
  }

  /**
   * Stores a value in f64 in the slot that is `index` slots behind one. Of 32 bits, negative ones (strides of reversed axes) are
   * signed, addresses from 2^31 on unsigned.
   */
  store(slot: number, index: b.Operand, x: Expr): Stmt {
    const whole = b.convert("i64.from_f64S", x);
    const at = b.ptr(this.address(slot));
    return this.#layout.wide
      ? b.store("i64", at, index, whole)
      : b.store("i32", at, index, b.convert("i32.from_i64", whole));
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
    return b.letIn(name, value, (x) => [this.store(slot, 0, x), b.assign(largest, b.binary("pmax", largest, x))]);
  }

  /** An offset in memory in f64. */
  #offset(value: Dim): Expr {
    if (!this.#layout.wide) return b.convert("f64.from_i32U", this.read(value, "i32"));
    const at = b.ptr(this.address(this.slot(value)));
    return b.convert("f64.from_i64S", b.load("i64", "i64", at, b.i32(0)));
  }

  /** The value in f64, from the slots of its symbols: exact below 2^53, and too large values stay recognisably large. */
  inDoubles(value: Dim): Expr {
    return foldDim<Expr>(this.placed(value), {
      constant: (c) => b.f64(c),
      symbol: (s) =>
        isStageSymbol(s.name) ? this.#offset(symbolDim(s)) : b.convert("f64.from_i32S", this.read(symbolDim(s), "i32")),
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
