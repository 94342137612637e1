/**
 * Interpreter of Loop IR: slow and obvious, the definition of what a LoopFunction does. Everything that emits or rewrites Loop
 * IR is tested against it. NaN has one bit pattern here, `fma` rounds twice, a team has one thread.
 */

import { InternalError, ModelError } from "./errors.js";
import {
  type ConvertOp,
  type Expr,
  elemBytes,
  type LoopFunction,
  type LoopModule,
  type LoopType,
  type MathFn,
  type ReduceOp,
  type Stmt,
} from "./loop.js";
import {
  evalBinary,
  evalCompare,
  evalUnary,
  fromHalf,
  fromInteger,
  type Lane,
  laneKind,
  readElem,
  toHalf,
  truncate,
  wrap,
  writeElem,
} from "./loop-eval.js";
import { isShift, isVector, laneInfo, lanesOf } from "./loop-types.js";

/** A scalar is a list of one lane. */
export type Value = readonly Lane[];

export interface InterpretOptions {
  /** The memory that loads and stores see. */
  readonly memory: ArrayBufferLike;
  /** Functions that compute a math operation, the first of which is called: the math library. */
  readonly math?: (fn: MathFn, type: LoopType) => readonly LoopFunction[];
  /** Statements to run before giving up with a ModelError (default 10 million). */
  readonly budget?: number;
  /** The engine that is imitated: what `engine.dots` is, and what `dotI8` does; default 0, with sums of two products saturated to 16 bits. */
  readonly dots?: 0 | 1 | 2;
  /** What `engine.fma` is, by default 0. Products round before they are added all the same. */
  readonly fma?: 0 | 1;
  /** Told of each expression that is evaluated. */
  readonly onExpr?: (e: Expr) => void;
}

/** Calls a function. Accesses beyond the memory throw RangeError, where wasm traps. */
export function interpretLoop(
  m: LoopModule,
  name: string,
  args: readonly Lane[],
  options: InterpretOptions,
): Lane | undefined {
  const machine = new Machine(m, options);
  return machine.call(
    name,
    args.map((x) => [x]),
  )?.[0];
}

type Scope = Map<string, Value>;

class Machine {
  readonly #functions: Map<string, LoopFunction>;
  readonly #view: DataView;
  readonly #options: InterpretOptions;
  #budget: number;

  constructor(m: LoopModule, options: InterpretOptions) {
    this.#functions = new Map(m.functions.map((f) => [f.name, f]));
    this.#view = new DataView(options.memory);
    this.#options = options;
    this.#budget = options.budget ?? 1e7;
  }

  call(name: string, args: readonly Value[]): Value | undefined {
    const f = this.#functions.get(name);
    if (f === undefined) throw new InternalError(`no function @${name}`);
    const scope: Scope = new Map(f.params.map((p, k) => [p.name, args[k] as Value]));
    return this.#body(f.body, scope) ?? undefined;
  }

  /** Runs statements; the value returned, null for a return without one, undefined where the list was left at its end. */
  #body(body: readonly Stmt[], scope: Scope): Value | null | undefined {
    for (const s of body) {
      if (this.#budget-- <= 0) throw new ModelError("the interpreter's budget of statements is spent");
      const result = this.#stmt(s, scope);
      if (result !== undefined) return result;
    }
    return undefined;
  }

  #stmt(s: Stmt, scope: Scope): Value | null | undefined {
    const value = (e: Expr): Value => this.#expr(e, scope);
    const int = (e: Expr): number => Number(value(e)[0]);
    switch (s.kind) {
      case "let":
      case "mut":
      case "assign":
        scope.set(s.name, value(s.value));
        return undefined;
      case "store": {
        const bytes = elemBytes[s.elem];
        const address = this.#address(int(s.base), int(s.index), s.offset, bytes);
        for (const [k, lane] of value(s.value).entries()) writeElem(this.#view, address + k * bytes, s.elem, lane);
        return undefined;
      }
      case "for": {
        const end = int(s.end);
        for (let i = int(s.begin); i < end; i += s.step) {
          scope.set(s.name, [i]);
          const result = this.#body(s.body, scope);
          if (result !== undefined) return result;
        }
        return undefined;
      }
      case "while":
        while (int(s.cond) === 1) {
          const result = this.#body(s.body, scope);
          if (result !== undefined) return result;
          if (this.#budget-- <= 0) throw new ModelError("the interpreter's budget of statements is spent");
        }
        return undefined;
      case "if":
        return this.#body(int(s.cond) === 1 ? s.then : s.else, scope);
      case "call":
        this.call(s.fn, s.args.map(value));
        return undefined;
      case "copy": {
        const bytes = new Uint8Array(this.#view.buffer, int(s.src) >>> 0, int(s.bytes) >>> 0).slice();
        new Uint8Array(this.#view.buffer, int(s.dst) >>> 0, bytes.length).set(bytes);
        return undefined;
      }
      case "fill":
        new Uint8Array(this.#view.buffer, int(s.dst) >>> 0, int(s.bytes) >>> 0).fill(int(s.byte));
        return undefined;
      case "barrier":
        if (int(s.threads) > 1) throw new InternalError("the interpreter is a team of one");
        return undefined;
      case "return":
        return s.value === undefined ? null : value(s.value);
      case "comment":
        return undefined;
      default:
        return s satisfies never;
    }
  }

  /** The index wraps to 32 bits, the offset is added without wrapping. */
  #address(base: number, index: number, offset: number, bytes: number): number {
    return ((base + Math.imul(index, bytes)) >>> 0) + offset * bytes;
  }

  #expr(e: Expr, scope: Scope): Value {
    const value = (x: Expr): Value => this.#expr(x, scope);
    this.#options.onExpr?.(e);
    switch (e.kind) {
      case "const":
        return [e.value];
      case "constVector":
        return e.values;
      case "var":
        return scope.get(e.name) as Value;
      case "unary": {
        const kind = laneKind[e.type];
        return value(e.x).map((x) => evalUnary(e.op, kind, x));
      }
      case "binary":
        return evalBinaryLanes(e, value(e.a), value(e.b), this.#options.dots ?? 0);
      case "compare": {
        const kind = laneKind[e.a.type];
        const [a, b] = [value(e.a), value(e.b)];
        return a.map((x, k) => evalCompare(e.op, kind, x, b[k] as Lane));
      }
      case "select": {
        const [cond, a, b] = [value(e.cond), value(e.a), value(e.b)];
        return a.map((x, k) => (cond[cond.length === 1 ? 0 : k] === 1 ? x : (b[k] as Lane)));
      }
      case "fma": {
        const kind = laneKind[e.type];
        const [a, b, c] = [value(e.a), value(e.b), value(e.c)];
        return a.map((x, k) => evalBinary("add", kind, evalBinary("mul", kind, x, b[k] as Lane), c[k] as Lane));
      }
      case "math":
        return this.#math(e.fn, e.type, e.args.map(value));
      case "convert":
        return evalConvert(e.op, e.x.type, e.type, value(e.x));
      case "splat":
        return Array(lanesOf(e.type)).fill(narrowTo(e.type, value(e.x)[0] as Lane));
      case "extractLane":
        return [value(e.x)[e.lane] as Lane];
      case "replaceLane":
        return value(e.x).with(e.lane, narrowTo(e.type, value(e.value)[0] as Lane));
      case "shuffle": {
        const both = [...value(e.a), ...value(e.b)];
        return e.lanes.map((l) => both[l] as Lane);
      }
      case "reduceLanes":
        return [reduce(e.op, e.x.type, value(e.x))];
      case "load": {
        const bytes = elemBytes[e.elem];
        const kind = laneKind[e.type];
        const address = this.#address(Number(value(e.base)[0]), Number(value(e.index)[0]), e.offset, bytes);
        return Array.from({ length: lanesOf(e.type) }, (_, k) =>
          readElem(this.#view, address + (e.splat ? 0 : k * bytes), e.elem, kind),
        );
      }
      case "host":
        if (e.fn !== "poll" && e.fn !== "reserve") throw new InternalError(`the interpreter has no host.${e.fn}`);
        // Nobody interrupts the interpreter, and its memory has the size it has.
        return [e.fn === "poll" ? 0 : Number(Number(value(e.args[0] as Expr)[0]) <= this.#view.byteLength)];
      case "engine":
        return [this.#options[e.fact] ?? 0];
      case "call":
        return this.call(e.fn, e.args.map(value)) as Value;
      default:
        return e satisfies never;
    }
  }

  #math(fn: MathFn, type: LoopType, args: readonly Value[]): Value {
    if (this.#options.math === undefined) throw new InternalError(`${fn} needs the interpreter's option "math"`);
    const functions = this.#options.math(fn, type);
    for (const f of functions) this.#functions.set(f.name, f);
    return this.call((functions[0] as LoopFunction).name, args) as Value;
  }
}

/** Integers that go into narrow lanes lose their upper bits. */
function narrowTo(type: LoopType, x: Lane): Lane {
  const kind = laneKind[type];
  return kind === "i8" || kind === "i16" ? wrap(kind, BigInt(x)) : x;
}

type Dots = NonNullable<InterpretOptions["dots"]>;

function evalBinaryLanes(e: Extract<Expr, { kind: "binary" }>, a: Value, b: Value, dots: Dots): Value {
  const kind = laneKind[e.a.type];
  const at = (k: number): bigint => BigInt(a[k] as Lane) * BigInt(b[k] as Lane);
  switch (e.op) {
    case "dotI16":
      return [0, 2, 4, 6].map((k) => wrap("i32", at(k) + at(k + 1)));
    case "dotI8":
      return dotBytes(a, b, dots);
    case "narrowS":
    case "narrowU": {
      const to = laneKind[e.type] as "i8" | "i16";
      const bits = to === "i8" ? 8n : 16n;
      const [low, high] = e.op === "narrowS" ? [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n] : [0n, 2n ** bits - 1n];
      return [...a, ...b].map((x) => wrap(to, BigInt(x) < low ? low : BigInt(x) > high ? high : BigInt(x)));
    }
    case "extmulLowS":
    case "extmulHighS":
    case "extmulLowU":
    case "extmulHighU": {
      const [x, y] = [extend(e.op, e.a.type, e.type, a), extend(e.op, e.a.type, e.type, b)];
      return x.map((v, k) => evalBinary("mul", laneKind[e.type], v, y[k] as Lane));
    }
    case "swizzle":
      return b.map((i) => ((Number(i) & 0xff) < 16 ? (a[Number(i)] as Lane) : 0));
    default: {
      const shift = isShift(e.op);
      return a.map((x, k) => evalBinary(e.op, kind, x, laneOperand(shift, kind, b[shift ? 0 : k] as Lane)));
    }
  }
}

function dotBytes(a: Value, b: Value, dots: Dots): Value {
  const second = (k: number): number => (dots === 2 || Number(b[k]) >= 0 ? Number(b[k]) : Number(b[k]) + 256);
  const at = (k: number): number => Number(a[k]) * second(k);
  const pair = (k: number): number => {
    const sum = at(k) + at(k + 1);
    return dots === 0 ? Math.max(-(2 ** 15), Math.min(2 ** 15 - 1, sum)) : sum;
  };
  return [0, 4, 8, 12].map((k) => pair(k) + pair(k + 2));
}

/** The count of a shift is an i32 whatever is shifted. */
const laneOperand = (shift: boolean, kind: string, x: Lane): Lane => (shift && kind === "i64" ? BigInt(x) : x);

/** Lanes of the lower or upper half, widened. */
function extend(op: string, from: LoopType, to: LoopType, x: Value): Value {
  const half = x.length / 2;
  const chosen = op.includes("High") ? x.slice(half) : x.slice(0, half);
  return chosen.map((v) => widenLane(op, from, to, v));
}

function widenLane(op: string, from: LoopType, to: LoopType, x: Lane): Lane {
  const bits = isVector(from) ? laneInfo[from].laneBytes * 8 : 32;
  const value = op.endsWith("U") ? BigInt.asUintN(bits, BigInt(x)) : BigInt(x);
  return wrap(laneKind[to] as "i16", value);
}

function evalConvert(op: ConvertOp, from: LoopType, to: LoopType, x: Value): Value {
  const isUnsigned = op.endsWith("U");
  const count = lanesOf(to);
  switch (op) {
    case "f32.from_i32S":
    case "f32.from_i32U":
    case "f32.from_i64S":
    case "f32.from_i64U":
      return x.map((v) => fromInteger("f32", isUnsigned, v));
    case "f64.from_i32S":
    case "f64.from_i32U":
    case "f64.from_i64S":
    case "f64.from_i64U":
      return x.slice(0, count).map((v) => fromInteger("f64", isUnsigned, v));
    case "f64.from_f32":
      return x.slice(0, count);
    case "f32.from_f64":
      return Array.from({ length: count }, (_, k) => Math.fround(Number(x[k] ?? 0)));
    case "i32.from_f32S":
    case "i32.from_f32U":
    case "i32.from_f64S":
    case "i32.from_f64U":
      return Array.from({ length: count }, (_, k) => truncate("i32", isUnsigned, Number(x[k] ?? 0)));
    case "i64.from_f32S":
    case "i64.from_f32U":
    case "i64.from_f64S":
    case "i64.from_f64U":
      return x.map((v) => truncate("i64", isUnsigned, Number(v)));
    case "i64.from_i32S":
    case "i64.from_i32U":
      return x.map((v) => widenLane(op, from, to, v));
    case "i32.from_i64":
    case "ptr.from_i64":
      return x.map((v) => wrap("i32", BigInt(v)));
    case "ptr.from_i32S":
    case "ptr.from_i32U":
      return x;
    case "ptr.from_f64U":
      return x.map((v) => truncate("i32", true, Number(v)));
    case "i32.extend8S":
      return x.map((v) => wrap("i8", BigInt(v)));
    case "i32.extend16S":
      return x.map((v) => wrap("i16", BigInt(v)));
    case "i32.from_mask":
      return x.map((v) => (laneKind[to] === "i64" ? BigInt(v) : v));
    case "mask.from_i32":
    case "mask.from_i64":
      return x.map((v) => (Number(v) === 0 ? 0 : 1));
    case "extendLowS":
    case "extendHighS":
    case "extendLowU":
    case "extendHighU":
      return extend(op, from, to, x);
    case "extaddPairwiseS":
    case "extaddPairwiseU": {
      const wide = x.map((v) => widenLane(op, from, to, v));
      return Array.from({ length: count }, (_, k) =>
        evalBinary("add", laneKind[to], wide[2 * k] as Lane, wide[2 * k + 1] as Lane),
      );
    }
    case "f16.round":
      return x.map((v) => fromHalf("f16", toHalf("f16", Number(v))));
    case "bf16.round":
      return x.map((v) => fromHalf("bf16", toHalf("bf16", Number(v))));
    case "bitcast":
      return bitcast(from, to, x);
    default:
      return op satisfies never;
  }
}

function bitcast(from: LoopType, to: LoopType, x: Value): Value {
  const view = new DataView(new ArrayBuffer(16));
  const elemOf = (type: LoopType) => {
    const bytes = isVector(type) ? laneInfo[type].laneBytes : type === "i64" || type === "f64" ? 8 : 4;
    const kind = laneKind[type];
    return { bytes, elem: kind === "mask" ? (`i${bytes * 8}` as "i32") : kind, isMask: kind === "mask" };
  };
  const [source, target] = [elemOf(from), elemOf(to)];
  for (const [k, v] of x.entries()) writeElem(view, k * source.bytes, source.elem, source.isMask ? -Number(v) : v);
  return Array.from({ length: lanesOf(to) }, (_, k) => {
    const value = readElem(view, k * target.bytes, target.elem, target.elem);
    return target.isMask ? (Number(value) === 0 ? 0 : 1) : value;
  });
}

/** Four lanes pair as (l0∘l2)∘(l1∘l3). */
function reduce(op: ReduceOp, type: LoopType, x: Value): Lane {
  const kind = laneKind[type];
  if (kind === "mask") return op === "and" ? Math.min(...x.map(Number)) : Math.max(...x.map(Number));
  const pair = (a: Lane | undefined, b: Lane | undefined) => evalBinary(op, kind, a as Lane, b as Lane);
  return x.length === 4 ? pair(pair(x[0], x[2]), pair(x[1], x[3])) : pair(x[0], x[1]);
}
