/** State of one lowering: where each value lives, and the steps so far. */

import { type Dim, dimAdd } from "../../ir/dim.js";
import type { DType } from "../../ir/dtype.js";
import { InternalError } from "../../ir/errors.js";
import type { GraphNode, Shape, Value } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import type { Buffer, BufferSource, Step, View } from "../schedule.js";
import type { KernelPool } from "./kernel-builder.js";
import { constantElement, type Leaf } from "./point.js";

export class LowerContext {
  readonly pool: KernelPool;
  readonly #views = new Map<Value, View>();
  readonly #weights = new Map<Tensor, View>();
  readonly #derived = new Map<Tensor, Map<string, Tensor>>();
  /** Steps being collected, those of the innermost loop or branch last. */
  readonly #levels: Step[][] = [[]];
  /** The level of steps in which a capture of a loop was computed. */
  readonly #homes = new Map<Value, number>();
  #buffers = 0;
  readonly #used = new Set<Value>();

  constructor(pool: KernelPool) {
    this.pool = pool;
  }

  buffer(dtype: DType, shape: Shape, source: BufferSource = { kind: "temp" }): Buffer {
    return { id: this.#buffers++, dtype, shape, source };
  }

  temp(dtype: DType, shape: Shape): View {
    return { buffer: this.buffer(dtype, shape), offset: 0 };
  }

  /** A constant in the weights region. */
  weight(value: Tensor): View {
    let view = this.#weights.get(value);
    if (view === undefined) {
      view = { buffer: this.buffer(value.dtype, value.shape, { kind: "weight", value }), offset: 0 };
      this.#weights.set(value, view);
    }
    return view;
  }

  /** A constant computed from another, once for each way (`how`) of computing it. */
  derived(from: Tensor, how: string, make: () => Tensor): View {
    let ways = this.#derived.get(from);
    if (ways === undefined) {
      ways = new Map();
      this.#derived.set(from, ways);
    }
    let value = ways.get(how);
    if (value === undefined) {
      value = make();
      ways.set(how, value);
    }
    return this.weight(value);
  }

  /** Where a value is in memory. */
  view(v: Value): View {
    const known = this.#views.get(v);
    if (known !== undefined) return known;
    if (v.def.op === "constant") {
      const view = this.weight(v.def.attrs.value);
      this.#views.set(v, view);
      return view;
    }
    throw new InternalError(`the value of ${v.def.op} is not computed yet`);
  }

  has(v: Value): boolean {
    return this.#views.has(v) || v.def.op === "constant";
  }

  define(v: Value, view: View): void {
    if (this.#views.has(v)) throw new InternalError(`the value of ${v.def.op} is computed twice`);
    this.#views.set(v, view);
  }

  /** Says which values something reads. */
  use(values: Iterable<Value>): void {
    for (const v of values) this.#used.add(v);
  }

  /** Whether anything reads the value: a kernel need not compute results for nobody. */
  isUsed(v: Value): boolean {
    return this.#used.has(v);
  }

  /** Memory of its own for a result. */
  result(v: Value): View {
    const view = this.temp(v.type.dtype, v.type.shape);
    this.define(v, view);
    return view;
  }

  /** What a kernel reads for a value: single constants are part of the code. */
  leaf(v: Value): Leaf {
    if (v.def.op === "constant" && v.def.attrs.value.data.length === 1) {
      return { kind: "const", value: constantElement(v.def.attrs.value) };
    }
    return { kind: "view", view: this.view(v) };
  }

  add(step: Step): void {
    this.#levels.at(-1)!.push(step);
  }

  get steps(): readonly Step[] {
    return this.#levels.at(-1)!;
  }

  /** Steps that `body` adds, instead of keeping them. */
  collect(body: () => void): readonly Step[] {
    this.#levels.push([]);
    try {
      body();
      return this.steps;
    } finally {
      this.#levels.pop();
    }
  }

  /** Says that in the loop whose steps are being collected, `param` is `operand` in every round. */
  captured(param: Value, operand: Value): void {
    this.#homes.set(param, this.#homes.get(operand) ?? this.#levels.length - 2);
  }

  /**
   * Runs `body`, which may read `v` only; the steps it adds come before the loops that capture `v`, since they do the same in
   * every round.
   */
  beforeLoops<T>(v: Value, body: () => T): T {
    const inner = this.#levels.splice((this.#homes.get(v) ?? this.#levels.length - 1) + 1);
    try {
      return body();
    } finally {
      this.#levels.push(...inner);
    }
  }
}

/** A part of a view, `offset` elements further. */
export const offsetView = (view: View, offset: Dim): View => ({
  buffer: view.buffer,
  offset: dimAdd(view.offset, offset),
});

export type LowerNode = (ctx: LowerContext, node: GraphNode) => void;
