/**
 * Names of WebAssembly instructions, as binaryen spells them, for Loop IR operations that map to one instruction. Where an
 * operation needs several instructions at some type (scalar integer `minS`, …) there is no name and emit-expr.ts builds it.
 */

import type { BinaryOp, CompareOp, ConvertOp, LoopType, UnaryOp } from "../../ir/loop.js";
import { isVector } from "../../ir/loop-types.js";
import type { WasmType } from "./module.js";

/** None is a ptr when instructions are chosen (pointers.ts). */
export const wasmType: Readonly<Record<LoopType, WasmType>> = {
  i32: "i32",
  i64: "i64",
  f32: "f32",
  f64: "f64",
  mask: "i32",
  ptr: "i64",
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

/** Suffix of an instruction's name; masks use the integer instructions of their width. */
export const suffix: Readonly<Record<LoopType, string>> = {
  i32: "Int32",
  i64: "Int64",
  f32: "Float32",
  f64: "Float64",
  mask: "Int32",
  ptr: "Int64",
  i8x16: "VecI8x16",
  i16x8: "VecI16x8",
  i32x4: "VecI32x4",
  i64x2: "VecI64x2",
  f32x4: "VecF32x4",
  f64x2: "VecF64x2",
  mask8x16: "VecI8x16",
  mask16x8: "VecI16x8",
  mask32x4: "VecI32x4",
  mask64x2: "VecI64x2",
};

const isScalarInt = (t: LoopType) => t === "i32" || t === "i64";
const capital = (s: string) => s.slice(0, 1).toUpperCase() + s.slice(1);

/** Undefined where one instruction does not do it: integer scalar neg and abs, scalar not. */
export function unaryCode(op: UnaryOp, type: LoopType): string | undefined {
  if (op === "not") return isVector(type) ? "NotVec128" : undefined;
  if ((op === "neg" || op === "abs") && isScalarInt(type)) return undefined;
  return capital(op) + suffix[type];
}

/** Undefined for scalar and i64x2 minima and maxima, vector copysign. */
export function binaryCode(op: BinaryOp, type: LoopType): string | undefined {
  const vector = isVector(type);
  switch (op) {
    case "and":
    case "or":
    case "xor":
      return capital(op) + (vector ? "Vec128" : suffix[type]);
    case "minS":
    case "minU":
    case "maxS":
    case "maxU":
      return vector && type !== "i64x2" ? capital(op) + suffix[type] : undefined;
    case "min":
    case "max":
      return vector ? capital(op) + suffix[type] : undefined;
    case "pmin":
      return vector ? `PMin${suffix[type]}` : undefined;
    case "pmax":
      return vector ? `PMax${suffix[type]}` : undefined;
    case "copysign":
      return vector ? undefined : `CopySign${suffix[type]}`;
    case "dotI8":
      return undefined;
    case "dotI16":
      return "DotSVecI16x8ToVecI32x4";
    case "narrowS":
    case "narrowU":
      return `${capital(op)}${suffix[type]}ToVec${type === "i16x8" ? "I8x16" : "I16x8"}`;
    case "extmulLowS":
    case "extmulHighS":
    case "extmulLowU":
    case "extmulHighU":
      return `ExtMul${op.slice("extmul".length)}Vec${wider(type)}`;
    case "q15mulr":
      return "Q15MulrSatSVecI16x8";
    default:
      return capital(op) + suffix[type];
  }
}

export function compareCode(op: CompareOp, type: LoopType): string {
  return capital(op) + suffix[type];
}

function wider(type: LoopType): string {
  return type === "i8x16" ? "I16x8" : type === "i16x8" ? "I32x4" : "I64x2";
}

/** Undefined for conversions that are no instruction (mask, half precision, bitcasts between vectors). */
export function convertCode(op: ConvertOp, from: LoopType, to: LoopType): string | undefined {
  const sign = op.at(-1) === "U" ? "U" : "S";
  switch (op) {
    case "f32.from_i32S":
    case "f32.from_i32U":
      return from === "i32" ? `Convert${sign}Int32ToFloat32` : `Convert${sign}VecI32x4ToVecF32x4`;
    case "f64.from_i32S":
    case "f64.from_i32U":
      return from === "i32" ? `Convert${sign}Int32ToFloat64` : `ConvertLow${sign}VecI32x4ToVecF64x2`;
    case "f32.from_i64S":
    case "f32.from_i64U":
      return `Convert${sign}Int64ToFloat32`;
    case "f64.from_i64S":
    case "f64.from_i64U":
      return `Convert${sign}Int64ToFloat64`;
    case "f64.from_f32":
      return from === "f32" ? "PromoteFloat32" : "PromoteLowVecF32x4ToVecF64x2";
    case "f32.from_f64":
      return from === "f64" ? "DemoteFloat64" : "DemoteZeroVecF64x2ToVecF32x4";
    case "i32.from_f32S":
    case "i32.from_f32U":
      return from === "f32" ? `TruncSat${sign}Float32ToInt32` : `TruncSat${sign}VecF32x4ToVecI32x4`;
    case "i32.from_f64S":
    case "i32.from_f64U":
      return from === "f64" ? `TruncSat${sign}Float64ToInt32` : `TruncSatZero${sign}VecF64x2ToVecI32x4`;
    case "i64.from_f32S":
    case "i64.from_f32U":
      return `TruncSat${sign}Float32ToInt64`;
    case "i64.from_f64S":
    case "i64.from_f64U":
      return `TruncSat${sign}Float64ToInt64`;
    case "i64.from_i32S":
    case "i64.from_i32U":
      return `Extend${sign}Int32`;
    case "i32.from_i64":
      return "WrapInt64";
    case "i32.extend8S":
      return "ExtendS8Int32";
    case "i32.extend16S":
      return "ExtendS16Int32";
    case "extendLowS":
    case "extendHighS":
    case "extendLowU":
    case "extendHighU":
      return `${capital(op)}${suffix[from]}ToVec${wider(from)}`;
    case "extaddPairwiseS":
    case "extaddPairwiseU":
      return `ExtAddPairwise${sign}${suffix[from]}To${wider(from)}`;
    case "bitcast":
      if (isVector(from) || isVector(to) || from === to) return undefined;
      return `Reinterpret${suffix[from]}`;
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
