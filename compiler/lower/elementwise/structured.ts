/** What the simple kernels of structured ops have in common: a nest over the result's axes, and a body written by hand. */

import { type Dim, dimAdd, dimBounds, dimMul } from "../../../ir/dim.js";
import type { DType } from "../../../ir/dtype.js";
import type { GraphNode, NodeOf, Shape, Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import type { Block } from "../../../ir/loop-block.js";
import * as B from "../../../ir/loop-build.js";
import type { AttrsOf, OpName } from "../../../ir/ops/index.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf, KernelBuilder } from "../core/kernel-builder.js";
import { Place } from "../core/place.js";
import { chunkPlan, type Loop, loopsOf, nest, variable } from "./loops.js";
import { loadElement, PointEmitter, storeElement } from "./point-emit.js";

export type Node<N extends OpName> = NodeOf<N, AttrsOf<N>>;

/** A tensor in memory, as a kernel sees it. */
export interface Operand {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly pointer: Expr;
}

export class Kernel {
  readonly builder: KernelBuilder;
  readonly e: PointEmitter;
  readonly block: Block;
  readonly #ctx: LowerContext;
  #loops = 100;

  constructor(ctx: LowerContext, chunks?: Dim) {
    this.#ctx = ctx;
    this.builder = new KernelBuilder({ chunks });
    this.e = new PointEmitter(this.builder);
    this.block = this.builder.block;
  }

  read(v: Value): Operand {
    const { dtype, shape } = v.type;
    return { dtype, shape, pointer: this.builder.pointer(this.#ctx.view(v), "read") };
  }

  /** Memory for a result. `keep`: the kernel also reads what it wrote. */
  write(v: Value, access: "write" | "readWrite" = "write"): Operand {
    const { dtype, shape } = v.type;
    const view: View = this.#ctx.has(v) ? this.#ctx.view(v) : this.#ctx.result(v);
    return { dtype, shape, pointer: this.builder.pointer(view, access) };
  }

  size(d: Dim): Expr {
    return this.builder.size(d);
  }

  at(t: Operand, index: readonly Dim[]): Expr {
    return this.e.index(Place.at(t.shape, index).flat);
  }

  load(t: Operand, index: readonly Dim[]): Expr {
    return loadElement(t.dtype, t.pointer, this.at(t, index));
  }

  loadFlat(t: Operand, index: Expr | number): Expr {
    return loadElement(t.dtype, t.pointer, index);
  }

  store(t: Operand, index: readonly Dim[], value: Expr): void {
    this.storeFlat(t, this.at(t, index), value);
  }

  storeFlat(t: Operand, index: Expr | number, value: Expr): void {
    storeElement(this.builder, t.dtype, t.pointer, index, value);
  }

  /** A loop of `size` rounds, whose variable can stand in index expressions. */
  loop(size: Dim, body: (i: Dim, at: Expr) => void, vectorize = false): void {
    const loop = loopsOf([size], this.#loops++)[0]!;
    if (size === 1) {
      body(0, B.i32(0));
      return;
    }
    this.e.loop(loop.symbol, 0, this.size(size), vectorize, () => {
      const i = variable(loop);
      body(i, this.e.index(i));
    });
  }

  /** An i32 that the kernel has computed, as an index expression. */
  computed(value: Expr, body: (i: Dim) => void): void {
    const loop: Loop = { symbol: loopsOf([1], this.#loops++)[0]!.symbol, size: dynamicSize };
    const bound = this.block.let("index", value);
    this.e.scope([[loop.symbol, bound]], () => body(variable(loop)));
  }

  /** Lets the run be ended in each `every`th round of a loop: for kernels that take long and can't be cut into chunks. */
  poll(round: Expr, every = 2 ** 16): void {
    this.block.if(B.eq(B.and(round, every - 1), every - 1), () => this.block.let("asked", B.poll()));
  }

  /** Memory during the call. */
  scratch(dtype: DType, count: Dim, perThread: boolean): Operand {
    return { dtype, shape: [count], pointer: this.builder.scratch(elemOf[dtype], count, perThread) };
  }

  finish(name: string, loc: string | undefined): void {
    this.#ctx.add(this.builder.step(this.#ctx.pool, name, loc));
  }
}

// A size that says nothing about its value; index arithmetic must not simplify by it.
const dynamicSize: Dim = Number.MAX_SAFE_INTEGER;

/**
 * A kernel whose body runs for every index of `shape`, in chunks. `work`: operations of one round of the body, which the
 * size of chunks goes by.
 */
export function mapKernel(
  ctx: LowerContext,
  node: GraphNode,
  name: string,
  shape: Shape,
  work: Dim,
  prepare: (k: Kernel) => (index: readonly Dim[]) => void,
): void {
  const loops = loopsOf(shape);
  const running = loops.filter((l) => l.size !== 1);
  const plan = chunkPlan(running, work);
  const k = new Kernel(ctx, plan.chunks);
  const body = prepare(k);
  nest(k.e, running, plan, { vectorize: false, roots: [] }, () => body(loops.map(variable)));
  k.finish(name, node.loc);
}

/** Work of nested loops for chunking. */
export const workOf = (...sizes: readonly Dim[]): Dim =>
  sizes.reduce<Dim>((p, d) => (dimBounds(d).max === 0 ? p : dimMul(p, d)), 1);

/** Σ of index expressions. */
export const total = (...dims: readonly Dim[]): Dim => dims.reduce<Dim>((s, d) => dimAdd(s, d), 0);
