/**
 * How rows of weights lie in memory, and how kernels widen them in registers. A group is what one step of the reduction reads of a row.
 *
 * Floats are widened as they lie. Integers of 8, 4 or 2 bits are read 16 bytes at once, as four lanes of J = 32 / bits fields: plane v is
 * field v of each lane, left where it stands in its lane. So plane v of group g holds the elements g·4J + l·J + v times a power of two,
 * and A is arranged and scaled to meet them (row-arrange.ts). Where A is in fixed point, lanes have 16 bits instead, and fields are numbers.
 */

import type { Elem, Expr } from "../../ir/loop.js";
import { and, bitcast, convert, load, mul, shl, shrS, shrU } from "../../ir/loop-build.js";

interface Common {
  /** What pointers point to. */
  readonly elem: Elem;
  /** Elements of a group. */
  readonly group: number;
  /** Bits of an element. */
  readonly bits: number;
}

export interface FloatStorage extends Common {
  readonly kind: "float";
  /** Group number `group` from the pointer, as f32x4. */
  readonly widen: (pointer: Expr, group: number) => Expr;
}

export interface PlaneStorage extends Common {
  readonly kind: "planes";
  /** Plane v of the 16 bytes `x` (i32x4) as f32x4, times `factor(v)`. */
  readonly plane: (x: Expr, v: number) => Expr;
  readonly factor: (v: number) => number;
  /** Field v of the 16-bit lanes of `x`, as i16x8. */
  readonly field: (x: Expr, v: number) => Expr;
}

export type RowStorage = FloatStorage | PlaneStorage;

/** The power of two by which the bits of a half, read as those of an f32, are too small. */
const halfScale = 2 ** 112;

/** Sign and upper bits of an f32 that are a half's, where its sign stands in all bits above its own. */
const halfBits = 0x8fffe000;

const plain = (elem: Elem, bits: number): FloatStorage => ({
  kind: "float",
  elem,
  group: 4,
  bits,
  widen: (p, g) => load("f32x4", elem, p, 0, 4 * g),
});

const wide = (x: Expr): Expr => convert("f32.from_i32S", x);

/** Fields without a sign: masked where they stand, in the lower half of a lane, to which the upper one is moved first. */
function unsigned(bits: number): PlaneStorage {
  const half = 16 / bits;
  const place = (v: number) => bits * (v % half);
  return {
    kind: "planes",
    elem: "u8",
    group: 128 / bits,
    bits,
    plane: (x, v) => wide(and(v < half ? x : shrU(x, 16), (2 ** bits - 1) << place(v))),
    factor: (v) => 2 ** place(v),
    field: (x, v) => {
      const moved = v === 0 ? x : shrU(x, bits * v);
      return v === half - 1 ? moved : and(moved, 2 ** bits - 1);
    },
  };
}

const topByte = 0xff000000 | 0;

export const rowStorages = {
  f32: plain("f32", 32),
  bf16: plain("bf16", 16),
  f16: plain("f16", 16),
  /** Halves none of which is infinite or NaN. */
  finite16: {
    ...plain("f16", 16),
    widen: (p, g) => mul(bitcast("f32x4", and(shl(load("i32x4", "i16", p, 0, 4 * g), 13), halfBits)), halfScale),
  },
  /** Signs come with the top of a lane: all bytes are moved there. */
  i8: {
    kind: "planes",
    elem: "i8",
    group: 16,
    bits: 8,
    plane: (x, v) => wide(v === 3 ? and(x, topByte) : v === 0 ? shl(x, 24) : and(shl(x, 24 - 8 * v), topByte)),
    factor: () => 2 ** 24,
    field: (x, v) => shrS(v === 0 ? shl(x, 8) : x, 8),
  },
  u8: unsigned(8),
  u4: unsigned(4),
  u2: unsigned(2),
} as const satisfies Readonly<Record<string, RowStorage>>;

export type RowStorageName = keyof typeof rowStorages;

/** Vectors of a group. */
export const planesOf = (s: RowStorage): number => s.group / 4;

/** Fields of 16-bit lanes. */
export const fieldsOf = (s: PlaneStorage): number => 16 / s.bits;

/** Bytes of so many elements of a row. */
export const rowBytes = (s: RowStorage, elements: number): number => (elements * s.bits) / 8;
