/** Graph IR → schedule: buffers for values, kernels for nodes. */

import { type Dim, dimAdd, dimEqual, dimMul, dimSub, symbolDim } from "../../ir/dim.js";
import { InternalError } from "../../ir/errors.js";
import { countName, type Graph, type GraphNode, graphSymbols, paramName, type Value } from "../../ir/graph.js";
import type { Buffer, Requirement, Schedule, ScheduledInput, View } from "../schedule.js";
import { LowerContext, offsetView } from "./core/context.js";
import { KernelPool } from "./core/kernel-builder.js";
import { orderNodes } from "./core/order.js";
import { sizeOf, stridesOf } from "./core/place.js";
import type { Leaf } from "./core/point.js";
import { storedConstants } from "./core/stored.js";
import type { Tuner } from "./core/tuner.js";
import { lowerFusion } from "./fusion.js";
import { lowerGroup } from "./group.js";
import type { KernelRegistry } from "./registry.js";
import { isGrouped, kernels } from "./table.js";

export interface LowerOptions {
  /** Names of the parameters that are state: they keep their values across runs. Default: none. */
  readonly state?: ReadonlySet<string>;
  /** Names of the state that is a cache. */
  readonly caches?: ReadonlySet<string>;
  /**
   * Names of the state that stays as it is where an entry does not write it, so that what is made of it, and of constants, can be
   * computed once. Default: all is computed in every run.
   */
  readonly kept?: ReadonlySet<string>;
  /** Functions shared with other schedules of the module. */
  readonly pool?: KernelPool;
  /** The kernels to choose from, which the passes were told of too. Default: all that there are. */
  readonly kernels?: KernelRegistry;
  /** Chooses among the kernels that serve a node. Default: what is estimated to take least is taken. */
  readonly tuner?: Tuner;
}

/**
 * Lowers a graph of primitives. Each value gets a buffer or is a view of one; each fusible group and each structured op
 * becomes one or a few kernel steps.
 */
export function lowerGraph(graph: Graph, options: LowerOptions = {}): Schedule {
  const given = options.kernels ?? kernels;
  const lower = (ctx: LowerContext, nodes: readonly GraphNode[]) => lowerNodes(ctx, nodes, given);
  const ctx = new LowerContext(options.pool ?? new KernelPool(), lower, {
    keeps: options.kept !== undefined,
    stored: storedConstants(graph),
    tuner: options.tuner,
  });
  const changed = new Set([...(graph.donations?.values() ?? [])].map((i) => graph.params[i]));
  const inputs: ScheduledInput[] = [];
  const states = new Map<Value, Buffer>();
  for (const p of graph.params) {
    const name = paramName(p);
    const { dtype, shape } = p.type;
    const isState = options.state?.has(name) ?? false;
    const isCache = options.caches?.has(name) ? ({ isCache: true } as const) : {};
    const buffer = ctx.buffer(dtype, shape, isState ? { kind: "state", name, ...isCache } : { kind: "input", name });
    const view = { buffer, offset: 0 };
    ctx.define(p, view);
    if (isState && options.kept?.has(name) && !changed.has(p)) ctx.keep(p);
    if (isState) states.set(p, buffer);
    else inputs.push({ name, view, dtype, shape });
  }
  ctx.use(graph.results);
  for (const [result, parameter] of graph.donations ?? [])
    ctx.writesOver(graph.results[result]!, graph.params[parameter]!);
  lower(ctx, orderNodes(graph));

  const donated = new Set<number>();
  const stateResults = [...(graph.donations ?? [])].map(([result, parameter]) => {
    const state = states.get(graph.params[parameter]!);
    if (state === undefined) {
      throw new InternalError(`result ${graph.resultNames[result]} is donated to a parameter that is no state`);
    }
    donated.add(result);
    return { state, value: ctx.view(graph.results[result]!) };
  });
  const outputs = graph.results.flatMap((value, i): ScheduledInput[] => {
    if (donated.has(i)) return [];
    const { dtype, shape } = value.type;
    return [{ name: graph.resultNames[i]!, view: ownMemory(ctx, value), dtype, shape }];
  });
  const counted = countedSizes(graph, states);
  const requirements = [...counted.flatMap((c) => inRange(ctx, c)), ...ctx.requirements];
  return { name: graph.name, steps: ctx.steps, inputs, outputs, requirements, stateResults, counted };
}

type Counted = Schedule["counted"][number];

/** Sizes that bear the name of a state. */
function countedSizes(graph: Graph, states: ReadonlyMap<Value, Buffer>): readonly Counted[] {
  if (states.size === 0) return [];
  const symbols = graphSymbols(graph);
  return [...states].flatMap(([p, state]) => {
    const symbol = symbols.get(paramName(p));
    return symbol && countName(p) !== undefined ? [{ symbol, state }] : [];
  });
}

/** Whoever sets the state may set it to anything. */
function inRange(ctx: LowerContext, { symbol }: Counted): readonly Requirement[] {
  const { name, min, max } = symbol;
  const size = symbolDim(symbol);
  const range = Number.isFinite(max) ? `from ${min} to ${max}` : `at least ${min}`;
  const limit = ctx.limit(`state ${JSON.stringify(name)}`, "it is out of its range", `set it to a number ${range}`);
  const rooms = [dimSub(size, min), ...(Number.isFinite(max) ? [dimSub(max, size)] : [])];
  return rooms.map((value) => ({ value, must: "not be negative", limit }));
}

/** Lowers nodes in the given order. */
function lowerNodes(ctx: LowerContext, nodes: readonly GraphNode[], from: KernelRegistry): void {
  for (const node of nodes) ctx.use(node.operands);
  for (const node of nodes) {
    if (node.op === "constant") continue;
    ctx.checkSizes(node);
    const view = aliasOf(ctx, node);
    if (view !== undefined) ctx.define(node.results[0]!, view);
    else lowerNode(ctx, node, from);
  }
}

function lowerNode(ctx: LowerContext, node: GraphNode, from: KernelRegistry): void {
  if (node.op === "fusion") lowerFusion(ctx, node, from);
  else if (isGrouped(node.op)) {
    const outputs = node.results.map((value) => ({ value, to: ctx.result(value) }));
    const results = new Set<Value>(node.results);
    const leaf = (v: Value): Leaf | undefined => (results.has(v) ? undefined : ctx.leaf(v));
    if (!lowerGroup(ctx, outputs, leaf, node.loc)) throw new InternalError(`no kernel computes ${node.op}`);
  } else from.choose(ctx, node).lower(ctx);
}

/** Results that are the same elements in the same order as (a part of) an operand: no copy is made. */
function aliasOf(ctx: LowerContext, node: GraphNode): View | undefined {
  switch (node.op) {
    case "reshape":
      return ctx.view(node.operands[0]!);
    case "broadcast": {
      const x = node.operands[0]!;
      const count = (v: Value) => v.type.shape.reduce<Dim>((p, d) => dimMul(p, d), 1);
      return dimEqual(count(x), count(node.results[0]!)) ? ctx.view(x) : undefined;
    }
    case "transpose": {
      // Only axes of one element change places.
      const { shape } = node.operands[0]!.type;
      const moved = node.attrs.perm.filter((p) => shape[p] !== 1);
      return moved.every((p, i) => i === 0 || moved[i - 1]! < p) ? ctx.view(node.operands[0]!) : undefined;
    }
    case "slice": {
      const { shape } = node.operands[0]!.type;
      const { starts, sizes, steps } = node.attrs;
      if (steps.some((s, a) => s !== 1 && sizes[a] !== 1)) return undefined;
      // Whole axes after the first that is cut; one element along those before it.
      let cut = shape.length;
      while (cut > 0 && starts[cut - 1] === 0 && dimEqual(sizes[cut - 1]!, shape[cut - 1]!)) cut--;
      if (sizes.slice(0, Math.max(0, cut - 1)).some((d) => d !== 1)) return undefined;
      const strides = stridesOf(shape);
      const offset = starts.reduce<Dim>((sum, start, a) => dimAdd(sum, dimMul(start, strides[a]!)), 0);
      return offsetView(ctx.view(node.operands[0]!), offset);
    }
    default:
      return undefined;
  }
}

/** Results of the graph live in temporaries of their own, each in one. */
function ownMemory(ctx: LowerContext, value: Value): View {
  const view = ctx.view(value);
  if (view.buffer.source.kind === "temp" && view.offset === 0) return view;
  const to = ctx.temp(value.type.dtype, value.type.shape);
  ctx.add({
    kind: "copy",
    count: sizeOf(value.type.shape),
    from: view,
    to,
    loc: value.def.op === "param" ? undefined : value.def.loc,
  });
  return to;
}
