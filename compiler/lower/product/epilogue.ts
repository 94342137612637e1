/** What follows a contraction element by element, as the epilogue of its kernel. */

import { type Dim, dimEqual } from "../../../ir/dim.js";
import { type DType, dtypeInfo, isFloat, isStorageOnly } from "../../../ir/dtype.js";
import type { Shape, Value } from "../../../ir/graph.js";
import type { Elem, Expr, LoopParam, Stmt } from "../../../ir/loop.js";
import { Block } from "../../../ir/loop-block.js";
import * as B from "../../../ir/loop-build.js";
import { printExpr, printStmts } from "../../../ir/loop-print.js";
import { isVector } from "../../../ir/loop-types.js";
import { visitExprs } from "../../../ir/loop-walk.js";
import type { Ahead, Epilogue } from "../../kernels/epilogue.js";
import { type Access, type Arg, typeOfArg, type View } from "../../schedule.js";
import { elemOf, type KernelHost, type KernelPool, registerOf } from "../core/kernel-builder.js";
import type { Finish, ResultMatrix } from "../core/kernel-row.js";
import { Place } from "../core/place.js";
import { type Leaf, type Point, Points, visitPoints } from "../core/point.js";
import { castsLanes } from "../elementwise/cast.js";
import { loadsOf } from "../elementwise/in-place.js";
import { coefficient, freshLoop, variable } from "../elementwise/loops.js";
import { PointEmitter, vectorOf } from "../elementwise/point-emit.js";
import { settle } from "../elementwise/registers.js";
import { earlyParts } from "./early.js";

const [batchLoop, rowLoop, columnLoop] = [freshLoop("batch", 1), freshLoop("row", 1), freshLoop("column", 1)];

/**
 * The epilogue that turns `from`, a contraction's result, into `to`, a value of elementwise ops over it and other leaves.
 * Undefined where the vector kernel can't compute that.
 */
export function epilogueOf(
  pool: KernelPool,
  from: Value,
  to: Value,
  matrix: ResultMatrix,
  leaf: (v: Value) => Leaf | undefined,
): Finish | undefined {
  const register = registerOf(from.type.dtype);
  if ((register !== "f32" && register !== "i32") || !isLaneNumber(to.type.dtype)) return undefined;
  const shape: Shape = [matrix.batch, matrix.rows, matrix.columns];
  const index = [batchLoop, rowLoop, columnLoop].map((l, a) => variable({ ...l, size: shape[a]! }));
  const points = new Points((v) => (v === from ? { kind: "given" } : leaf(v)));
  const place = Place.at(shape, index);
  const point = points.at(to, place.reshaped(to.type.shape));
  const columnOne = matrix.columns === 1;
  if (!isVectorizable(point, place.reshaped(from.type.shape), columnOne)) return undefined;

  const params: LoopParam[] = [];
  const args: Arg[] = [];
  const known = new Map<string, number>();
  /** Parameters are collected in a first run whose code is also the epilogue's identity. */
  const collector = (block: Block): KernelHost => {
    const once = (key: string, hint: string, arg: Arg, points?: Elem): Expr => {
      let i = known.get(key);
      if (i === undefined) {
        i = params.length;
        known.set(key, i);
        params.push({ name: `e${i}_${hint}`, type: typeOfArg(arg), ...(points ? { points } : {}) });
        args.push(arg);
      }
      return B.param(params[i]!);
    };
    return {
      block,
      size: (d) =>
        d === 0 || d === 1 || d === -1 ? B.i32(d) : once(`dim ${keyOf(d)}`, "n", { kind: "dim", value: d }),
      pointer: (view, access, elem = elemOf[view.buffer.dtype]) =>
        once(viewKey(view, access, elem), "x", { kind: "view", view, access }, elem),
      number: (value) => once(`number ${value}`, "s", { kind: "f32", value }),
    };
  };
  const early = earlyParts(point, columnLoop.symbol, [batchLoop.symbol, rowLoop.symbol]);
  const emit = (host: KernelHost, acc: Expr, at: readonly Expr[], ahead?: Ahead): Expr => {
    const e = new PointEmitter(host, new Map(), { symbol: columnLoop.symbol, vector: isVector(acc.type) });
    e.plan([point]);
    let result: Expr = acc;
    const symbols = [batchLoop.symbol, rowLoop.symbol, columnLoop.symbol];
    e.scope(
      symbols.map((s, i) => [s, at[i]!] as const),
      () => {
        const sum = host.block.let("acc", settle(from.type.dtype, acc));
        if (ahead?.start !== undefined && early.started) e.set(early.started.sum, sum);
        else e.give(from, sum);
        if (ahead) for (const [i, p] of early.parts.entries()) e.set(p, ahead.values[i]!);
        result = e.value(point);
      },
    );
    return result;
  };
  const emitAhead = (host: KernelHost, column: Expr): Ahead => {
    const e = new PointEmitter(host, new Map(), { symbol: columnLoop.symbol, vector: true });
    const { parts, started } = early;
    e.plan(started ? [...parts, ...started.terms.map((t) => t.point)] : parts);
    let start: Expr | undefined;
    let values: readonly Expr[] = [];
    e.scope([[columnLoop.symbol, column]], () => {
      const named = (p: Point): Expr => host.block.let("ahead", e.value(p));
      values = parts.map(named);
      for (const t of started?.terms ?? []) {
        const before: Expr = start ?? B.constant("i32x4", 0);
        start = t.negative
          ? B.sub(before, e.value(t.point))
          : start
            ? B.add(start, e.value(t.point))
            : e.value(t.point);
      }
      if (start !== undefined) start = host.block.let("start", start);
    });
    return { values, ...(start === undefined ? {} : { start }) };
  };
  const trial = new Block();
  const names = ["batch", "row", "column"].map((n) => B.v(n, "i32"));
  const result = emit(collector(trial), B.v("acc_in", vectorOf[register]), names);
  const trialAhead = new Block();
  emitAhead(collector(trialAhead), names[2]!);
  const types = params.map((p) => p.points ?? p.type).join();
  const code = `${types}\n${printStmts(trial.stmts)}${printExpr(result)}\n${printStmts(trialAhead.stmts)}`;
  const name = pool.epilogueName(nameOf(point), code);
  const hostOf = (block: Block, given: readonly Expr[]): KernelHost => {
    const find = (key: string): Expr => given[known.get(key)!]!;
    return {
      block,
      size: (d) => (d === 0 || d === 1 || d === -1 ? B.i32(d) : find(`dim ${keyOf(d)}`)),
      pointer: (view, access, elem = elemOf[view.buffer.dtype]) => find(viewKey(view, access, elem)),
      number: (value) => find(`number ${value}`),
    };
  };
  const epilogue: Epilogue = {
    name,
    params,
    // Registers hold numbers of their dtype.
    fits: true,
    math: hasMath([...trial.stmts, { kind: "let", name: "result", value: result }]),
    apply: (block, acc, at, given, ahead) => emit(hostOf(block, given), acc, [at.batch, at.row, at.column], ahead),
    ...(early.parts.length > 0 || early.started
      ? { ahead: (block, column, given) => emitAhead(hostOf(block, given), column) }
      : {}),
  };
  const loads = loadsOf([point]);
  const over = args.flatMap((arg, i) => {
    if (arg.kind !== "view" || dtypeInfo[arg.view.buffer.dtype].bytes !== dtypeInfo[to.type.dtype].bytes) return [];
    const own = loads.filter((p) => p.view.buffer === arg.view.buffer);
    return own.every((p) => dimEqual(p.at, place.flat)) ? [i] : [];
  });
  return { epilogue, args, over, dtype: to.type.dtype };
}

function hasMath(body: readonly Stmt[]): boolean {
  let found = false;
  visitExprs(body, (e) => {
    found ||= e.kind === "math";
  });
  return found;
}

const keyOf = (d: Dim): string => (typeof d === "number" ? String(d) : d.key);
const viewKey = (view: View, access: Access, elem: Elem): string =>
  `${access} ${view.buffer.id} ${keyOf(view.offset)} ${elem}`;

/** Numbers that fill lanes of 32 bits; narrow formats that are decoded bit by bit are left to loops. */
const isLaneNumber = (d: DType): boolean => (registerOf(d) === "f32" || registerOf(d) === "i32") && !isStorageOnly(d);

const isLane = (d: DType): boolean => d === "bool" || isLaneNumber(d);

/** Integer ops without an instruction over lanes. */
const scalarOnly: ReadonlySet<string> = new Set(["div", "rem", "pow", "shiftLeft", "shiftRight"]);

/** Numbers along the columns, one element per lane or one for all; nothing whose lanes would have another width. */
function isVectorizable(point: Point, own: Place, columnOne: boolean): boolean {
  let fits = true;
  visitPoints([point], (p) => {
    switch (p.kind) {
      case "load": {
        const stride = columnOne ? 0 : coefficient(p.at, columnLoop.symbol);
        if ((stride !== 0 && stride !== 1) || !isLaneNumber(p.dtype)) fits = false;
        return;
      }
      case "given":
        if (p.place.key !== own.key) fits = false;
        return;
      case "index":
        fits = false;
        return;
      case "const":
        if (!isLane(p.dtype)) fits = false;
        return;
      case "apply":
        if (!isLane(p.dtype) || p.node.operands.some((v) => !isLane(v.type.dtype))) fits = false;
        if (p.node.op === "cast" && !castsLanes(p.node.operands[0]!.type.dtype, p.dtype)) fits = false;
        if (p.node.op === "bitcast" || (scalarOnly.has(p.node.op) && !isFloat(p.dtype))) fits = false;
        return;
    }
  });
  return fits;
}

function nameOf(point: Point): string {
  const words: string[] = [];
  visitPoints([point], (p) => {
    if (p.kind === "apply") words.push(p.node.op);
  });
  return words.length > 6 ? [...words.slice(0, 5), `${words.length - 5}more`].join("_") : words.join("_");
}
