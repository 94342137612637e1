/** State of one lowering: where each value lives, and the steps so far. */

import { assumptionsOf } from "../../../ir/assumptions.js";
import { type Dim, dimAdd, dimBounds, dimSymbols, dimText } from "../../../ir/dim.js";
import type { DType } from "../../../ir/dtype.js";
import { InternalError, ModelError } from "../../../ir/errors.js";
import { type GraphNode, type Shape, typeText, type Value } from "../../../ir/graph.js";
import type { Assumption } from "../../../ir/infer.js";
import { productOf } from "../../../ir/ops/movement.js";
import type { Tensor } from "../../../ir/tensor.js";
import type { Buffer, BufferSource, Derived, Limit, Requirement, Step, View } from "../../schedule.js";
import type { KernelPool } from "./kernel-builder.js";
import { constantElement, type Leaf } from "./point.js";
import type { Tuner } from "./tuner.js";

export interface ContextOptions {
  /** What comes out the same in every run is computed once (plan/prepare.ts). */
  readonly keeps?: boolean;
  /** Constants that kernels read as they lie. */
  readonly stored?: ReadonlySet<Tensor>;
  readonly tuner?: Tuner | undefined;
}

export class LowerContext {
  readonly pool: KernelPool;
  readonly #lowerNodes: (ctx: LowerContext, nodes: readonly GraphNode[]) => void;
  readonly #views = new Map<Value, View>();
  readonly #weights = new Map<Tensor | Derived, View>();
  readonly #derived = new Map<Tensor, Map<string, Derived>>();
  /** Steps being collected, those of the innermost loop or branch last. */
  readonly #levels: Step[][] = [[]];
  /** The level of steps in which a capture of a loop was computed. */
  readonly #homes = new Map<Value, number>();
  #buffers = 0;
  #limits = 0;
  /** The user's own name of the node that is being lowered. */
  #node: string | undefined;
  /** By text; of regions, those that a check precedes already. */
  #checked = new Set<string>();
  readonly #requirements: Requirement[] = [];
  /** Sizes of axes that elements are known to be indices into. */
  readonly #indices = new Map<Value, Set<string>>();
  readonly #used = new Set<Value>();
  readonly #over = new Map<Value, Value>();
  /** Whether values are the same in every run, and what is made of them kept. */
  readonly #kept = new Map<Value, boolean>();
  readonly #keeps: boolean;
  /** Chooses kernels, if anything does but estimated costs. */
  readonly tuner: Tuner | undefined;
  /** The kind of the node whose kernel the tuner chose, while its steps are added. */
  #chosenFor: string | undefined;
  readonly #stored: ReadonlySet<Tensor>;

  /**
   * @param lowerNodes lowers the nodes of regions, in the given order
   */
  constructor(
    pool: KernelPool,
    lowerNodes: (ctx: LowerContext, nodes: readonly GraphNode[]) => void,
    { keeps = false, stored = new Set(), tuner }: ContextOptions = {},
  ) {
    this.pool = pool;
    this.#lowerNodes = lowerNodes;
    this.#keeps = keeps;
    this.#stored = stored;
    this.tuner = tuner;
  }

  /** Whether the constant is in the weights region as it is, whatever else is made of it. */
  isStored(t: Tensor): boolean {
    return this.#stored.has(t);
  }

  /** Says that the parameter is the same in every run. */
  keep(param: Value): void {
    this.#kept.set(param, this.#keeps);
  }

  /** Whether what is made of the value alone is made once, and not in every run. */
  isKept(v: Value): boolean {
    const known = this.#kept.get(v);
    if (known !== undefined) return known;
    const kept = this.#keeps && v.def.op !== "param" && v.def.operands.every((o) => this.isKept(o));
    this.#kept.set(v, kept);
    return kept;
  }

  /** Lowers nodes of a region here, operands before their users. */
  lower(nodes: readonly GraphNode[]): void {
    this.#lowerNodes(this, nodes);
  }

  buffer(dtype: DType, shape: Shape, source: BufferSource = { kind: "temp" }): Buffer {
    // Index arithmetic has 32 bits with a sign.
    const { min } = dimBounds(productOf(shape));
    if (min >= 2 ** 31)
      throw new ModelError({
        where: "name" in source ? source.name : this.#node,
        message: `a value of type ${typeText({ dtype, shape })} has too many elements: kernels count up to 2^31 − 1`,
        hint: "use smaller sizes, or split the value",
      });
    return { id: this.#buffers++, dtype, shape, source };
  }

  temp(dtype: DType, shape: Shape): View {
    return { buffer: this.buffer(dtype, shape), offset: 0 };
  }

  /** A constant in the weights region. */
  weight(value: Tensor | Derived): View {
    let view = this.#weights.get(value);
    if (view === undefined) {
      view = { buffer: this.buffer(value.dtype, value.shape, { kind: "weight", value }), offset: 0 };
      this.#weights.set(value, view);
    }
    return view;
  }

  /** A constant computed from another, stored once for each way (`how`) of computing it. */
  derived(
    from: Tensor,
    how: string,
    [dtype, shape]: readonly [dtype: DType, shape: readonly number[]],
    fill: (out: Tensor) => void,
  ): View {
    let ways = this.#derived.get(from);
    if (ways === undefined) {
      ways = new Map();
      this.#derived.set(from, ways);
    }
    let value = ways.get(how);
    if (value === undefined) {
      value = { dtype, shape, from, how, fill };
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

  /** Says that a value is the next one of another, in whose place it may be written. */
  writesOver(next: Value, old: Value): void {
    this.#over.set(next, old);
  }

  writtenOver(next: Value): Value | undefined {
    return this.#over.get(next);
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
    const chosenFor = this.#chosenFor;
    const isPart = step.kind === "kernel" && chosenFor !== undefined;
    this.#levels.at(-1)!.push(isPart ? { ...step, chosenFor } : step);
  }

  /** Marks the kernels that `body` adds as those of nodes of the kind. */
  choosingFor(kind: string | undefined, body: () => void): void {
    const outer = this.#chosenFor;
    this.#chosenFor = kind ?? outer;
    try {
      body();
    } finally {
      this.#chosenFor = outer;
    }
  }

  get steps(): readonly Step[] {
    return this.#levels.at(-1)!;
  }

  /** Steps that `body` adds, instead of keeping them. */
  collect(body: () => void): readonly Step[] {
    const outer = this.#checked;
    this.#levels.push([]);
    this.#checked = new Set(outer);
    try {
      body();
      return this.steps;
    } finally {
      this.#levels.pop();
      this.#checked = outer;
    }
  }

  /** Says that in the loop whose steps are being collected, `param` is `operand` in every round. */
  captured(param: Value, operand: Value): void {
    this.#homes.set(param, this.#homes.get(operand) ?? this.#levels.length - 2);
  }

  /** Whether the value is the same in every round of the loop whose steps are being collected. */
  isCaptured(v: Value): boolean {
    return (this.#homes.get(v) ?? this.#levels.length) < this.#levels.length - 1;
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

  get requirements(): readonly Requirement[] {
    return this.#requirements;
  }

  /**
   * Checks what the node assumes of sizes: before the run where inputs give them and the node runs in any case, else before
   * the node.
   */
  checkSizes(node: GraphNode): void {
    this.#node = node.loc ?? node.op;
    const fresh = assumptionsOf(node).filter(({ value, must }) => {
      const key = `${must} ${dimText(value)}`;
      const isNew = !this.#checked.has(key);
      this.#checked.add(key);
      return isNew;
    });
    this.require(fresh, node.loc, node.op);
  }

  /** A limit of its own, for a kernel to break. */
  limit(where: string, message: string, hint: string): Limit {
    return { symbol: `limit.${this.#limits++}`, where, message, hint };
  }

  /** Whether each run checks earlier that the elements are indices into an axis of this size; from here on it counts as checked. */
  isChecked(indices: Value, size: Dim): boolean {
    let sizes = this.#indices.get(indices);
    if (sizes === undefined) {
      sizes = new Set();
      this.#indices.set(indices, sizes);
    }
    const key = dimText(size);
    if (sizes.has(key)) return true;
    // What a loop or branch checks, may not be checked at all.
    if (this.#levels.length === 1) sizes.add(key);
    return false;
  }

  /** Checks before the next step that sizes are what `assumptions` say, whatever was checked before. */
  require(assumptions: readonly Assumption[], loc: string | undefined, op: string): void {
    const inRun: Requirement[] = [];
    for (const { value, must, text, hint } of assumptions) {
      const limit = this.limit(loc ?? op, `the sizes do not fit: ${text}`, hint ?? "give inputs of other sizes");
      const isGiven = this.#levels.length === 1 && [...dimSymbols(value).values()].every((s) => s.bound === undefined);
      (isGiven ? this.#requirements : inRun).push({ value, must, limit });
    }
    if (inRun.length > 0) this.add({ kind: "check", requirements: inRun, loc });
  }
}

/** A part of a view, `offset` elements further. */
export const offsetView = (view: View, offset: Dim): View => ({
  buffer: view.buffer,
  offset: dimAdd(view.offset, offset),
});

export type LowerNode = (ctx: LowerContext, node: GraphNode) => void;
