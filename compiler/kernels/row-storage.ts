/**
 * How rows of weights lie in memory, and how a kernel widens them in registers. A group is what one step of the reduction reads of a row.
 */

import type { Elem, Expr } from "../../ir/loop.js";
import { and, bitcast, load, mul, shl } from "../../ir/loop-build.js";

export interface RowStorage {
  /** How one element lies. */
  readonly elem: Elem;
  /** Elements of a group. */
  readonly group: number;
  /** Group number `group` from the pointer, as f32x4. */
  readonly widen: (pointer: Expr, group: number) => Expr;
}

/** The power of two by which the bits of a half, read as those of an f32, are too small. */
const halfScale = 2 ** 112;

/** Sign and upper bits of an f32 that are a half's, where its sign stands in all bits above its own. */
const halfBits = 0x8fffe000;

const plain = (elem: Elem): RowStorage => ({
  elem,
  group: 4,
  widen: (p, g) => load("f32x4", elem, p, 0, 4 * g),
});

export const rowStorages = {
  f32: plain("f32"),
  bf16: plain("bf16"),
  f16: plain("f16"),
  /** Halves none of which is infinite or NaN. */
  finite16: {
    elem: "f16",
    group: 4,
    widen: (p, g) => mul(bitcast("f32x4", and(shl(load("i32x4", "i16", p, 0, 4 * g), 13), halfBits)), halfScale),
  },
} as const satisfies Readonly<Record<string, RowStorage>>;

export type RowStorageName = keyof typeof rowStorages;
