/**
 * A as products with rows of few bits read it (row-storage.ts): divided by the factors of the planes, zeros beyond K.
 *
 *   arranged[m][g][v][l] = A[m, g·4J + l·J + v] / factor(v)
 *   sums[m][block][l]    = −zero · Σ A[m, k] over those k of the block that lane l has
 *
 * Sums start with the latter where weights have a zero point: (w − zero) · a = w · a − zero · a.
 */

import { InternalError } from "../../ir/errors.js";
import type { Elem, Expr, LoopParam } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import type { Kernel } from "./gemm.js";
import { planesOf, type RowStorageName, rowStorages } from "./row-storage.js";
import { int, ints } from "./tile.js";

export interface RowArrangeSpec {
  readonly aElem: Elem;
  readonly b: RowStorageName;
  /** Which sums are made: none, those for zero points that are read with each block, or for one zero point of all, of this type. */
  readonly sums: "none" | "each" | Elem;
}

/** One number as f32. */
export function numberAt(elem: Elem, pointer: Expr, index: B.Operand): Expr {
  if (elem === "f32" || elem === "f16" || elem === "bf16") return B.load("f32", elem, pointer, index);
  return B.convert("f32.from_i32S", B.load("i32", elem, pointer, index));
}

/**
 * Parameters: begin, end (rows), a, arranged, k, aRow, groups; with sums: sums, blocks and groups of a block; with one zero point: zero.
 */
export function arrangeRows({ aElem, b, sums }: RowArrangeSpec): Kernel {
  const planes = planesOf(rowStorages[b]);
  const storage = rowStorages[b];
  if (storage.kind !== "planes") throw new InternalError("rows of A are arranged for planes only");
  const own = [
    int("begin"),
    int("end"),
    B.pointer("a", aElem),
    B.pointer("arranged", "f32"),
    ...ints("k", "aRow", "groups", "blocks", "perBlock"),
  ] as const;
  const sumsAt = B.pointer("sums", "f32");
  const zero = B.pointer("zero", sums === "none" || sums === "each" ? "f32" : sums);
  const extra: readonly LoopParam[] = sums === "none" ? [] : sums === "each" ? [sumsAt] : [sumsAt, zero];
  const name = `${aElem}_rowarrange_${b}${sums === "none" ? "" : sums === "each" ? "_sums" : `_sums_${sums}`}`;
  const fn = buildFunction(name, [...own, ...extra], undefined, (f) => {
    const p = B.named(own);
    const factor =
      sums === "none" || sums === "each" ? B.f32(-1) : f.let("factor", B.neg(numberAt(sums, B.param(zero), 0)));
    f.for("m", p.begin, p.end, 1, (m) => {
      const from = f.let("from", B.add(p.a, B.mul(B.mul(m, p.aRow), elemBytes[aElem])));
      const to = f.mut("to", B.add(p.arranged, B.mul(B.mul(m, p.groups), storage.group * elemBytes.f32)));
      f.for("block", 0, p.blocks, 1, (block) => {
        const total = f.mut("total", B.splat("f32x4", 0));
        const first = f.let("first", B.mul(block, p.perBlock));
        f.for("g", first, B.minS(p.groups, B.add(first, p.perBlock)), 1, (g) => {
          const at = f.let("at", B.mul(g, storage.group));
          const group = (element: (k: Expr) => Expr) => arrangeGroup(f, { planes, storage, at, to, total, element });
          f.if(
            B.leS(B.add(at, storage.group), p.k),
            () => group((k) => B.load("f32", aElem, from, k)),
            () => group((k) => B.select(B.ltS(k, p.k), B.load("f32", aElem, from, B.minS(k, B.sub(p.k, 1))), 0)),
          );
          f.assign(to, B.add(to, storage.group * elemBytes.f32));
        });
        if (sums !== "none") {
          const place = B.mul(B.add(B.mul(m, p.blocks), block), 4);
          f.store("f32", B.param(sumsAt), place, B.mul(total, B.splat("f32x4", factor)));
        }
      });
    });
  });
  return { fn, helpers: [] };
}

interface Group {
  readonly planes: number;
  readonly storage: { readonly factor: (v: number) => number };
  readonly at: Expr;
  readonly to: Expr;
  readonly total: Expr;
  readonly element: (k: Expr) => Expr;
}

function arrangeGroup(f: Block, { planes, storage, at, to, total, element }: Group): void {
  for (let v = 0; v < planes; v++) {
    let x: Expr = B.splat("f32x4", f.let("x", element(B.add(at, v))));
    for (let l = 1; l < 4; l++) x = B.replaceLane(x, l, f.let("x", element(B.add(at, l * planes + v))));
    const whole = f.let("whole", x);
    f.store("f32", to, 0, B.mul(whole, 1 / storage.factor(v)), 4 * v);
    f.assign(total, B.add(total, whole));
  }
}
