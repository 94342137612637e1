/** What an op's import function sees of its node: inputs, attributes, opset version, and what is known at compile time. */

import { asType, reshapeTo, takeAt } from "../../ir/build.js";
import { type Dim, type DimExpr, dimBounds, dimMax, dimMin } from "../../ir/dim.js";
import type { DType } from "../../ir/dtype.js";
import { ModelError, type Need } from "../../ir/errors.js";
import { typeText, type Value } from "../../ir/graph.js";
import { bindDim } from "../../ir/ops/dynamic.js";
import type { Tensor } from "../../ir/tensor.js";
import { toNumbers } from "../../ir/tensor.js";
import { constantOf, dimOf, type Fact, factOf, factsOf, upperDim } from "../../passes/values/index.js";
import { Attributes, describeNode } from "./attributes.js";
import type { OnnxGraph, OnnxNode } from "./model.js";
import type { Deciders } from "./needs.js";
import type { OnnxTensor } from "./tensor.js";

/** A sequence whose length is known at compile time. */
export interface SequenceValue {
  readonly kind: "sequence";
  readonly items: readonly Bound[];
}

/** A sequence of equal tensors whose length only the running program knows, stacked along a first axis. */
export interface StackedValue {
  readonly kind: "stacked";
  readonly value: Value;
}

/** An optional without a value. */
export interface AbsentValue {
  readonly kind: "absent";
}

/** Strings, which the IR has no type for; only ops that work at compile time take them. */
export interface StringsValue {
  readonly kind: "strings";
  readonly tensor: OnnxTensor;
}

/** The result of a node that could not be imported; its users are skipped, so that one cause is reported once. */
export interface FailedValue {
  readonly kind: "failed";
}

/** What a name of the ONNX graph stands for. */
export type Bound = Value | SequenceValue | StackedValue | AbsentValue | StringsValue | FailedValue;

export const isValue = (b: Bound | undefined): b is Value => b !== undefined && "def" in b;

/** Names that are visible at a place, innermost first. */
export class Scope {
  readonly outer: Scope | undefined;
  private readonly names = new Map<string, Bound>();
  private readonly ranks = new Map<string, number>();

  constructor(outer?: Scope) {
    this.outer = outer;
  }

  /** Notes what the file says of the values of a graph. */
  state({ outputs, valueInfo }: Pick<OnnxGraph, "outputs" | "valueInfo">): void {
    for (const [name, type] of [...valueInfo, ...outputs.map((o) => [o.name, o.type] as const)])
      if (type?.kind === "tensor" && type.shape) this.ranks.set(name, type.shape.length);
  }

  /** How many axes a value of this graph has, where the file says so. */
  statedRank(name: string): number | undefined {
    return this.ranks.get(name);
  }

  set(name: string, bound: Bound): void {
    this.names.set(name, bound);
  }

  get(name: string): Bound | undefined {
    return this.names.get(name) ?? this.outer?.get(name);
  }
}

/** What a dequantised value was made of. */
export interface QuantizedOrigin {
  readonly values: Value;
  readonly scale: Value;
  readonly zero: Value | undefined;
  /** Axis of a scale that is a vector. */
  readonly axis: number;
}

/** The services of the importer that ops need. */
export interface ImportServices {
  /** A new size in [0, bound] that `build`'s node finds when the program runs; gives it and what `build` made. */
  findSize<T extends Value | readonly Value[]>(
    hint: string,
    bound: Dim,
    build: (defines: DimExpr) => T,
  ): { readonly size: DimExpr; readonly made: T };
  /** A new size in [0, bound] that a node is going to find; tell which with `foundBy`. */
  newSize(hint: string, bound: Dim): DimExpr;
  foundBy(size: DimExpr, finder: Value): void;
  /** Imports the nodes of a subgraph in place, with its inputs bound; gives its outputs. */
  inline(graph: OnnxGraph, inputs: readonly Bound[], scope: Scope): readonly Bound[];
  /**
   * Starts the import over with the ranges of input dims narrowed so that the expression is 0. Returns where that is not
   * possible.
   */
  narrow(expression: Dim): void;
  /** Whether a region is being built, which may run or not. */
  readonly inBranch: boolean;
  /** Takes an expression as 0 in the region that is being built; the program checks it when the region runs. */
  assumeZero(expression: Dim): void;
  /** Where the dim is taken as 1, the index 0 by a name whose mention makes the check happen. */
  assumedOne(dim: Dim): DimExpr | undefined;
  /** Runs `body`; where something in it could not be imported, forgets that and gives undefined. */
  tentatively<T>(body: () => T): T | undefined;
  /** Runs `body`, which builds a region: sizes that it finds belong to the region. */
  inRegion<T>(body: () => T): T;
  /** Runs `body`, which builds a branch that runs by the condition. */
  underCondition<T>(condition: Value, body: () => T): T;
  /** Results of DequantizeLinear, and what they are made of. */
  readonly dequantized: Map<Value, QuantizedOrigin>;
  /** A number that this import gives out once. */
  serialNumber(): number;
  /** What about the graph's inputs decides values and sizes. */
  readonly needs: Deciders;
  /** Upper bound of sizes of which nothing else is known. */
  readonly maxUnknownSize: number;
  /** For how many rounds a loop that says nothing of their number has room. */
  readonly unknownRounds: number;
}

/** Vectors of more sizes than this are no shapes. */
const MAX_RANK = 64;

export class NodeContext {
  readonly node: OnnxNode;
  readonly attrs: Attributes;
  /** The version of the op's definition that holds: the latest that is not newer than the model's opset. */
  readonly since: number;
  readonly services: ImportServices;
  readonly scope: Scope;
  readonly inputs: readonly (Bound | undefined)[];
  /** Inputs that were asked for. */
  private readonly asked: Set<number>;

  /** `inputs`: other ones than those that the scope binds to the node's names. */
  constructor(
    node: OnnxNode,
    since: number,
    services: ImportServices,
    scope: Scope,
    inputs: readonly (Bound | undefined)[] = node.inputs.map((name) => (name === "" ? undefined : scope.get(name))),
    asked: Set<number> = new Set(),
  ) {
    this.node = node;
    this.attrs = new Attributes(node);
    this.since = since;
    this.services = services;
    this.scope = scope;
    this.inputs = inputs;
    this.asked = asked;
  }

  /** The node as a version of ONNX's own domain defines it. */
  asSince(since: number): NodeContext {
    return new NodeContext(this.node, since, this.services, this.scope, this.inputs, this.asked);
  }

  /** Says of inputs that they don't matter. */
  leaveAside(...inputs: readonly number[]): void {
    for (const i of inputs) this.asked.add(i);
  }

  /** Inputs that nobody asked for. */
  get unasked(): readonly number[] {
    return this.inputs.flatMap((_, i) => (this.inputs[i] !== undefined && !this.asked.has(i) ? [i] : []));
  }

  /** An error about this node. */
  error(message: string, hint?: string, needs?: readonly Need[]): ModelError {
    return new ModelError({ where: describeNode(this.node), message, hint, needs });
  }

  /** How many inputs the node has, absent ones in between included. */
  get count(): number {
    return this.inputs.length;
  }

  has(i: number): boolean {
    this.asked.add(i);
    return this.inputs[i] !== undefined && (this.inputs[i] as { kind?: string }).kind !== "absent";
  }

  /** A required tensor input. */
  input(i: number): Value {
    const value = this.optional(i);
    if (value === undefined) throw this.error(`input ${i} is required, but is absent`);
    return value;
  }

  /** A tensor input that may be absent. */
  optional(i: number): Value | undefined {
    this.asked.add(i);
    const bound = this.inputs[i];
    if (bound === undefined || isValue(bound)) return bound;
    if (bound.kind === "absent") return undefined;
    throw this.error(
      `input ${i} should be a tensor of numbers, but is ${bound.kind === "strings" ? "a tensor of strings" : `a ${bound.kind}`}`,
    );
  }

  /** All inputs, each a tensor. */
  values(): readonly Value[] {
    return this.inputs.map((_, i) => this.input(i));
  }

  sequence(i: number): SequenceValue {
    const bound = this.inputs[i];
    if (bound !== undefined && !isValue(bound) && bound.kind === "sequence") return bound;
    throw this.error(`input ${i} should be a sequence`);
  }

  /** How many axes output i has, where the file says so; nothing has checked it. */
  statedRank(i: number): number | undefined {
    return this.scope.statedRank(this.node.outputs[i] ?? "");
  }

  /** The input as a host tensor, if it follows from constants. */
  constant(i: number): Tensor | undefined {
    const value = this.optional(i);
    return value && constantOf(value);
  }

  /** What is known of each element of a small input. */
  facts(i: number): readonly Fact[] | undefined {
    return factsOf(this.input(i));
  }

  /** What is known of an input of one element. */
  fact(i: number): Fact | undefined {
    return factOf(this.input(i));
  }

  /** Elements of an integer input that must be known when compiling, as dims. */
  dims(i: number, what: string): readonly Dim[] {
    const dims = this.facts(i)?.map(dimOf);
    if (dims?.every((d) => d !== undefined)) return dims as Dim[];
    throw this.dependsOnData(i, what);
  }

  /** How many axes a vector with an element for each speaks of. */
  rankOf(vector: Value): number {
    const [length] = vector.type.shape;
    if (vector.type.shape.length !== 1 || typeof length !== "number")
      throw this.error(
        `a vector with an element for each axis should have a fixed length, but is ${typeText(vector.type)}`,
      );
    if (length > MAX_RANK)
      throw this.error(`a vector with an element for each axis has ${length}; at most ${MAX_RANK} axes make sense`);
    return length;
  }

  /**
   * Elements of an integer vector as dims; what only the running program knows becomes a size that it finds, at most
   * `bound(i)` (which must be at least 0) and what is known of it.
   */
  dimsWithin(i: number, bound: (k: number) => Dim = () => this.services.maxUnknownSize): readonly Dim[] {
    const value = this.input(i);
    const facts = this.facts(i);
    return Array.from({ length: this.rankOf(value) }, (_, k) => {
      const known = dimOf(facts?.[k]);
      if (known !== undefined) return known;
      const scalar = asType(takeAt(value, 0, k), "i64");
      const most = sizeWithin(facts?.[k], bound(k));
      return this.services.findSize("size", most, (defines) => bindDim([scalar], { defines })).size;
    });
  }

  /** A size given by an input of one element; found when the program runs where it is not known before. */
  dimWithin(i: number, what: string, bound: Dim = this.services.maxUnknownSize): Dim {
    const value = this.input(i);
    const fact = this.fact(i);
    if (fact === undefined)
      throw this.error(`${what} (input ${i}) should be a single value, but is ${typeText(value.type)}`);
    const known = dimOf(fact);
    if (known !== undefined) return known;
    const scalar = asType(reshapeTo(value, []), "i64");
    return this.services.findSize("size", sizeWithin(fact, bound), (defines) => bindDim([scalar], { defines })).size;
  }

  /** Integers of an input that must be constant. */
  ints(i: number, what: string): readonly number[] {
    return this.dims(i, what).map((d) => {
      if (typeof d === "number") return d;
      throw this.error(
        `${what} (input ${i}) depends on a dynamic dimension (${d.key}); a constant is needed`,
        "fix the dimension when importing",
        this.services.needs.ofDims([d]),
      );
    });
  }

  /** An error that says which graph inputs decide the value of input i. */
  dependsOnData(i: number, what: string): ModelError {
    const needs = this.services.needs.ofValue(this.input(i));
    const names = needs.flatMap((n) => (n.what === "value" ? [n.input] : [])).slice(0, 4);
    const values = names.map((name) => `${JSON.stringify(name)}: …`).join(", ");
    return this.error(
      `${what} (input ${i}, ${typeText(this.input(i).type)}) depends on the data, so its value is not known when compiling`,
      values === ""
        ? "make it a constant"
        : `fix the inputs that decide it with the option values: { ${values} }, make it a constant, or let compileFor take it from the feeds`,
      needs,
    );
  }

  optionalInts(i: number, what: string): readonly number[] | undefined {
    return this.optional(i) === undefined ? undefined : this.ints(i, what);
  }

  /** Numbers of an input that must be constant. */
  floats(i: number, what: string): readonly number[] {
    const tensor = this.constant(i);
    if (tensor) return toNumbers(tensor);
    throw this.dependsOnData(i, what);
  }

  /** A constant scalar (rank 0 or a single element). */
  scalar(i: number, what: string): number {
    const values = this.floats(i, what);
    if (values.length !== 1)
      throw this.error(`${what} (input ${i}) should be a single value, but has ${values.length}`);
    return values[0]!;
  }

  /** The attribute axis (or another) as an index in [0, rank). */
  axis(value: number, rank: number): number {
    if (!Number.isInteger(value) || value < -rank || value >= rank)
      throw this.error(`axis ${value} is outside the ${rank} axes of the input`);
    return value < 0 ? value + rank : value;
  }

  axes(values: readonly number[], rank: number): readonly number[] {
    const axes = values.map((v) => this.axis(v, rank)).sort((a, b) => a - b);
    if (new Set(axes).size !== axes.length) throw this.error(`axes [${values.join(", ")}] name an axis twice`);
    return axes;
  }

  requireDType(value: Value, allowed: readonly DType[], what: string): void {
    if (!allowed.includes(value.type.dtype))
      throw this.error(`${what} should be ${allowed.join(" or ")}, but is ${typeText(value.type)}`);
  }
}

/** The smaller of a bound and what is known of a size. */
export function sizeWithin(fact: Fact | undefined, bound: Dim): Dim {
  const known = fact && upperDim(fact);
  if (known === undefined) return bound;
  return dimMin(bound, dimBounds(known).min >= 0 ? known : dimMax(known, 0));
}

/** Imports one node: its results in the order of its outputs; trailing results that the node doesn't name may be left out. */
export type ImportOp = (context: NodeContext) => Bound | readonly Bound[];

/** An op that is known but not imported. */
export interface UnsupportedOp {
  readonly unsupported: string;
  /** What to do about it. */
  readonly hint?: string;
}

export type OpRow = ImportOp | UnsupportedOp;
