/**
 * ONNX → Graph IR: one walk over a model.
 *
 * The nodes are taken in order; each is rewritten by its op's row in ops/. What can't be imported is collected, its users
 * are skipped, and at the end ONE ModelError lists everything.
 */

import { checkTime } from "../../ir/deadline.js";
import { type Dim, type DimExpr, dimSub, dimSymbols, dimText, evaluateDim } from "../../ir/dim.js";
import { ModelError, type Need, type Problem } from "../../ir/errors.js";
import {
  type Graph,
  graphNodes,
  graphSymbols,
  graph as makeGraph,
  typeText,
  type Value,
  withLoc,
} from "../../ir/graph.js";
import { dimSize } from "../../ir/ops/constant.js";
import { bindDim, unknownSize } from "../../ir/ops/dynamic.js";
import { describeNode } from "./attributes.js";
import { bindTensor } from "./build.js";
import {
  type Bound,
  type ImportOp,
  type ImportServices,
  isValue,
  NodeContext,
  type QuantizedOrigin,
  Scope,
} from "./context.js";
import { GraphInputs, type ImportOptions, legalName } from "./inputs.js";
import type { OnnxGraph, OnnxModel, OnnxNode } from "./model.js";
import { NarrowDim, rangeOfZero } from "./narrow.js";
import { Deciders, type SizeNeed } from "./needs.js";
import { onBytes } from "./ops/dequantized.js";
import { findOp, type UnsupportedUse } from "./ops/index.js";

/** Nodes after inlining and unrolling that a model may have, if the caller does not say. */
export const MAX_NODES = 500_000;

/** How a graph input or output is made of parameters or results: one, several (a sequence), or none (an absent optional). */
export type Structure =
  | { readonly kind: "tensor"; readonly at: number }
  | { readonly kind: "sequence"; readonly items: readonly Structure[] }
  /** A sequence of equal tensors, stacked along a first axis. */
  | { readonly kind: "stacked"; readonly at: number }
  | { readonly kind: "absent" };

export interface ImportedModel {
  readonly graph: Graph;
  readonly outputs: readonly { readonly name: string; readonly structure: Structure }[];
  /** Where the sizes of inputs stand that stay open, by symbol. */
  readonly openSizes: ReadonlyMap<string, SizeNeed>;
  /** What decides the sizes that the program finds. */
  readonly foundSizes: readonly Need[];
}

const FAILED: Bound = { kind: "failed" };

export class Importer implements ImportServices {
  readonly problems: Problem[] = [];
  readonly needs = new Deciders();
  readonly dequantized = new Map<Value, QuantizedOrigin>();
  readonly unsupported = new Map<string, UnsupportedUse>();
  private readonly options: ImportOptions;
  private serial = 0;
  /** Finders of sizes of the graph or region that is being built. */
  private finders = new Map<string, Value>();
  /** Expressions that are taken as 0 in the region that is being built, with the size whose bound 0 makes them so. */
  private assumed = new Map<string, DimExpr>();
  private regions = 0;
  /** Conditions of the branches that are being built, outermost first. */
  private readonly conditions: Value[] = [];
  private nodes = 0;

  constructor(options: ImportOptions) {
    this.options = options;
  }

  import(model: OnnxModel): ImportedModel {
    const { overridable = [] } = model.graph;
    const { overrides = [], values = {} } = this.options;
    const overridden = overridable.filter(({ name }) => overrides.includes(name) || Object.hasOwn(values, name));
    const fixedInputs = overridable.filter((input) => !overridden.includes(input)).map((input) => input.name);
    const graph: OnnxGraph = { ...model.graph, inputs: [...model.graph.inputs, ...overridden] };
    const scope = new Scope();
    const params: Value[] = [];
    const inputs = new GraphInputs(this.options, this.needs, () => this.serialNumber());
    for (const input of graph.inputs) {
      scope.set(input.name, this.attempt(`input "${input.name}"`, () => inputs.bind(input, params)) ?? FAILED);
    }
    this.body(graph, scope);
    const results: Value[] = [];
    const names: string[] = [];
    const result = (value: Value, name: string): number => {
      const known = names.indexOf(name);
      if (known < 0) {
        names.push(name);
        return results.push(value) - 1;
      }
      // A file may list an output twice; it is one result.
      if (results[known] !== value)
        this.problems.push({ where: `output "${name}"`, message: "two outputs have this name" });
      return known;
    };
    const collect = (bound: Bound, name: string): Structure => {
      if (isValue(bound)) return { kind: "tensor", at: result(bound, name) };
      if (bound.kind === "absent") return { kind: "absent" };
      if (bound.kind === "sequence")
        return { kind: "sequence", items: bound.items.map((item, i) => collect(item, `${name}.${i}`)) };
      if (bound.kind === "stacked") return { kind: "stacked", at: result(bound.value, name) };
      if (bound.kind === "strings")
        this.problems.push({ where: `output "${name}"`, message: "outputs of strings are not supported" });
      return { kind: "absent" };
    };
    const wanted = this.options.outputs ?? graph.outputs.map((o) => o.name);
    const outputs = wanted.map((name) => ({ name, structure: collect(scope.get(name) ?? FAILED, name) }));
    const problems = [...[...this.unsupported.values()].map(describeUnsupported), ...this.problems];
    if (problems.length > 0) throw new ModelError(problems);
    const closed = this.close(graph.name || "model", params, results, names);
    return {
      graph: fixedInputs.length > 0 ? { ...closed, fixedInputs } : closed,
      outputs,
      openSizes: this.needs.openSizes,
      foundSizes: this.needs.ofFinders(),
    };
  }

  /**
   * Runs `build`; a ModelError is noted (at `where`, unless it says where itself) and gives undefined. `sizes`: what may matter for
   * problems that do not say what they need.
   */
  private attempt<T>(where: string, build: () => T, sizes: () => readonly Need[] = () => []): T | undefined {
    try {
      return build();
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      for (const p of error.problems)
        this.problems.push({ ...p, where: p.where ?? where, ...(p.needs?.length ? {} : { sizes: sizes() }) });
      return undefined;
    }
  }

  findSize<T extends Value | readonly Value[]>(
    hint: string,
    bound: Dim,
    build: (defines: DimExpr) => T,
  ): { size: DimExpr; made: T } {
    const size = this.newSize(hint, bound);
    const made = build(size);
    this.foundBy(size, Array.isArray(made) ? made[0] : (made as Value));
    return { size, made };
  }

  newSize(hint: string, bound: Dim): DimExpr {
    return unknownSize(`${legalName(hint)}_${++this.serial}`, bound);
  }

  foundBy(size: DimExpr, finder: Value): void {
    this.finders.set(size.key, finder);
    this.needs.finder(size.key, finder);
  }

  /** The graph, with those finders of sizes that it needs only for their sizes. */
  private close(name: string, params: readonly Value[], results: readonly Value[], names: readonly string[]): Graph {
    // A finder that nothing depends on but through its size is kept; one whose size nobody mentions is not.
    const kept = new Map<string, Value>();
    for (;;) {
      const closed = makeGraph(name, params, results, names, undefined, [...kept.values()]);
      const alive = new Set(graphNodes(closed));
      const mentioned = graphSymbols(closed);
      const missing = [...this.finders].filter(
        ([symbol, v]) => mentioned.has(symbol) && v.def.op !== "param" && !alive.has(v.def) && !kept.has(symbol),
      );
      if (missing.length === 0) return closed;
      for (const [symbol, v] of missing) kept.set(symbol, v);
    }
  }

  private body(graph: OnnxGraph, scope: Scope): void {
    scope.state(graph);
    for (const [name, tensor] of graph.initializers)
      if (scope.get(name) === undefined || graph.inputs.every((i) => i.name !== name))
        scope.set(name, bindTensor(tensor, name));
    for (const node of graph.nodes) this.node(node, scope);
  }

  private node(node: OnnxNode, scope: Scope): void {
    const results = this.importNode(node, scope);
    node.outputs.forEach((name, i) => {
      if (name !== "") scope.set(name, results[i] ?? FAILED);
    });
  }

  private importNode(node: OnnxNode, scope: Scope): readonly Bound[] {
    const where = describeNode(node);
    const found = findOp(node);
    if ("use" in found) {
      const key = JSON.stringify([node.domain, node.opType, found.use.reason]);
      const use = this.unsupported.get(key) ?? { ...found.use, nodes: [] };
      this.unsupported.set(key, { ...use, nodes: [...use.nodes, node.name || (node.outputs[0] ?? "")] });
      return [];
    }
    checkTime(where);
    const { maxNodes = MAX_NODES } = this.options;
    if (++this.nodes > maxNodes)
      throw new ModelError({
        where,
        message: `the model has more than ${maxNodes} nodes`,
        hint: "raise maxNodes",
      });
    const context = new NodeContext(node, found.since, this, scope);
    if (context.inputs.some((i) => i !== undefined && !isValue(i) && i.kind === "failed")) return [];
    const results = this.attempt(
      where,
      () => withLoc(node.name || node.outputs[0], () => applyRow(found.row, context)),
      () => this.needs.ofShapes(context.inputs.flatMap(tensorsOf)),
    );
    if (results === undefined) return [];
    return Array.isArray(results) ? (results as readonly Bound[]) : [results as Bound];
  }

  inline(graph: OnnxGraph, inputs: readonly Bound[], outer: Scope): readonly Bound[] {
    const scope = new Scope(outer);
    graph.inputs.forEach(({ name }, i) => {
      scope.set(name, inputs[i] ?? FAILED);
    });
    this.body(graph, scope);
    return graph.outputs.map(({ name }) => scope.get(name) ?? FAILED);
  }

  tentatively<T>(body: () => T): T | undefined {
    const problems = this.problems.length;
    const unsupported = new Map(this.unsupported);
    const made = body();
    if (this.problems.length === problems && this.unsupported.size === unsupported.size) return made;
    this.problems.length = problems;
    this.unsupported.clear();
    for (const [key, use] of unsupported) this.unsupported.set(key, use);
    return undefined;
  }

  inRegion<T>(body: () => T): T {
    const outer = { finders: this.finders, assumed: this.assumed };
    this.finders = new Map();
    this.assumed = new Map();
    this.regions++;
    try {
      return body();
    } finally {
      this.finders = outer.finders;
      this.assumed = outer.assumed;
      this.regions--;
    }
  }

  get inBranch(): boolean {
    return this.regions > 0;
  }

  assumeZero(expression: Dim): void {
    this.askFeeds(expression);
    const key = dimText(expression);
    if (this.assumed.has(key)) return;
    const found = this.findSize("assumed", 0, (defines) => bindDim([dimSize([], { size: expression })], { defines }));
    this.assumed.set(key, found.size);
  }

  /** Where feeds contradict that an expression is 0, what they say decides, or whether its branch runs at all. */
  private askFeeds(expression: Dim): void {
    const { feeds } = this.options;
    if (!feeds) return;
    const sizes = new Map<string, number>();
    for (const { name } of dimSymbols(expression).values()) {
      const place = this.needs.openSizes.get(name);
      const size = place && feeds.sizeOf(place);
      if (size === undefined) return;
      sizes.set(name, size);
    }
    if (evaluateDim(expression, sizes) === 0) return;
    if (this.conditions.length === 0) {
      this.narrow(expression);
      return;
    }
    const needs = this.conditions.flatMap((c) => this.needs.ofValue(c));
    if (feeds.canAnswer(needs))
      throw new ModelError({ message: "its branch is for other sizes, and may run or not", needs });
  }

  underCondition<T>(condition: Value, body: () => T): T {
    const before = this.problems.length;
    this.conditions.push(condition);
    try {
      return body();
    } finally {
      this.conditions.pop();
      const unless = this.problems.length > before ? this.needs.ofValue(condition) : [];
      for (let i = before; i < this.problems.length; i++) {
        const problem = this.problems[i]!;
        this.problems[i] = { ...problem, unless: [...(problem.unless ?? []), ...unless] };
      }
    }
  }

  assumedOne(dim: Dim): DimExpr | undefined {
    return this.assumed.get(dimText(dimSub(dim, 1))) ?? this.assumed.get(dimText(dimSub(1, dim)));
  }

  serialNumber(): number {
    return ++this.serial;
  }

  narrow(expression: Dim): void {
    const found = rangeOfZero(expression);
    const size = found && this.needs.openSizes.get(found.symbol);
    if (found && size) throw new NarrowDim(size, found.range);
  }

  get maxUnknownSize(): number {
    return this.options.maxUnknownSize ?? 2 ** 31 - 1;
  }

  get unknownRounds(): number {
    return this.options.maxUnknownSize ?? 4096;
  }
}

/** The tensors that a name stands for. */
function tensorsOf(bound: Bound | undefined): readonly Value[] {
  if (bound === undefined) return [];
  if (isValue(bound)) return [bound];
  if (bound.kind === "sequence") return bound.items.flatMap(tensorsOf);
  return bound.kind === "stacked" ? [bound.value] : [];
}

/**
 * Runs a row. Rows check what users get wrong; a damaged file may also have ranks and types that no exporter writes, which
 * end here.
 */
function applyRow(row: ImportOp, context: NodeContext): Bound | readonly Bound[] {
  try {
    const results = onBytes(row, context);
    // Its ops come to have more inputs without a new version.
    const [unknown] = context.node.domain === "com.microsoft" ? context.unasked : [];
    if (unknown !== undefined)
      throw context.error(
        `its input ${unknown} (${JSON.stringify(context.node.inputs[unknown])}) is not supported: what it says would be left out`,
      );
    return results;
  } catch (cause) {
    if (!(cause instanceof TypeError || cause instanceof RangeError)) throw cause;
    const inputs = context.inputs.map((b) => (b === undefined ? "absent" : isValue(b) ? typeText(b.type) : b.kind));
    throw new ModelError(
      {
        where: describeNode(context.node),
        message: `the op can't take inputs of the types (${inputs.join(", ")}): ${cause.message}`,
        hint: "the file is damaged, or its exporter wrote something that the op's definition does not allow",
      },
      { cause },
    );
  }
}

const MOST_NAMES = 8;

export function describeUnsupported(use: UnsupportedUse): Problem {
  const names = use.nodes.slice(0, MOST_NAMES).join(", ");
  const more = use.nodes.length > MOST_NAMES ? ` and ${use.nodes.length - MOST_NAMES} more` : "";
  const domain = use.domain === "" ? "ai.onnx" : use.domain;
  return {
    where: `${domain} ${use.op} (opset ${use.opset ?? "not imported"})`,
    message: `${use.reason}; used by ${use.nodes.length === 1 ? "node" : `${use.nodes.length} nodes`} ${names}${more}`,
    hint: use.hint,
  };
}
