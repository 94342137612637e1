/** Type inference and checks of Loop IR by the tables of loop-types.ts. */

import type {
  BinaryOp,
  CompareOp,
  ConvertOp,
  Elem,
  Expr,
  LoopType,
  MathFn,
  ReduceOp,
  ScalarKind,
  UnaryOp,
  VectorKind,
} from "./loop.js";
import {
  binaryResult,
  compareResult,
  convertResult,
  floatOp,
  hostParams,
  isShift,
  isVector,
  laneInfo,
  loadElems,
  mathArity,
  reduceResult,
  scalarOf,
  type TypeMap,
  unaryResult,
} from "./loop-types.js";

/** An ill-typed expression; builder, verifier and parser turn it into their own error. */
export class IllTyped extends Error {}

function lookUp(op: string, table: TypeMap, operand: LoopType): LoopType {
  const result = table[operand];
  if (result === undefined) throw new IllTyped(`${op} takes ${Object.keys(table).join(" ")}, not ${operand}`);
  return result;
}

function requireSame(op: string, a: LoopType, b: LoopType): void {
  if (a !== b) throw new IllTyped(`${op} needs operands of one type, got ${a} and ${b}`);
}

export function unaryType(op: UnaryOp, x: LoopType): LoopType {
  return lookUp(op, unaryResult[op], x);
}

export function binaryType(op: BinaryOp, a: LoopType, b: LoopType): LoopType {
  if (isShift(op)) {
    if (b !== "i32") throw new IllTyped(`${op} shifts by an i32, got ${b}`);
  } else requireSame(op, a, b);
  return lookUp(op, binaryResult[op], a);
}

export function compareType(op: CompareOp, a: LoopType, b: LoopType): LoopType {
  requireSame(op, a, b);
  return lookUp(op, compareResult[op], a);
}

export function selectType(cond: LoopType, a: LoopType, b: LoopType): LoopType {
  requireSame("select", a, b);
  if (cond === "mask") return a;
  if (
    isVector(cond) &&
    laneInfo[cond].scalar === "mask" &&
    isVector(a) &&
    laneInfo[a].laneBytes === laneInfo[cond].laneBytes
  )
    return a;
  throw new IllTyped(`select of ${a} by ${cond}`);
}

export function fmaType(a: LoopType, b: LoopType, c: LoopType): LoopType {
  requireSame("fma", a, b);
  requireSame("fma", a, c);
  return lookUp("fma", floatOp, a);
}

export function mathType(fn: MathFn, args: readonly LoopType[]): LoopType {
  if (args.length !== mathArity[fn]) throw new IllTyped(`${fn} takes ${mathArity[fn]} arguments, got ${args.length}`);
  const [a, b] = args as readonly [LoopType, LoopType?];
  if (b !== undefined) requireSame(fn, a, b);
  return lookUp(fn, floatOp, a);
}

/** A ptr has no width of its own. */
const bits: Readonly<Record<ScalarKind, number>> = { i32: 32, f32: 32, i64: 64, f64: 64, mask: 1, ptr: 0 };

export function convertType(op: ConvertOp, x: LoopType, wanted: LoopType | undefined): LoopType {
  if (op !== "bitcast") return lookUp(op, convertResult[op], x);
  if (wanted === undefined) throw new IllTyped("bitcast needs its result type");
  const width = (t: LoopType) => (isVector(t) ? 128 : bits[t]);
  if (width(x) !== width(wanted) || width(x) === 0) throw new IllTyped(`bitcast of ${x} to ${wanted}: widths differ`);
  return wanted;
}

export function splatType(type: LoopType, x: LoopType): VectorKind {
  if (!isVector(type)) throw new IllTyped(`splat makes a vector, not ${type}`);
  if (laneInfo[type].scalar !== x) throw new IllTyped(`splat ${type} takes ${laneInfo[type].scalar}, not ${x}`);
  return type;
}

export function laneType(op: string, x: LoopType, lane: number): ScalarKind {
  if (!isVector(x)) throw new IllTyped(`${op} takes a vector, not ${x}`);
  const { lanes, scalar } = laneInfo[x];
  if (!Number.isInteger(lane) || lane < 0 || lane >= lanes) throw new IllTyped(`${op}: ${x} has no lane ${lane}`);
  return scalar;
}

export function shuffleType(a: LoopType, b: LoopType, lanes: readonly number[]): VectorKind {
  requireSame("shuffle", a, b);
  if (!isVector(a)) throw new IllTyped(`shuffle takes vectors, not ${a}`);
  const n = laneInfo[a].lanes;
  if (lanes.length !== n || !lanes.every((l) => Number.isInteger(l) && l >= 0 && l < 2 * n))
    throw new IllTyped(`shuffle of ${a} needs ${n} lanes in 0..${2 * n - 1}, got [${lanes.join(", ")}]`);
  return a;
}

export function reduceType(op: ReduceOp, x: LoopType): ScalarKind {
  return lookUp(`reduceLanes ${op}`, reduceResult[op], x) as ScalarKind;
}

/** Checks a load or store of `type` registers as `elem`. */
export function checkAccess(
  what: string,
  type: LoopType,
  elem: Elem,
  base: LoopType,
  index: LoopType,
  offset: number,
): void {
  if (!loadElems[type].includes(elem)) throw new IllTyped(`${what}: ${type} registers do not hold ${elem} elements`);
  if (base !== "ptr") throw new IllTyped(`${what}: the base is a ptr, not ${base}`);
  if (index !== "i32") throw new IllTyped(`${what}: the index is an i32, not ${index}`);
  if (!Number.isInteger(offset) || offset < 0)
    throw new IllTyped(`${what}: the offset is a constant ≥ 0, not ${offset}`);
}

/** Checks that constants are canonical, so that equal constants have equal text and bits. */
export function checkConst(type: LoopType, value: number | bigint): void {
  const kind = scalarOf(type);
  const fits = ((): boolean => {
    if (kind === "i64") return typeof value === "bigint" && BigInt.asIntN(64, value) === value;
    if (typeof value !== "number") return false;
    if (kind === "f64") return true;
    if (kind === "f32") return Object.is(Math.fround(value), value);
    if (kind === "mask") return value === 0 || value === 1;
    if (kind === "ptr") return Number.isSafeInteger(value) && !Object.is(value, -0);
    const width = isVector(type) ? laneInfo[type].laneBytes * 8 : 32;
    return Number.isInteger(value) && !Object.is(value, -0) && value >= -(2 ** (width - 1)) && value < 2 ** (width - 1);
  })();
  if (!fits) throw new IllTyped(`${value} is not a canonical ${kind} constant of ${type}`);
}

/** Recomputes the type of an expression from those of its operands. `var` and `call` are taken at their word. */
export function inferType(e: Expr): LoopType {
  switch (e.kind) {
    case "const":
      checkConst(e.type, e.value);
      if (isVector(e.type)) throw new IllTyped(`const is a scalar, not ${e.type}`);
      return e.type;
    case "constVector":
      for (const x of e.values) checkConst(e.type, x);
      if (e.values.length !== laneInfo[e.type].lanes)
        throw new IllTyped(`${e.type} has ${laneInfo[e.type].lanes} lanes`);
      return e.type;
    case "var":
    case "call":
    case "engine":
      return e.type;
    case "host": {
      const wanted = hostParams[e.fn].join(", ");
      const got = e.args.map((x) => x.type).join(", ");
      if (got !== wanted) throw new IllTyped(`host.${e.fn} takes (${wanted}), not (${got})`);
      return "i32";
    }
    case "unary":
      return unaryType(e.op, e.x.type);
    case "binary":
      return binaryType(e.op, e.a.type, e.b.type);
    case "compare":
      return compareType(e.op, e.a.type, e.b.type);
    case "select":
      return selectType(e.cond.type, e.a.type, e.b.type);
    case "fma":
      return fmaType(e.a.type, e.b.type, e.c.type);
    case "math":
      return mathType(
        e.fn,
        e.args.map((x) => x.type),
      );
    case "convert":
      return convertType(e.op, e.x.type, e.type);
    case "splat":
      return splatType(e.type, e.x.type);
    case "extractLane":
      return laneType("extractLane", e.x.type, e.lane);
    case "replaceLane": {
      const scalar = laneType("replaceLane", e.x.type, e.lane);
      requireSame("replaceLane", scalar, e.value.type);
      return e.x.type;
    }
    case "shuffle":
      return shuffleType(e.a.type, e.b.type, e.lanes);
    case "reduceLanes":
      return reduceType(e.op, e.x.type);
    case "load":
      checkAccess("load", e.type, e.elem, e.base.type, e.index.type, e.offset);
      if (e.splat && !isVector(e.type)) throw new IllTyped(`a splat load makes a vector, not ${e.type}`);
      return e.type;
    default:
      return e satisfies never;
  }
}
