import type { BinaryOp, CompareOp, ConvertOp, Expr, LoopType, MathFn, ReduceOp, UnaryOp } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import * as T from "../../ir/loop-types.js";

const keys = <K extends string>(table: Partial<Record<K, unknown>>) => Object.keys(table) as K[];

/** One expression of every operation at every type it exists for, over operands made by `operand`. */
export function everyOperation(operand: (type: LoopType, k: number) => Expr): Expr[] {
  const out: Expr[] = [];
  for (const op of keys<UnaryOp>(T.unaryResult))
    for (const t of keys<LoopType>(T.unaryResult[op])) out.push(B.unary(op, operand(t, 0)));
  for (const op of keys<BinaryOp>(T.binaryResult))
    for (const t of keys<LoopType>(T.binaryResult[op]))
      out.push(B.binary(op, operand(t, 0), T.isShift(op) ? operand("i32", 1) : operand(t, 1)));
  for (const op of keys<CompareOp>(T.compareResult))
    for (const t of keys<LoopType>(T.compareResult[op])) out.push(B.compare(op, operand(t, 0), operand(t, 1)));
  for (const op of keys<Exclude<ConvertOp, "bitcast">>(T.convertResult))
    for (const t of keys<LoopType>(T.convertResult[op])) out.push(B.convert(op, operand(t, 0)));
  for (const op of keys<ReduceOp>(T.reduceResult))
    for (const t of keys<LoopType>(T.reduceResult[op])) out.push(B.reduceLanes(op, operand(t, 0)));
  for (const t of ["f32", "f64", "f32x4", "f64x2"] as const)
    out.push(B.fma(operand(t, 0), operand(t, 1), operand(t, 2)));
  for (const t of [...T.scalarKinds, ...T.vectorKinds]) {
    out.push(B.select(operand("mask", 0), operand(t, 0), operand(t, 1)));
    if (!T.isVector(t)) continue;
    const { lanes, laneBytes, scalar } = T.laneInfo[t];
    const mask = T.vectorKinds.find((m) => T.scalarOf(m) === "mask" && T.laneInfo[m].laneBytes === laneBytes);
    if (mask !== undefined) out.push(B.select(operand(mask, 0), operand(t, 0), operand(t, 1)));
    out.push(B.extractLane(operand(t, 0), lanes - 1), B.replaceLane(operand(t, 0), 1, operand(scalar, 0)));
    out.push({ kind: "splat", type: t, x: operand(scalar, 0) });
    out.push(
      B.shuffle(
        operand(t, 0),
        operand(t, 1),
        Array.from({ length: lanes }, (_, k) => (k * 7 + 3) % (2 * lanes)),
      ),
    );
    for (const u of T.vectorKinds) if (T.scalarOf(u) !== "mask") out.push(B.bitcast(t, operand(u, 0)));
  }
  out.push(B.bitcast("i32", operand("f32", 0)), B.bitcast("f32", operand("i32", 0)));
  out.push(B.bitcast("i64", operand("f64", 0)), B.bitcast("f64", operand("i64", 0)));
  return out;
}

/** Every math function at every type. */
export function everyMath(operand: (type: LoopType, k: number) => Expr): Expr[] {
  return keys<MathFn>(T.mathArity).flatMap((fn) =>
    (["f32", "f64", "f32x4", "f64x2"] as const).map((t) =>
      T.mathArity[fn] === 1 ? B.math(fn, operand(t, 0)) : B.math(fn, operand(t, 0), operand(t, 1)),
    ),
  );
}

/** Every load, plain and splat, with every element type. */
export function everyLoad(base: Expr, index: Expr, offset = 3): Expr[] {
  return (Object.keys(T.loadElems) as LoopType[]).flatMap((t) =>
    T.loadElems[t].flatMap((elem) => [
      B.load(t, elem, base, index, offset),
      ...(T.isVector(t) ? [B.loadSplat(t, elem, base, index, offset)] : []),
    ]),
  );
}

/** Every constant worth a look: signed zeros, infinities, NaN, extremes, values without a short decimal. */
export function everyConstant(): Expr[] {
  const reals = [0, -0, 1, -1.5, 0.1, 1e-45, 3.4028234663852886e38, 1e21, Infinity, -Infinity, NaN, Math.PI];
  return [
    ...reals.flatMap((x) => [B.f32(x), B.f64(x), B.splat("f32x4", x), B.splat("f64x2", x)]),
    B.f64(Number.MIN_VALUE),
    ...[0, -1, 2 ** 31 - 1, -(2 ** 31)].map(B.i32),
    ...[0, -1, 2 ** 53 - 1].map(B.ptr),
    ...[0n, -1n, 2n ** 63n - 1n, -(2n ** 63n)].map(B.i64),
    B.bool(true),
    B.bool(false),
    B.engine("fma"),
    B.constVector("i8x16", [-128, 127, ...Array(14).fill(3)]),
    B.constVector("i64x2", [-(2n ** 63n), 5n]),
    B.constVector("mask32x4", [0, 1, 1, 0]),
    B.constVector("f32x4", [0, -0, 0, -0]),
  ];
}
