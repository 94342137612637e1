/**
 * Names of the instructions for Loop IR operations that map to one. Where an operation needs several at some type (scalar integer `minS`, …)
 * there is no name, and emit-expr.ts builds it.
 */

import type { BinaryOp, CompareOp, ConvertOp, LoopType, ScalarKind, UnaryOp, VectorKind } from "../../ir/loop.js";
import { isVector } from "../../ir/loop-types.js";
import { type OperationName, operation, type WasmType } from "./instructions.js";

type ScalarType = Exclude<WasmType, "v128">;
type Lanes = "i8x16" | "i16x8" | "i32x4" | "i64x2" | "f32x4" | "f64x2";

/** Beginning of an instruction's name for scalars; masks use integers. None is a ptr when instructions are chosen (pointers.ts). */
export const scalarType: Readonly<Record<ScalarKind, ScalarType>> = {
  i32: "i32",
  i64: "i64",
  f32: "f32",
  f64: "f64",
  mask: "i32",
  ptr: "i64",
};

export const wasmType: Readonly<Record<LoopType, WasmType>> = {
  ...scalarType,
  i8x16: "v128",
  i16x8: "v128",
  i32x4: "v128",
  i64x2: "v128",
  f32x4: "v128",
  f64x2: "v128",
  mask8x16: "v128",
  mask16x8: "v128",
  mask32x4: "v128",
  mask64x2: "v128",
};

/** Beginning of an instruction's name for vectors; masks use the integer instructions of their width. */
export const lanesType: Readonly<Record<VectorKind, Lanes>> = {
  i8x16: "i8x16",
  i16x8: "i16x8",
  i32x4: "i32x4",
  i64x2: "i64x2",
  f32x4: "f32x4",
  f64x2: "f64x2",
  mask8x16: "i8x16",
  mask16x8: "i16x8",
  mask32x4: "i32x4",
  mask64x2: "i64x2",
};

const shapeOf = (type: LoopType): string => (isVector(type) ? lanesType[type] : scalarType[type]);

const isScalarInt = (t: LoopType) => t === "i32" || t === "i64";

/** `addSatS` → `add_sat_s`. */
const spelled = (op: string) => op.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);

/** The instruction of a type's name and the operation's. */
function named(type: LoopType, op: string): OperationName {
  return operation(`${shapeOf(type)}.${op}`).name as OperationName;
}

/** Undefined where one instruction does not do it: integer scalar neg and abs, scalar not. */
export function unaryCode(op: UnaryOp, type: LoopType): OperationName | undefined {
  if (op === "not") return isVector(type) ? "v128.not" : undefined;
  if ((op === "neg" || op === "abs") && isScalarInt(type)) return undefined;
  return named(type, op);
}

/** Undefined for scalar and i64x2 minima and maxima, vector copysign. */
export function binaryCode(op: BinaryOp, type: LoopType): OperationName | undefined {
  const vector = isVector(type);
  switch (op) {
    case "and":
    case "or":
    case "xor":
      return vector ? `v128.${op}` : named(type, op);
    case "minS":
    case "minU":
    case "maxS":
    case "maxU":
      return vector && type !== "i64x2" ? named(type, spelled(op)) : undefined;
    case "min":
    case "max":
    case "pmin":
    case "pmax":
      return vector ? named(type, op) : undefined;
    case "copysign":
      return vector ? undefined : named(type, op);
    case "dotI8":
      return undefined;
    case "dotI16":
      return "i32x4.dot_i16x8_s";
    case "narrowS":
      return type === "i16x8" ? "i8x16.narrow_i16x8_s" : "i16x8.narrow_i32x4_s";
    case "narrowU":
      return type === "i16x8" ? "i8x16.narrow_i16x8_u" : "i16x8.narrow_i32x4_u";
    case "extmulLowS":
    case "extmulHighS":
    case "extmulLowU":
    case "extmulHighU":
      return named(wider(type), halves("extmul", op, type));
    case "q15mulr":
      return "i16x8.q15mulr_sat_s";
    default:
      return named(type, spelled(op));
  }
}

export function compareCode(op: CompareOp, type: LoopType): OperationName {
  return named(type, spelled(op));
}

const wider = (type: LoopType): VectorKind => (type === "i8x16" ? "i16x8" : type === "i16x8" ? "i32x4" : "i64x2");

/** `extendLowS` of i8x16 → `extend_low_i8x16_s`. */
function halves(name: "extend" | "extmul", op: string, from: LoopType): string {
  return `${name}_${op.includes("Low") ? "low" : "high"}_${from}_${signOf(op)}`;
}

const signOf = (op: string): "s" | "u" => (op.at(-1) === "U" ? "u" : "s");

/** Undefined for conversions that are no instruction (mask, half precision, bitcasts between vectors). */
export function convertCode(op: ConvertOp, from: LoopType, to: LoopType): OperationName | undefined {
  const sign = signOf(op);
  switch (op) {
    case "f32.from_i32S":
    case "f32.from_i32U":
      return from === "i32" ? `f32.convert_i32_${sign}` : `f32x4.convert_i32x4_${sign}`;
    case "f64.from_i32S":
    case "f64.from_i32U":
      return from === "i32" ? `f64.convert_i32_${sign}` : `f64x2.convert_low_i32x4_${sign}`;
    case "f32.from_i64S":
    case "f32.from_i64U":
      return `f32.convert_i64_${sign}`;
    case "f64.from_i64S":
    case "f64.from_i64U":
      return `f64.convert_i64_${sign}`;
    case "f64.from_f32":
      return from === "f32" ? "f64.promote_f32" : "f64x2.promote_low_f32x4";
    case "f32.from_f64":
      return from === "f64" ? "f32.demote_f64" : "f32x4.demote_f64x2_zero";
    case "i32.from_f32S":
    case "i32.from_f32U":
      return from === "f32" ? `i32.trunc_sat_f32_${sign}` : `i32x4.trunc_sat_f32x4_${sign}`;
    case "i32.from_f64S":
    case "i32.from_f64U":
      return from === "f64" ? `i32.trunc_sat_f64_${sign}` : `i32x4.trunc_sat_f64x2_${sign}_zero`;
    case "i64.from_f32S":
    case "i64.from_f32U":
      return `i64.trunc_sat_f32_${sign}`;
    case "i64.from_f64S":
    case "i64.from_f64U":
      return `i64.trunc_sat_f64_${sign}`;
    case "i64.from_i32S":
    case "i64.from_i32U":
      return `i64.extend_i32_${sign}`;
    case "i32.from_i64":
      return "i32.wrap_i64";
    case "i32.extend8S":
      return "i32.extend8_s";
    case "i32.extend16S":
      return "i32.extend16_s";
    case "extendLowS":
    case "extendHighS":
    case "extendLowU":
    case "extendHighU":
      return named(wider(from), halves("extend", op, from));
    case "extaddPairwiseS":
    case "extaddPairwiseU":
      return named(wider(from), `extadd_pairwise_${from}_${sign}`);
    case "bitcast":
      return reinterpretCode(from, to);
    case "i32.from_mask":
    case "mask.from_i32":
    case "mask.from_i64":
    case "f16.round":
    case "bf16.round":
    case "ptr.from_i32S":
    case "ptr.from_i32U":
    case "ptr.from_i64":
    case "ptr.from_f64U":
      return undefined;
    default:
      return op satisfies never;
  }
}

function reinterpretCode(from: LoopType, to: LoopType): OperationName | undefined {
  if (isVector(from) || isVector(to)) return undefined;
  const [a, b] = [scalarType[from], scalarType[to]];
  return a === b ? undefined : named(to, `reinterpret_${a}`);
}
