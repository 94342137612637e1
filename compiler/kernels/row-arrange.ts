/**
 * A as products with rows of few bits read it (row-storage.ts), zeros beyond K. One of two forms for each row, of the same size:
 *
 *   fixed point, which integers multiply:     q = A[m, k] / unit rounded, high = (q + 2^14) >> 15, low = q − high · 2^15
 *     arranged[m][g][v][2][l] = high, low of A[m, g·8J + l·J + v]              J = 16 / bits fields, l < 8
 *   floats, divided by the factors of the planes:                            where unit is 0
 *     arranged[m][g][v][l] = A[m, g·4J + l·J + v] / factor(v)                J = 32 / bits fields, l < 4
 *   sums[m][block][l] = −zero · Σ A[m, k] / unit over those k of the block that lane l has
 *
 * `unit` is the power of two that puts the greatest |A[m, k]| in 2^28 … 2^29, so numbers within 2^-5 of it are exact, and all others to 2^-29
 * of it: a product's error from this is at most 2^-29 · max|A| · Σ|w|. Rows with ∞ or NaN, of zeros or of tiny numbers, and those that share
 * rows of B which are widened (row-widen.ts), are floats.
 *
 * Sums start with the zero points' share where weights have such: (w − zero) · a = w · a − zero · a.
 */

import { InternalError } from "../../ir/errors.js";
import type { Elem, Expr, LoopParam } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import type { Kernel } from "./kernel.js";
import { fieldsOf, type PlaneStorage, planesOf, type RowStorageName, rowStorages } from "./row-storage.js";
import { int, ints } from "./tile.js";

export interface RowArrangeSpec {
  readonly aElem: Elem;
  readonly b: RowStorageName;
  /** Which sums are made: none, those for zero points that are read with each block, or for one zero point of all, of this type. */
  readonly sums: "none" | "each" | Elem;
}

/** Rows of A in a chunk up to which narrow rows of B are widened in registers, for each two of them. */
export const fewRows = 4;

/** Greatest |q| is below two to the power of one more. */
const fixedBits = 28;
/** Bits of `low`. */
export const lowBits = 15;

/** One number as f32. */
export function numberAt(elem: Elem, pointer: Expr, index: B.Operand): Expr {
  if (elem === "f32" || elem === "f16" || elem === "bf16") return B.load("f32", elem, pointer, index);
  return B.convert("f32.from_i32S", B.load("i32", elem, pointer, index));
}

/**
 * Parameters: begin, end (rows), a, arranged, units (f32 for each row), m (rows in all), k, aRow, groups, blocks and groups of a block; with
 * sums: sums; with one zero point: zero.
 */
export function arrangeRows({ aElem, b, sums }: RowArrangeSpec): Kernel {
  const storage = rowStorages[b];
  if (storage.kind !== "planes") throw new InternalError("rows of A are arranged for planes only");
  const own = [
    int("begin"),
    int("end"),
    B.pointer("a", aElem),
    B.pointer("arranged", "f32"),
    B.pointer("units", "f32"),
    ...ints("m", "k", "aRow", "groups", "blocks", "perBlock"),
  ] as const;
  const sumsAt = B.pointer("sums", "f32");
  const zero = B.pointer("zero", sums === "none" || sums === "each" ? "f32" : sums);
  const extra: readonly LoopParam[] = sums === "none" ? [] : sums === "each" ? [sumsAt] : [sumsAt, zero];
  const name = `${aElem}_rowarrange_${b}${sums === "none" ? "" : sums === "each" ? "_sums" : `_sums_${sums}`}`;
  const fn = buildFunction(name, [...own, ...extra], undefined, (f) => {
    const p = B.named(own);
    const factor =
      sums === "none" || sums === "each" ? B.f32(-1) : f.let("factor", B.neg(numberAt(sums, B.param(zero), 0)));
    f.for("row", p.begin, p.end, 1, (row) => {
      const from = f.let("from", B.add(p.a, B.mul(B.mul(row, p.aRow), elemBytes[aElem])));
      const exponent = f.let("exponent", exponentOf(f, aElem, from, p.k));
      const isFixed = f.let("isFixed", fixes(exponent, p.m));
      const unit = f.let("unit", B.select(isFixed, power(B.sub(exponent, fixedBits)), 0));
      const scale = f.let("scale", B.select(isFixed, power(B.sub(2 * 127 + fixedBits, exponent)), 1));
      f.store("f32", p.units, row, unit);
      const to = f.mut("to", B.add(p.arranged, B.mul(B.mul(row, p.groups), storage.group * elemBytes.f32)));
      f.for("block", 0, p.blocks, 1, (block) => {
        const total = f.mut("total", B.splat("f32x4", 0));
        const first = f.let("first", B.mul(block, p.perBlock));
        f.for("g", first, B.minS(p.groups, B.add(first, p.perBlock)), 1, (g) => {
          const at = f.let("at", B.mul(g, storage.group));
          const group = (element: (k: Expr) => Expr) => {
            const parts = { storage, at, to, total, element };
            f.if(
              isFixed,
              () => fixedGroup(f, parts, scale),
              () => floatGroup(f, parts),
            );
          };
          f.if(
            B.leS(B.add(at, storage.group), p.k),
            () => group((k) => B.load("f32", aElem, from, k)),
            () => group((k) => B.select(B.ltS(k, p.k), B.load("f32", aElem, from, B.minS(k, B.sub(p.k, 1))), 0)),
          );
          f.assign(to, B.add(to, storage.group * elemBytes.f32));
        });
        if (sums !== "none") {
          const place = B.mul(B.add(B.mul(row, p.blocks), block), 4);
          f.store("f32", B.param(sumsAt), place, B.mul(total, B.splat("f32x4", factor)));
        }
      });
    });
  });
  return { fn, helpers: [] };
}

/** The biased exponent of the greatest |a[k]|: 255 for ∞ and NaN. */
function exponentOf(f: Block, elem: Elem, from: Expr, k: Expr): Expr {
  const greatest = f.mut("greatest", B.splat("i32x4", 0));
  const whole = f.let("whole", B.and(k, -4));
  const magnitude = (x: Expr, type: "i32" | "i32x4") => B.and(B.bitcast(type, x), 0x7fffffff);
  f.for("i", 0, whole, 4, (i) =>
    f.assign(greatest, B.maxS(greatest, magnitude(B.load("f32x4", elem, from, i), "i32x4"))),
  );
  const most = f.mut("most", B.reduceLanes("maxS", greatest));
  f.for("i", whole, k, 1, (i) => f.assign(most, B.maxS(most, magnitude(B.load("f32", elem, from, i), "i32"))));
  return B.shrU(most, 23);
}

/** Whether a row is fixed point: few rows, and both `unit` and 1 / unit are normal. */
const fixes = (exponent: Expr, m: Expr): Expr =>
  B.and(B.leS(m, fewRows), B.and(B.gtS(exponent, fixedBits), B.leS(exponent, 254)));

/** The f32 of this biased exponent. */
const power = (exponent: Expr): Expr => B.bitcast("f32", B.shl(exponent, 23));

interface Group {
  readonly storage: PlaneStorage;
  readonly at: Expr;
  readonly to: Expr;
  readonly total: Expr;
  readonly element: (k: Expr) => Expr;
}

function floatGroup(f: Block, { storage, at, to, total, element }: Group): void {
  const planes = planesOf(storage);
  for (let v = 0; v < planes; v++) {
    let x: Expr = B.splat("f32x4", f.let("x", element(B.add(at, v))));
    for (let l = 1; l < 4; l++) x = B.replaceLane(x, l, f.let("x", element(B.add(at, l * planes + v))));
    const whole = f.let("whole", x);
    f.store("f32", to, 0, B.mul(whole, 1 / storage.factor(v)), 4 * v);
    f.assign(total, B.add(total, whole));
  }
}

function fixedGroup(f: Block, { storage, at, to, total, element }: Group, scale: Expr): void {
  const fields = fieldsOf(storage);
  f.for("four", 0, storage.group / 4, 1, (four) => {
    const first = f.let("first", B.add(at, B.mul(four, 4)));
    let x: Expr = B.splat("f32x4", f.let("x", element(first)));
    for (let j = 1; j < 4; j++) x = B.replaceLane(x, j, f.let("x", element(B.add(first, j))));
    const scaled = f.let("scaled", B.mul(x, B.splat("f32x4", scale)));
    f.assign(total, B.add(total, scaled));
    const q = f.let("q", B.convert("i32.from_f32S", B.unary("nearest", scaled)));
    const high = f.let("high", B.shrS(B.add(q, 2 ** (lowBits - 1)), lowBits));
    const low = f.let("low", B.sub(q, B.shl(high, lowBits)));
    for (let j = 0; j < 4; j++) {
      // Element 4·four + j of the group is field v of lane l.
      const place = B.add(B.mul(four, 4), j);
      const v = B.remS(place, fields);
      const index = f.let("index", B.add(B.mul(v, 16), B.divS(place, fields)));
      f.store("i16", to, index, B.extractLane(high, j));
      f.store("i16", to, index, B.extractLane(low, j), 8);
    }
  });
}
