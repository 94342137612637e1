/**
 * How many operations a call of a kernel takes, counted without running it: each loop's body once, times its rounds. What hangs on the
 * data (a condition, a number of rounds) is taken for the dearest case, or one round.
 *
 * Counted are arithmetic on floats, lane by lane (a fused multiply-add is two), and products of integers with the addition that follows
 * each; integers that only count or address are not.
 */

import { InternalError } from "./errors.js";
import type { BinaryOp, Expr, LoopFunction, LoopType, MathFn, ReduceOp, Stmt, UnaryOp } from "./loop.js";
import { evalBinary, evalCompare, evalUnary, type Lane, laneKind } from "./loop-eval.js";
import { lanesOf, scalarOf } from "./loop-types.js";
import { assignedNames, operandsOf } from "./loop-walk.js";

export interface WorkOptions {
  /** Functions that compute a math operation, the first of which is called: the math library. */
  readonly math: (fn: MathFn, type: LoopType) => readonly LoopFunction[];
}

/** Operations of a call. @param args undefined where an argument is not known, as addresses are not. */
export function operationsOf(
  fn: LoopFunction,
  helpers: readonly LoopFunction[],
  args: readonly (Lane | undefined)[],
  options: WorkOptions,
): number {
  return new Counter([fn, ...helpers], options).call(fn.name, args).operations;
}

/** Of each lane of floats. */
const floatUnary: Readonly<Partial<Record<UnaryOp, number>>> = { sqrt: 1, floor: 1, ceil: 1, trunc: 1, nearest: 1 };
const floatBinary: readonly BinaryOp[] = ["add", "sub", "mul", "div", "min", "max", "pmin", "pmax"];
const sums: readonly ReduceOp[] = ["add", "mul", "min", "max"];
/** Products of integers in a result of so many lanes. */
const integerProducts: Readonly<Partial<Record<BinaryOp, number>>> = {
  dotI16: 2,
  dotI8: 4,
  extmulLowS: 1,
  extmulHighS: 1,
  extmulLowU: 1,
  extmulHighU: 1,
  q15mulr: 1,
};

const isFloat = (type: LoopType): boolean => ["f32", "f64"].includes(scalarOf(type));

/** Operations of an expression itself, its operands left out. */
export function ownOperations(e: Expr): number {
  const lanes = lanesOf(e.type);
  switch (e.kind) {
    case "unary":
      return isFloat(e.type) ? lanes * (floatUnary[e.op] ?? 0) : 0;
    case "binary":
      if (isFloat(e.type)) return floatBinary.includes(e.op) ? lanes : 0;
      return 2 * lanes * (integerProducts[e.op] ?? 0);
    case "fma":
      return isFloat(e.type) ? 2 * lanes : 0;
    case "reduceLanes":
      return isFloat(e.type) && sums.includes(e.op) ? lanesOf(e.x.type) - 1 : 0;
    default:
      return 0;
  }
}

/** Rounds of loops that are looked at where they differ, by how many such loops are around. */
const samples = [32, 8, 4, 2];
/** Most rounds of a `while` that are followed. */
const mostRounds = 100_000;

type Env = Map<string, Lane | undefined>;

interface Counted {
  readonly operations: number;
  readonly value?: Lane | undefined;
}

class Counter {
  readonly #functions: Map<string, LoopFunction>;
  readonly #options: WorkOptions;
  readonly #calls = new Map<string, Counted>();
  #depth = 0;

  constructor(functions: readonly LoopFunction[], options: WorkOptions) {
    this.#functions = new Map(functions.map((f) => [f.name, f]));
    this.#options = options;
  }

  call(name: string, args: readonly (Lane | undefined)[]): Counted {
    const key = `${name} ${args.map(String).join()}`;
    const known = this.#calls.get(key);
    if (known) return known;
    const f = this.#functions.get(name);
    if (f === undefined) throw new InternalError(`no function @${name}`);
    const env: Env = new Map(f.params.map((p, i) => [p.name, args[i]]));
    const { operations, value } = this.#body(f.body, env);
    const counted = { operations, value };
    this.#calls.set(key, counted);
    return counted;
  }

  /** Counts statements and follows what they do to integers. `left`: a return was reached. */
  #body(body: readonly Stmt[], env: Env): Counted & { readonly left: boolean } {
    let operations = 0;
    for (const s of body) {
      if (s.kind === "return") {
        const value = s.value && this.#value(s.value, env);
        return { operations: operations + (s.value ? this.#operations(s.value, env) : 0), value, left: true };
      }
      const counted = this.#stmt(s, env);
      operations += counted.operations;
      if (counted.left) return { ...counted, operations, left: true };
    }
    return { operations, left: false };
  }

  #stmt(s: Exclude<Stmt, { kind: "return" }>, env: Env): Counted & { readonly left?: boolean } {
    switch (s.kind) {
      case "let":
      case "mut":
      case "assign": {
        const operations = this.#operations(s.value, env);
        env.set(s.name, this.#value(s.value, env));
        return { operations };
      }
      case "store":
        return { operations: this.#all([s.base, s.index, s.value], env) };
      case "for":
        return { operations: this.#all([s.begin, s.end], env) + this.#for(s, env) };
      case "while":
        return { operations: this.#while(s, env) };
      case "if":
        return this.#if(s, env);
      case "call": {
        const { operations } = this.call(
          s.fn,
          s.args.map((a) => this.#value(a, env)),
        );
        return { operations: operations + this.#all(s.args, env) };
      }
      case "copy":
      case "fill":
      case "barrier":
      case "comment":
        return { operations: 0 };
      default:
        return s satisfies never;
    }
  }

  #for(s: Extract<Stmt, { kind: "for" }>, env: Env): number {
    const changed = assignedNames(s.body);
    for (const name of changed) env.set(name, undefined);
    const round = (at: number | undefined): number => {
      const inside: Env = new Map(env);
      inside.set(s.name, at);
      return this.#body(s.body, inside).operations;
    };
    const [begin, end] = [this.#value(s.begin, env), this.#value(s.end, env)];
    if (begin === undefined || end === undefined) return round(undefined);
    const rounds = Math.max(0, Math.ceil((Number(end) - Number(begin)) / s.step));
    const at = (i: number): number => Number(begin) + i * s.step;
    if (rounds === 0) return 0;
    const last = round(at(rounds - 1));
    const before = rounds - 1;
    if (before === 0) return last;
    const [first, middle] = [round(at(0)), round(at(before >> 1))];
    if (first === middle && (first === last || before < 3 || first === round(at(before - 1))))
      return first * before + last;
    const looked = Math.min(before, samples[Math.min(this.#depth, samples.length - 1)]!);
    this.#depth++;
    let sum = 0;
    for (let i = 0; i < looked; i++) sum += round(at(Math.floor(((i + 0.5) * before) / looked)));
    this.#depth--;
    return (sum * before) / looked + last;
  }

  #while(s: Extract<Stmt, { kind: "while" }>, env: Env): number {
    let operations = 0;
    for (let i = 0; i < mostRounds; i++) {
      operations += this.#operations(s.cond, env);
      const goes = this.#value(s.cond, env);
      if (goes === 0) return operations;
      const counted = this.#body(s.body, env);
      operations += counted.operations;
      if (counted.left || goes === undefined) break;
    }
    for (const name of assignedNames(s.body)) env.set(name, undefined);
    return operations;
  }

  #if(s: Extract<Stmt, { kind: "if" }>, env: Env): Counted & { readonly left?: boolean } {
    const own = this.#operations(s.cond, env);
    const cond = this.#value(s.cond, env);
    if (cond !== undefined) {
      const counted = this.#body(cond === 1 ? s.then : s.else, env);
      return { ...counted, operations: own + counted.operations };
    }
    const branches = [s.then, s.else].map((b) => this.#body(b, new Map(env)).operations);
    for (const name of [...assignedNames(s.then), ...assignedNames(s.else)]) env.set(name, undefined);
    return { operations: own + Math.max(...branches) };
  }

  #all(list: readonly Expr[], env: Env): number {
    return list.reduce((n, e) => n + this.#operations(e, env), 0);
  }

  #operations(e: Expr, env: Env): number {
    const inner = ownOperations(e) + this.#all(operandsOf(e), env);
    if (e.kind === "call") {
      const args = e.args.map((a) => this.#value(a, env));
      return inner + this.call(e.fn, args).operations;
    }
    if (e.kind !== "math") return inner;
    const functions = this.#options.math(e.fn, e.type);
    for (const f of functions) this.#functions.set(f.name, f);
    const unknown = e.args.map(() => undefined);
    return inner + this.call(functions[0]!.name, unknown).operations;
  }

  /** A scalar that hangs on sizes and counters alone; undefined where it is not known. */
  #value(e: Expr, env: Env): Lane | undefined {
    const value = (x: Expr) => this.#value(x, env);
    switch (e.kind) {
      case "const":
        return e.value;
      case "var":
        return env.get(e.name);
      case "unary": {
        const x = value(e.x);
        return x === undefined || lanesOf(e.type) > 1 ? undefined : evalUnary(e.op, laneKind[e.type], x);
      }
      case "binary": {
        if (lanesOf(e.type) > 1) return undefined;
        const [a, b] = [value(e.a), value(e.b)];
        if (e.type === "mask" && (a === undefined || b === undefined)) {
          const decides = e.op === "and" ? 0 : e.op === "or" ? 1 : undefined;
          return a === decides || b === decides ? decides : undefined;
        }
        return a === undefined || b === undefined ? undefined : evalBinary(e.op, laneKind[e.a.type], a, b);
      }
      case "compare": {
        const [a, b] = [value(e.a), value(e.b)];
        const isVector = lanesOf(e.type) > 1;
        return isVector || a === undefined || b === undefined ? undefined : evalCompare(e.op, laneKind[e.a.type], a, b);
      }
      case "select": {
        const cond = value(e.cond);
        return cond === undefined || lanesOf(e.type) > 1 ? undefined : value(cond === 1 ? e.a : e.b);
      }
      case "engine":
        // Operations are those of the baseline; they are as many in every variant.
        return 0;
      case "call":
        return this.call(e.fn, e.args.map(value)).value;
      default:
        return undefined;
    }
  }
}
