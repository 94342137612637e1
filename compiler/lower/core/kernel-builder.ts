/** Building one kernel: its parameters and the arguments a step passes for them grow together, and equal kernels are shared. */

import { type Dim, dimEqual, dimMul, dimText } from "../../../ir/dim.js";
import type { DType } from "../../../ir/dtype.js";
import { InternalError } from "../../../ir/errors.js";
import {
  type Elem,
  type ElementKind,
  type Expr,
  elemBytes,
  type LoopFunction,
  type LoopParam,
} from "../../../ir/loop.js";
import { Block } from "../../../ir/loop-block.js";
import { add, func, i32, maxS, minS, mul, param } from "../../../ir/loop-build.js";
import { printLoopFunction } from "../../../ir/loop-print.js";
import { elemKind } from "../../../ir/loop-types.js";
import type { Kernel } from "../../kernels/kernel.js";
import { type Access, type Arg, type KernelStep, type Limit, typeOfArg, type View } from "../../schedule.js";

/** How an element of a tensor lies in memory. */
export const elemOf: Readonly<Record<DType, Elem>> = {
  f32: "f32",
  f64: "f64",
  f16: "f16",
  bf16: "bf16",
  i8: "i8",
  u8: "u8",
  i16: "i16",
  u16: "u16",
  i32: "i32",
  u32: "u32",
  i64: "i64",
  u64: "u64",
  bool: "u8",
  f8e4m3fn: "u8",
  f8e4m3fnuz: "u8",
  f8e5m2: "u8",
  f8e5m2fnuz: "u8",
  f8e8m0: "u8",
  f4e2m1: "u8",
  i4: "i8",
  u4: "u8",
  i2: "i8",
  u2: "u8",
};

/** The register that holds an element while computing; bool is a mask, narrow integers are kept extended in an i32. */
export function registerOf(dtype: DType): ElementKind {
  return dtype === "bool" ? "mask" : elemKind[elemOf[dtype]];
}

/** All kernels of a module. Functions with equal code become one, and names stay unique. */
export class KernelPool {
  readonly #byCode = new Map<string, LoopFunction>();
  readonly #byName = new Map<string, LoopFunction>();
  readonly #kernels = new Map<string, Kernel>();
  readonly #epilogues = new Map<string, string>();
  readonly #epilogueNames = new Set<string>();

  /** The function under its own name, or under another if its name is taken by different code; an equal one if there is any. */
  share(fn: LoopFunction): LoopFunction {
    const code = printLoopFunction({ ...fn, name: "_" });
    const old = this.#byCode.get(code);
    if (old !== undefined) return old;
    let name = fn.name;
    for (let k = 2; this.#byName.has(name); k++) name = `${fn.name}_${k}`;
    const named = { ...fn, name };
    this.#byCode.set(code, named);
    this.#byName.set(name, named);
    return named;
  }

  /** What a generator of kernels gives for a specification, made once. Epilogues are told apart by their names. */
  kernel<S extends object, K extends Kernel>(what: string, make: (spec: S) => K, spec: S): K {
    const key = `${what} ${JSON.stringify(spec, (k, v) => (k === "epilogue" ? (v as { name: string }).name : v))}`;
    const old = this.#kernels.get(key);
    // One generator, named by `what`, gives one kind of kernel.
    if (old !== undefined) return old as K;
    const made = make(spec);
    this.#kernels.set(key, made);
    return made;
  }

  /** A name for an epilogue: equal code has equal names, different code different ones. */
  epilogueName(stem: string, code: string): string {
    const old = this.#epilogues.get(code);
    if (old !== undefined) return old;
    let name = stem;
    for (let k = 2; this.#epilogueNames.has(name); k++) name = `${stem}_${k}`;
    this.#epilogues.set(code, name);
    this.#epilogueNames.add(name);
    return name;
  }

  /** A function whose name is known to its callers: equal names must be equal functions. */
  adopt(fn: LoopFunction): LoopFunction {
    const old = this.#byName.get(fn.name);
    if (old === undefined) {
      this.#byName.set(fn.name, fn);
      return fn;
    }
    if (old !== fn && printLoopFunction(old) !== printLoopFunction(fn)) {
      throw new InternalError(`two different functions are called @${fn.name}`);
    }
    return old;
  }
}

/** What emitting points needs of the kernel around them. */
export interface KernelHost {
  readonly block: Block;
  /** Range of chunks, where the kernel has them. */
  readonly begin?: Expr;
  readonly end?: Expr;
  pointer(view: View, access: Access, elem?: Elem): Expr;
  size(d: Dim): Expr;
  /** An f32 that differs from layer to layer, as a parameter; without it, numbers are part of the code. */
  readonly number?: (value: number) => Expr;
}

export interface KernelOptions {
  /** Number of chunks of work; the kernel then takes `begin` and `end`. */
  readonly chunks?: Dim | undefined;
}

/** The largest value that a broken limit tells: with the bit that says so it fits 32. */
const mostTold = 2 ** 30 - 1;

export class KernelBuilder implements KernelHost {
  readonly block: Block;
  /** Range of chunks; only where the kernel has them. */
  readonly begin: Expr;
  readonly end: Expr;
  readonly #chunks: Dim | undefined;
  readonly #params: LoopParam[] = [];
  readonly #args: Arg[] = [];
  readonly #known = new Map<string, Expr>();

  constructor({ chunks }: KernelOptions = {}) {
    this.#chunks = chunks;
    this.block = new Block(chunks === undefined ? [] : ["begin", "end"]);
    const range: LoopParam[] = [
      { name: "begin", type: "i32" },
      { name: "end", type: "i32" },
    ];
    this.begin = param(range[0]!);
    this.end = param(range[1]!);
    if (chunks !== undefined) this.#params.push(...range);
  }

  #add(hint: string, arg: Arg, points?: Elem): Expr {
    const p: LoopParam = {
      name: this.block.fresh(hint),
      type: typeOfArg(arg),
      ...(points ? { points } : {}),
    };
    this.#params.push(p);
    this.#args.push(arg);
    return param(p);
  }

  #once(key: string, make: () => Expr): Expr {
    let e = this.#known.get(key);
    if (e === undefined) {
      e = make();
      this.#known.set(key, e);
    }
    return e;
  }

  /** Address of a view. Asking again for the same view and access gives the same parameter. */
  pointer(view: View, access: Access, elem: Elem = elemOf[view.buffer.dtype]): Expr {
    const key = `${access} ${view.buffer.id} ${dimText(view.offset)} ${elem}`;
    return this.#once(key, () => this.#add(access === "read" ? "x" : "y", { kind: "view", view, access }, elem));
  }

  /** A size, stride or offset. Everything but 0, 1 and −1 is a parameter, so that kernels differ in structure only. */
  size(d: Dim, hint = "n"): Expr {
    if (d === 0 || d === 1 || d === -1) return i32(d);
    return this.#once(`dim ${dimText(d)}`, () => this.#add(hint, { kind: "dim", value: d }));
  }

  /** Memory for `count` elements that lives during the call. */
  scratch(elem: Elem, count: Dim, perThread: boolean): Expr {
    return this.#add("s", { kind: "scratch", bytes: dimMul(count, elemBytes[elem]), perThread }, elem);
  }

  /**
   * Stores where the condition holds that the limit is broken, and by which value: the run then ends in an error that tells it in the
   * place of `{}`. Values beyond 30 bits count as the nearest of 30.
   */
  breaks(limit: Limit, condition: Expr, value?: Expr): void {
    const slot = this.#once(`limit ${limit.symbol}`, () => this.#add("limit", { kind: "limitSlot", limit }, "i32"));
    const stored =
      value === undefined ? i32(1) : add(mul(maxS(minS(value, i32(mostTold)), i32(-mostTold)), i32(2)), i32(1));
    this.block.if(condition, () => this.block.store("i32", slot, 0, stored));
  }

  /** Slot for a size that the kernel finds. */
  sizeSlot(symbol: string): Expr {
    return this.#add("slot", { kind: "sizeSlot", symbol }, "i32");
  }

  /** Index into `args` of the step, for `inPlace`. */
  argIndex(view: View, access: Access): number {
    const isAsked = (v: View) => v.buffer === view.buffer && dimEqual(v.offset, view.offset);
    const index = this.#args.findIndex((a) => a.kind === "view" && a.access === access && isAsked(a.view));
    if (index < 0) throw new InternalError("the view is not an argument of the kernel");
    return index;
  }

  step(
    pool: KernelPool,
    name: string,
    loc: string | undefined,
    inPlace: readonly (readonly [number, number])[] = [],
    helpers: readonly LoopFunction[] = [],
  ): KernelStep {
    return {
      kind: "kernel",
      fn: pool.share(func(name, this.#params, this.block.stmts)),
      helpers: helpers.map((h) => pool.adopt(h)),
      args: this.#args,
      ...(this.#chunks === undefined ? {} : { chunks: this.#chunks }),
      inPlace,
      loc,
    };
  }
}
