/**
 * Typing rules of Loop IR, each written once: inference (loop-infer.ts), the parser and the emitter read these tables.
 * A table maps an operand type to the result type; an absent pair is ill-typed.
 */

import type {
  BinaryOp,
  CompareOp,
  ConvertOp,
  Elem,
  EngineFact,
  HostFn,
  LoopType,
  MathFn,
  ReduceOp,
  ScalarKind,
  UnaryOp,
  VectorKind,
} from "./loop.js";

export interface LaneInfo {
  readonly lanes: 2 | 4 | 8 | 16;
  readonly laneBytes: 1 | 2 | 4 | 8;
  /** Register kind of one lane: the operand of `splat`, the result of `extractLane`. */
  readonly scalar: ScalarKind;
}

export const laneInfo: Readonly<Record<VectorKind, LaneInfo>> = {
  i8x16: { lanes: 16, laneBytes: 1, scalar: "i32" },
  i16x8: { lanes: 8, laneBytes: 2, scalar: "i32" },
  i32x4: { lanes: 4, laneBytes: 4, scalar: "i32" },
  i64x2: { lanes: 2, laneBytes: 8, scalar: "i64" },
  f32x4: { lanes: 4, laneBytes: 4, scalar: "f32" },
  f64x2: { lanes: 2, laneBytes: 8, scalar: "f64" },
  mask8x16: { lanes: 16, laneBytes: 1, scalar: "mask" },
  mask16x8: { lanes: 8, laneBytes: 2, scalar: "mask" },
  mask32x4: { lanes: 4, laneBytes: 4, scalar: "mask" },
  mask64x2: { lanes: 2, laneBytes: 8, scalar: "mask" },
};

export const scalarKinds = ["i32", "i64", "f32", "f64", "mask", "ptr"] as const satisfies readonly ScalarKind[];
export const vectorKinds = Object.keys(laneInfo) as readonly VectorKind[];

export function isVector(type: LoopType): type is VectorKind {
  return type in laneInfo;
}

export function lanesOf(type: LoopType): number {
  return isVector(type) ? laneInfo[type].lanes : 1;
}

export function scalarOf(type: LoopType): ScalarKind {
  return isVector(type) ? laneInfo[type].scalar : type;
}

/** Operand type → result type. */
export type TypeMap = Readonly<Partial<Record<LoopType, LoopType>>>;

function same(...types: readonly LoopType[]): TypeMap {
  return Object.fromEntries(types.map((t) => [t, t]));
}

const ints = ["i32", "i64", "i8x16", "i16x8", "i32x4", "i64x2"] as const;
const floats = ["f32", "f64", "f32x4", "f64x2"] as const;
const masks = ["mask", "mask8x16", "mask16x8", "mask32x4", "mask64x2"] as const;
/** Float types to themselves. */
export const floatOp = same(...floats);
const scalarInt = same("i32", "i64");
const narrowVec = same("i8x16", "i16x8");
const minMaxSigned = same(...ints);
const minMaxUnsigned = same("i32", "i64", "i8x16", "i16x8", "i32x4");
const bitwise = same(...ints, ...masks);
const shift = same(...ints);
const widen: TypeMap = { i8x16: "i16x8", i16x8: "i32x4", i32x4: "i64x2" };
const narrow: TypeMap = { i16x8: "i8x16", i32x4: "i16x8" };

export const unaryResult: Readonly<Record<UnaryOp, TypeMap>> = {
  neg: same(...ints, ...floats),
  abs: same(...ints, ...floats),
  sqrt: floatOp,
  floor: floatOp,
  ceil: floatOp,
  trunc: floatOp,
  nearest: floatOp,
  not: bitwise,
  clz: scalarInt,
  ctz: scalarInt,
  popcnt: same("i32", "i64", "i8x16"),
};

/** Both operands have the key's type, but for the shifts, whose right operand is i32. */
export const binaryResult: Readonly<Record<BinaryOp, TypeMap>> = {
  add: same(...ints, ...floats, "ptr"),
  sub: same(...ints, ...floats, "ptr"),
  mul: same("i32", "i64", "i16x8", "i32x4", "i64x2", ...floats, "ptr"),
  div: floatOp,
  divS: scalarInt,
  divU: scalarInt,
  remS: scalarInt,
  remU: scalarInt,
  min: floatOp,
  max: floatOp,
  minS: minMaxSigned,
  minU: minMaxUnsigned,
  maxS: minMaxSigned,
  maxU: minMaxUnsigned,
  pmin: floatOp,
  pmax: floatOp,
  copysign: floatOp,
  and: bitwise,
  or: bitwise,
  xor: bitwise,
  shl: shift,
  shrS: shift,
  shrU: shift,
  addSatS: narrowVec,
  addSatU: narrowVec,
  subSatS: narrowVec,
  subSatU: narrowVec,
  avgrU: narrowVec,
  dotI16: { i16x8: "i32x4" },
  dotI8: { i8x16: "i32x4" },
  narrowS: narrow,
  narrowU: narrow,
  extmulLowS: widen,
  extmulHighS: widen,
  extmulLowU: widen,
  extmulHighU: widen,
  q15mulr: same("i16x8"),
  swizzle: same("i8x16"),
};

export function isShift(op: BinaryOp): boolean {
  return op === "shl" || op === "shrS" || op === "shrU";
}

const maskTypes: TypeMap = {
  i32: "mask",
  i64: "mask",
  f32: "mask",
  f64: "mask",
  ptr: "mask",
  i8x16: "mask8x16",
  i16x8: "mask16x8",
  i32x4: "mask32x4",
  f32x4: "mask32x4",
  i64x2: "mask64x2",
  f64x2: "mask64x2",
};

function toMask(...types: readonly LoopType[]): TypeMap {
  return Object.fromEntries(types.map((t) => [t, maskTypes[t]]));
}

const equality = toMask(...ints, ...floats, "ptr");
const signed = toMask(...ints);
const unsigned = toMask("i32", "i64", "i8x16", "i16x8", "i32x4", "ptr");
const floatCompare = toMask(...floats);

export const compareResult: Readonly<Record<CompareOp, TypeMap>> = {
  eq: equality,
  ne: equality,
  ltS: signed,
  leS: signed,
  gtS: signed,
  geS: signed,
  ltU: unsigned,
  leU: unsigned,
  gtU: unsigned,
  geU: unsigned,
  lt: floatCompare,
  le: floatCompare,
  gt: floatCompare,
  ge: floatCompare,
};

const fromMask: TypeMap = { mask: "i32", mask8x16: "i8x16", mask16x8: "i16x8", mask32x4: "i32x4", mask64x2: "i64x2" };

/** All but `bitcast`, whose result is chosen freely among the types of equal width. */
export const convertResult: Readonly<Record<Exclude<ConvertOp, "bitcast">, TypeMap>> = {
  "f32.from_i32S": { i32: "f32", i32x4: "f32x4" },
  "f32.from_i32U": { i32: "f32", i32x4: "f32x4" },
  "f32.from_i64S": { i64: "f32" },
  "f32.from_i64U": { i64: "f32" },
  "f64.from_i32S": { i32: "f64", i32x4: "f64x2" },
  "f64.from_i32U": { i32: "f64", i32x4: "f64x2" },
  "f64.from_i64S": { i64: "f64" },
  "f64.from_i64U": { i64: "f64" },
  "f64.from_f32": { f32: "f64", f32x4: "f64x2" },
  "f32.from_f64": { f64: "f32", f64x2: "f32x4" },
  "i32.from_f32S": { f32: "i32", f32x4: "i32x4" },
  "i32.from_f32U": { f32: "i32", f32x4: "i32x4" },
  "i32.from_f64S": { f64: "i32", f64x2: "i32x4" },
  "i32.from_f64U": { f64: "i32", f64x2: "i32x4" },
  "i64.from_f32S": { f32: "i64" },
  "i64.from_f32U": { f32: "i64" },
  "i64.from_f64S": { f64: "i64" },
  "i64.from_f64U": { f64: "i64" },
  "i64.from_i32S": { i32: "i64" },
  "i64.from_i32U": { i32: "i64" },
  "i32.from_i64": { i64: "i32" },
  "ptr.from_i32S": { i32: "ptr" },
  "ptr.from_i32U": { i32: "ptr" },
  "ptr.from_i64": { i64: "ptr" },
  "ptr.from_f64U": { f64: "ptr" },
  "i32.extend8S": { i32: "i32" },
  "i32.extend16S": { i32: "i32" },
  "i32.from_mask": fromMask,
  "mask.from_i32": { i32: "mask", i8x16: "mask8x16", i16x8: "mask16x8", i32x4: "mask32x4" },
  "mask.from_i64": { i64: "mask", i64x2: "mask64x2" },
  extendLowS: widen,
  extendHighS: widen,
  extendLowU: widen,
  extendHighU: widen,
  extaddPairwiseS: { i8x16: "i16x8", i16x8: "i32x4" },
  extaddPairwiseU: { i8x16: "i16x8", i16x8: "i32x4" },
  "f16.round": { f32: "f32", f32x4: "f32x4" },
  "bf16.round": { f32: "f32", f32x4: "f32x4" },
};

export const convertOps = [...Object.keys(convertResult), "bitcast"] as readonly ConvertOp[];

export const engineFacts: readonly EngineFact[] = ["fma", "dots"];

export const hostParams: Readonly<Record<HostFn, readonly LoopType[]>> = {
  poll: [],
  reserve: ["f64"],
  read: ["i32", "ptr", "i32", "ptr"],
  write: ["i32", "ptr", "i32", "ptr"],
  exit: ["i32"],
};

export const mathArity: Readonly<Record<MathFn, 1 | 2>> = {
  exp: 1,
  expm1: 1,
  log: 1,
  log1p: 1,
  sin: 1,
  cos: 1,
  tan: 1,
  asin: 1,
  acos: 1,
  atan: 1,
  sinh: 1,
  cosh: 1,
  tanh: 1,
  asinh: 1,
  acosh: 1,
  atanh: 1,
  erf: 1,
  sigmoid: 1,
  pow: 2,
  atan2: 2,
  fmod: 2,
  exp2: 1,
  log2: 1,
  cbrt: 1,
  gelu: 1,
  geluGrad: 1,
  lgamma: 1,
};

const reduceFloat: TypeMap = { f32x4: "f32", f64x2: "f64" };
const reduceInt: TypeMap = { i32x4: "i32", i64x2: "i64" };
const reduceMask: TypeMap = { mask8x16: "mask", mask16x8: "mask", mask32x4: "mask", mask64x2: "mask" };
const reduceWide: TypeMap = { ...reduceFloat, ...reduceInt };

export const reduceResult: Readonly<Record<ReduceOp, TypeMap>> = {
  add: reduceWide,
  mul: reduceWide,
  min: reduceFloat,
  max: reduceFloat,
  minS: reduceInt,
  minU: { i32x4: "i32" },
  maxS: reduceInt,
  maxU: { i32x4: "i32" },
  and: { ...reduceInt, ...reduceMask },
  or: { ...reduceInt, ...reduceMask },
};

/** Elements a register type may be loaded from and stored to; the first is its own. */
export const loadElems: Readonly<Record<LoopType, readonly Elem[]>> = {
  i32: ["i32", "u32", "i8", "u8", "i16", "u16"],
  i64: ["i64", "u64", "i32", "u32", "i8", "u8", "i16", "u16"],
  f32: ["f32", "f16", "bf16"],
  f64: ["f64", "f32"],
  i8x16: ["i8", "u8"],
  i16x8: ["i16", "u16", "i8", "u8"],
  i32x4: ["i32", "u32", "i8", "u8", "i16", "u16"],
  i64x2: ["i64", "u64", "i32", "u32"],
  f32x4: ["f32", "f16", "bf16"],
  f64x2: ["f64", "f32"],
  mask: [],
  ptr: [],
  mask8x16: [],
  mask16x8: [],
  mask32x4: [],
  mask64x2: [],
};

/** The register kind in which an element computes: f16 in f32, u8 in i32. */
export const elemKind: Readonly<Record<Elem, "i32" | "i64" | "f32" | "f64">> = {
  i8: "i32",
  u8: "i32",
  i16: "i32",
  u16: "i32",
  i32: "i32",
  u32: "i32",
  i64: "i64",
  u64: "i64",
  f16: "f32",
  bf16: "f32",
  f32: "f32",
  f64: "f64",
};
