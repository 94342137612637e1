/**
 * Sums of rows of A in fixed point (row-arrange.ts) with quantised rows of B: fields of 16-bit lanes, pairs of which are multiplied and added by
 * one instruction. All of a run of groups is exact; a block's sum then takes its scale in f32.
 */

import type { Expr } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import { add, binary, convert, fma, load, minS, splat, sub } from "../../ir/loop-build.js";
import { lowBits } from "./row-arrange.js";
import { fieldsOf, type PlaneStorage } from "./row-storage.js";
import { apart } from "./tile.js";

/**
 * Groups whose sums stay below 2^31: an i32 lane takes 8 bits' pairs of products below 2 · 2^14 · 2^8 twice a group, fewer bits' smaller ones.
 */
const mostGroups = 64;

/** A block of B's rows and of A's. Pointers are moved past it. */
export interface FixedBlock {
  readonly a: readonly Expr[];
  readonly b: readonly Expr[];
  /** Groups of the block; undefined: one. */
  readonly groups: Expr | undefined;
  /** What the loop over blocks counts. */
  readonly counter: Expr;
}

/** Σ_k of the block for each row of A and of B, in units of A's row, by lanes. */
export function fixedSums(f: Block, storage: PlaneStorage, block: FixedBlock): readonly (readonly Expr[])[] {
  const { a, b, groups, counter } = block;
  const run = (count: Expr | undefined): readonly (readonly Expr[])[] => {
    const halves = a.map(() => b.map(() => [0, 1].map(() => f.mut("acc", splat("i32x4", 0)))));
    const group = (at: Expr): void => {
      const xs = b.map((x) => f.let("x", load("i16x8", "i16", x, 0)));
      apart(f, at, fieldsOf(storage), (v) => {
        const parts = a.map((x) => [0, 1].map((h) => f.let("part", load("i16x8", "i16", x, 0, 8 * (2 * v + h)))));
        for (const [t, x] of xs.entries()) {
          const w = f.let("w", storage.field(x, v));
          for (const [r, part] of parts.entries())
            for (const [h, acc] of halves[r]![t]!.entries()) {
              const dot = binary("dotI16", part[h]!, w);
              f.assign(acc, count === undefined && v === 0 ? dot : add(dot, acc));
            }
        }
      });
      for (const x of a) f.assign(x, add(x, storage.group * elemBytes.f32));
      for (const x of b) f.assign(x, add(x, 16));
    };
    if (count === undefined) group(counter);
    else f.for("g", 0, count, 1, group);
    const number = (x: Expr): Expr => convert("f32.from_i32S", x);
    return halves.map((list) =>
      list.map(([high, low]) => f.let("sum", fma(number(high!), splat("f32x4", 2 ** lowBits), number(low!)))),
    );
  };
  if (groups === undefined) return run(undefined);
  const sums = a.map(() => b.map(() => f.mut("sums", splat("f32x4", 0))));
  f.for("from", 0, groups, mostGroups, (from) => {
    const made = run(f.let("count", minS(sub(groups, from), mostGroups)));
    for (const [r, list] of sums.entries())
      for (const [t, sum] of list.entries()) f.assign(sum, add(sum, made[r]![t]!));
  });
  return sums;
}
