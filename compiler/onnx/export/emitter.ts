/**
 * Writes the nodes of one Graph (or region) as ONNX nodes.
 *
 * Values are emitted in topological order by their op's row. Constants, broadcasts, counters and sizes are emitted when
 * something asks for them: most broadcasts vanish in ONNX's own broadcasting.
 */

import type { Dim } from "../../../ir/dim.js";
import { dimEqual } from "../../../ir/dim.js";
import type { DType } from "../../../ir/dtype.js";
import { InternalError, ModelError } from "../../../ir/errors.js";
import {
  type Attrs,
  definedSymbols,
  type Graph,
  type GraphNode,
  graphNodes,
  paramName,
  topologicalOrder,
  type Value,
  withLoc,
} from "../../../ir/graph.js";
import { opOf } from "../../../ir/ops/index.js";
import { scalar, type Tensor, tensorFrom } from "../../../ir/tensor.js";
import { type AttrDrafts, type GraphDraft, ints, type NodeDraft, type Ref, type TypedRef, typeCode } from "./draft.js";
import type { ModelDraft } from "./model-draft.js";
import { Sizes } from "./sizes.js";

/** Emits a node; gives its results in order. */
export type EmitNode = (e: Emitter, node: GraphNode) => readonly Ref[];

/** Emitted where they are used. */
const LAZY: ReadonlySet<string> = new Set(["constant", "broadcast", "dimSize", "iota"]);

export class Emitter {
  readonly model: ModelDraft;
  readonly sizes: Sizes;
  readonly nodes: NodeDraft[] = [];
  /** What the nodes that are being emitted are called. */
  loc: string | undefined;
  readonly #outer: Emitter | undefined;
  readonly #rows: EmitNode;
  readonly #refs = new Map<Value, Ref>();
  readonly #uses = new Map<Value, number>();

  constructor(model: ModelDraft, rows: EmitNode, outer?: Emitter) {
    this.model = model;
    this.#rows = rows;
    this.#outer = outer;
    this.sizes = new Sizes(this, outer?.sizes);
  }

  // ----------------------------------------------------------------------------------------------------- ONNX nodes

  /** A node with one output. */
  op(op: string, inputs: readonly (Ref | undefined)[], attrs: AttrDrafts = {}): Ref {
    return this.ops(op, inputs, attrs, 1)[0]!;
  }

  /** A node with several outputs. */
  ops(op: string, inputs: readonly (Ref | undefined)[], attrs: AttrDrafts, count: number): readonly Ref[] {
    this.model.needOp(op, this.loc);
    const hint = this.loc ?? op.toLowerCase();
    const outputs = Array.from({ length: count }, (): Ref => ({ hint }));
    const last = inputs.findLastIndex((i) => i !== undefined);
    this.nodes.push({ op, inputs: inputs.slice(0, last + 1), outputs, attrs, loc: this.loc });
    return outputs;
  }

  constant(tensor: Tensor, name?: string): Ref {
    this.model.needType(tensor.dtype, "", this.loc);
    return this.model.constant(tensor, name);
  }

  scalar(dtype: DType, value: number | bigint): Ref {
    return this.constant(scalar(dtype, value));
  }

  /** An i64 vector. */
  ints(values: readonly number[]): Ref {
    return this.constant(tensorFrom("i64", [values.length], values));
  }

  cast(x: Ref, from: DType, to: DType): Ref {
    return from === to ? x : this.op("Cast", [x], { to: typeCode(to) });
  }

  /** Computes in another dtype and comes back; nothing is cast where they are the same. */
  via(x: readonly Ref[], from: DType, through: DType, compute: (x: readonly Ref[]) => Ref): Ref {
    return this.cast(compute(x.map((r) => this.cast(r, from, through))), through, from);
  }

  reshape(x: Ref, shape: readonly Dim[]): Ref {
    return this.op(
      "Reshape",
      [x, this.sizes.shape(shape)],
      shape.includes(0) ? { allowzero: { kind: "int", value: 1 } } : {},
    );
  }

  transpose(x: Ref, perm: readonly number[]): Ref {
    return perm.every((p, i) => p === i) ? x : this.op("Transpose", [x], { perm: ints(perm) });
  }

  // --------------------------------------------------------------------------------------------------------- values

  set(value: Value, ref: Ref): void {
    this.#refs.set(value, ref);
  }

  #find(value: Value): Ref | undefined {
    return this.#refs.get(value) ?? (this.#outer ? this.#outer.#find(value) : undefined);
  }

  /** The ONNX value of an IR value. */
  ref(value: Value): Ref {
    const known = this.#find(value);
    if (known) return known;
    const { def } = value;
    if (def.op === "param") throw new InternalError(`parameter ${def.name} has no ONNX value`);
    if (!LAZY.has(def.op)) throw new InternalError(`${def.op} has not been emitted`);
    this.#emit(def);
    return this.ref(value);
  }

  /** How many nodes and results take the value. */
  uses(value: Value): number {
    return (this.#uses.get(value) ?? 0) + (this.#outer?.uses(value) ?? 0);
  }

  #note(nodes: readonly GraphNode[], roots: readonly Value[]): void {
    for (const v of [...nodes.flatMap((n) => n.operands), ...roots]) this.#uses.set(v, (this.#uses.get(v) ?? 0) + 1);
  }

  /**
   * Gives the node of this graph that made the value a further input, if it is an op of these with so many inputs and only one
   * node takes the value.
   */
  extend(value: Value, ops: readonly string[], inputs: number, input: () => Ref | undefined): Ref | undefined {
    const ref = this.#refs.get(value);
    if (!ref || this.uses(value) !== 1) return undefined;
    const at = this.nodes.findLastIndex((n) => n.outputs[0] === ref);
    const node = this.nodes[at];
    if (!node || !ops.includes(node.op) || node.inputs.length !== inputs) return undefined;
    const more = input();
    if (!more) return undefined;
    this.nodes[at] = { ...node, inputs: [...node.inputs, more] };
    return ref;
  }

  refs(values: readonly Value[]): readonly Ref[] {
    return values.map((v) => this.ref(v));
  }

  /** Operands of one shape as ONNX's broadcasting takes them: repeated ones only where nothing else gives the size. */
  broadcasting(values: readonly Value[]): readonly Ref[] {
    const { shape } = values[0]!.type;
    const sources = values.map((v) => alignedSource(v));
    const covered = shape.map((d, a) => d === 1 || sources.some((s) => dimEqual(s.aligned[a]!, d)));
    const full = covered.every((c) => c) ? -1 : sources.findIndex((s) => s.source !== undefined);
    return values.map((v, i) => {
      const { source, aligned } = sources[i]!;
      if (source === undefined || i === full || this.#find(v)) return this.ref(v);
      const { axes } = source.attrs;
      const x = this.ref(source.operand);
      const trailing = axes.every((a, k) => a === shape.length - axes.length + k);
      return trailing ? x : this.reshape(x, aligned.slice(axes[0] ?? shape.length));
    });
  }

  /** Emits what the values depend on and is not there yet; gives their ONNX values. */
  emitValues(values: readonly Value[]): readonly Ref[] {
    const order = topologicalOrder(values, (v) => this.#find(v) !== undefined);
    this.#note(order, values);
    for (const node of order) if (!LAZY.has(node.op)) this.#emit(node);
    return this.refs(values);
  }

  /** Emits a composite by its definition. */
  decompose(node: GraphNode): readonly Ref[] {
    const facts = opOf(node);
    if (facts.kind !== "composite") throw new InternalError(`${node.op} does not decompose`);
    const made = withLoc(node.loc, () => facts.decompose(node.operands, node.attrs as Attrs, node.regions));
    return this.emitValues(Array.isArray(made) ? made : [made as Value]);
  }

  #emit(node: GraphNode): void {
    const saved = this.loc;
    this.loc = node.loc ?? saved;
    const from = this.nodes.length;
    try {
      const refs = this.#rows(this, node);
      node.results.forEach((r, i) => {
        if (refs[i]) this.set(r, refs[i]);
      });
      this.#defineSizes(node);
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      this.model.problems.push(...error.problems.map((p) => ({ ...p, where: p.where ?? node.loc ?? node.op })));
      for (const r of node.results) this.set(r, { hint: node.op });
    } finally {
      const types = new Set([...node.operands, ...node.results].map((v) => v.type.dtype));
      for (const made of this.nodes.slice(from)) for (const t of types) this.model.needType(t, made.op, this.loc);
      this.loc = saved;
    }
  }

  /** Sizes that the node finds show in the shapes of its results. */
  #defineSizes(node: GraphNode): void {
    for (const symbol of definedSymbols(node))
      for (const r of node.results) {
        const ref = this.#refs.get(r);
        if (ref) this.sizes.defineFrom(ref, r.type.shape, new Set([symbol.name]));
      }
  }

  // --------------------------------------------------------------------------------------------------------- graphs

  /** Emits all nodes of a graph whose parameters are set; gives its results. */
  body(g: Graph): readonly Ref[] {
    const order = graphNodes(g);
    this.#note(order, g.results);
    for (const node of order) if (!LAZY.has(node.op)) this.#emit(node);
    return this.refs(g.results);
  }

  /**
   * A region as an ONNX subgraph. `formal`: how many of its parameters are the subgraph's inputs; the others are captures, which
   * ONNX reaches by name.
   */
  region(g: Graph, formal: number, captures: readonly Value[]): GraphDraft {
    const inner = new Emitter(this.model, this.#rows, this);
    inner.loc = this.loc;
    const inputs = g.params.slice(0, formal).map((p): TypedRef => ({ ref: { hint: paramName(p) }, type: p.type }));
    inputs.forEach(({ ref }, i) => {
      inner.set(g.params[i]!, ref);
    });
    g.params.slice(formal).forEach((p, i) => {
      inner.set(p, this.ref(captures[i]!));
    });
    for (const { ref, type } of inputs) inner.sizes.defineFrom(ref, type.shape);
    const results = inner.body(g);
    const own = new Set<Ref>(inner.nodes.flatMap((n) => n.outputs));
    // An output is a value that a node of the subgraph makes, and no other output is the same.
    const outputs = results.map((r, i): TypedRef => {
      const ref = own.delete(r) ? r : inner.op("Identity", [r]);
      return { ref, type: g.results[i]!.type };
    });
    return { name: g.name, inputs, outputs, nodes: inner.nodes };
  }
}

type BroadcastNode = Extract<GraphNode, { op: "broadcast" }>;

/** What a broadcast repeats, and its sizes along the axes of the result (1 where it is repeated). */
function alignedSource(v: Value): {
  readonly source: { readonly operand: Value; readonly attrs: BroadcastNode["attrs"] } | undefined;
  readonly aligned: readonly Dim[];
} {
  if (v.def.op !== "broadcast") return { source: undefined, aligned: v.type.shape };
  const { attrs, operands } = v.def;
  const operand = operands[0]!;
  const aligned: Dim[] = v.type.shape.map(() => 1);
  attrs.axes.forEach((axis, i) => {
    aligned[axis] = operand.type.shape[i]!;
  });
  return { source: { operand, attrs }, aligned };
}
