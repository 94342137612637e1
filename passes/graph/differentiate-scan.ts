/**
 * The gradient of a scan: a scan in the other direction, and products after it.
 *
 * Of what a backward step needs to know of its forward step, results of products, reductions, transcendental functions and all
 * else that is costly are stacked by the forward scan; what is elementwise and cheap, or only moves elements, is computed again
 * from these, from the rows of the inputs and from the carried values that came into the step. `merge-scans` makes the forward
 * scan that stacks them and the one that the loss reads one scan.
 *
 * Cotangents of captures are sums over all steps (see differentiate-captures.ts).
 */

import { dimBounds, dimSub, dimSymbols } from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import {
  type Attrs,
  definedSymbols,
  type GraphNode,
  graph,
  graphNodes,
  mentions,
  param,
  topologicalOrder,
  type Value,
} from "../../ir/graph.js";
import { copyWith, sizeFinders, withResults } from "../../ir/graph-rebuild.js";
import type { VjpContext } from "../../ir/op.js";
import { isElementwise, isIndexOp } from "../../ir/ops/classes.js";
import { constantLike } from "../../ir/ops/constant.js";
import { type ScanAttrs, scan } from "../../ir/ops/control.js";
import { add } from "../../ir/ops/elementwise.js";
import { opOf } from "../../ir/ops/index.js";
import { concat, reshape, slice } from "../../ir/ops/movement.js";
import type { DifferentiatedRegion, differentiateRegion } from "./differentiate.js";
import { StepSums } from "./differentiate-captures.js";

type Context = Omit<VjpContext<ScanAttrs>, "dy">;

export function differentiateScan(
  context: Context,
  differentiate: typeof differentiateRegion,
): readonly (Value | undefined)[] {
  const { operands, results, dys, attrs, needs, node } = context;
  const { carried, inputs, length, reverse } = attrs;
  const body = node.regions[0]!;
  const first = carried + inputs;
  const back = differentiate(
    body,
    operands.map((v, i) => isFloat(v.type.dtype) && (i < carried || needs[i]!)),
    results.map((_, i) => i < carried || dys[i] !== undefined),
  );
  const step = new BackwardStep(back, carried, inputs);
  const captures = new Map(back.params.slice(first).map((p, i) => [p, operands[first + i]!]));
  const sums = new StepSums(step, captures, length);
  const totals = back.gradients.map((d, i) => (i < first || d === undefined ? undefined : sums.total(d)));

  const isState = (i: number) => back.cotangents[i] !== undefined && i < carried;
  const dStates = back.gradients.slice(0, carried).flatMap((d, i) => {
    return isState(i) ? [d ?? constantLike(back.params[i]!, 0)] : [];
  });
  const dRows = back.gradients.slice(carried, first).filter((d) => d !== undefined);
  // Stacked values by what they are in a step: cotangents, rows of inputs, what the forward scan gives, what this one gives.
  const stacks = new Map(back.cotangents.flatMap((d, i) => (d === undefined || i < carried ? [] : [[d, dys[i]!]])));
  const wanted = new Set([...dRows, ...sums.stacked]);
  const stacked = [...wanted].filter((v) => step.isVarying(v) && !stacks.has(v));
  const own = [...dStates, ...sums.carried, ...stacked];
  const { saved, inputs: used } = step.kept(
    own,
    [...wanted].filter((v) => !step.isVarying(v)),
  );
  for (const p of used) stacks.set(p, operands[back.params.indexOf(p)]!);
  for (const [v, stack] of forwardStacks(context, back, saved)) stacks.set(v, stack);

  const starts = [
    ...results.slice(0, carried).flatMap((r, i) => (isState(i) ? [dys[i] ?? constantLike(r, 0)] : [])),
    ...sums.carried.map((v) => constantLike(v, 0)),
  ];
  const states = starts.map((v, i) => param(`d${i}`, v.type));
  const rows = [...stacks.values()].map((v, i) =>
    param(`r${i}`, { dtype: v.type.dtype, shape: v.type.shape.slice(1) }),
  );
  const trailing = [...captures.values()].map((v, i) => param(`c${i}`, v.type));
  const replaced = new Map<Value, Value>([
    ...[...stacks.keys()].map((v, i) => [v, rows[i]!] as const),
    ...[...captures.keys()].map((v, i) => [v, trailing[i]!] as const),
    ...back.cotangents
      .slice(0, carried)
      .filter((d) => d !== undefined)
      .map((d, i) => [d, states[i]!] as const),
  ]);
  const copies = copyWith([...own, ...step.finders], replaced);
  const region = graph(
    `${body.name}_back`,
    [...states, ...rows, ...trailing],
    copies.slice(0, own.length).map((d, i) => {
      const isSum = i >= dStates.length && i < states.length;
      return isSum ? add([states[i]!, d]) : d;
    }),
  );
  const made = scan(
    [...starts, ...stacks.values(), ...captures.values()],
    { carried: states.length, inputs: rows.length, length, reverse: !reverse },
    [withResults(region, region.results, copies.slice(own.length))],
  );
  sums.carried.forEach((v, i) => {
    sums.finish(v, made[dStates.length + i]!);
  });
  stacked.forEach((v, i) => {
    stacks.set(v, made[states.length + i]!);
  });
  let state = 0;
  return operands.map((_, i) => {
    if (i < carried) return isState(i) ? made[state++] : undefined;
    const d = back.gradients[i];
    if (d === undefined) return undefined;
    return i < first ? stacks.get(d)! : totals[i]!((v) => stacks.get(v)!);
  });
}

/** What the backward scan takes of the forward steps. */
interface Kept {
  /** Values that the forward scan stacks, or has stacked. */
  readonly saved: readonly Value[];
  /** Rows of inputs. */
  readonly inputs: readonly Value[];
}

/** The forward step and its gradient as one graph: what is known before cotangents arrive, and what depends on them. */
export class BackwardStep {
  /** First results of nodes that find sizes within the step. */
  readonly finders: readonly Value[];
  readonly #varying: Set<Value>;
  /** Changes from step to step. */
  readonly #changing: Set<Value>;
  readonly #inputs: ReadonlySet<Value>;
  readonly #carried: ReadonlySet<Value>;
  readonly #scanned: ReadonlySet<Value>;
  /** Sizes that are found within a step. */
  readonly #inner: ReadonlySet<string>;

  constructor(back: DifferentiatedRegion, carried: number, inputs: number) {
    const { params, results, cotangents, gradients, sizes } = back;
    const found = gradients.filter((d) => d !== undefined);
    const all = graph("step", params, [...results, ...found], undefined, undefined, sizes);
    const nodes = graphNodes(all);
    this.#varying = new Set(cotangents.filter((d) => d !== undefined));
    this.#changing = new Set([...params.slice(0, carried + inputs), ...this.#varying]);
    for (const set of [this.#varying, this.#changing]) {
      for (const n of nodes) {
        if (n.operands.some((v) => set.has(v))) for (const r of n.results) set.add(r);
      }
    }
    this.#carried = new Set(params.slice(0, carried));
    this.#inputs = new Set(params.slice(carried, carried + inputs));
    this.#scanned = new Set(results.slice(carried));
    this.#inner = new Set(nodes.flatMap((n) => definedSymbols(n).map((s) => s.name)));
    this.finders = sizeFinders(all).filter((v) => !this.#varying.has(v));
  }

  /** Depends on cotangents. */
  isVarying(v: Value): boolean {
    return this.#varying.has(v);
  }

  /** Equal in all steps: depends on captures and constants only. */
  isInvariant(v: Value): boolean {
    return !this.#changing.has(v);
  }

  /** Of a size that is known outside of the loop. */
  isStackable(v: Value): boolean {
    return !v.type.shape.some((d) => [...dimSymbols(d).keys()].some((name) => this.#inner.has(name)));
  }

  /** Means the same outside of the loop. */
  isPortable(n: GraphNode): boolean {
    return !mentions(n).some((name) => this.#inner.has(name)) && definedSymbols(n).length === 0;
  }

  /** What computing the roots takes of the forward steps, and `stacked`: known values that are wanted for all steps. */
  kept(roots: readonly Value[], stacked: readonly Value[]): Kept {
    const saved = new Set<Value>();
    const inputs = new Set<Value>();
    const done = new Set<Value>();
    const take = (v: Value) => (this.#inputs.has(v) ? inputs : saved).add(v);
    stacked.forEach(take);
    const stack = [...this.finders, ...roots];
    for (let v = stack.pop(); v !== undefined; v = stack.pop()) {
      if (done.has(v)) continue;
      done.add(v);
      if (this.#inputs.has(v) || this.#carried.has(v)) take(v);
      else if (v.def.op !== "param" && !saved.has(v)) {
        if (this.#isSaved(v, v.def)) saved.add(v);
        else stack.push(...v.def.operands);
      }
    }
    return { saved: [...saved], inputs: [...inputs] };
  }

  #isSaved(v: Value, def: GraphNode): boolean {
    if (this.isVarying(v) || this.isInvariant(v) || !this.isStackable(v)) return false;
    return this.#scanned.has(v) || !isCheap(def);
  }
}

const cheap: ReadonlySet<string> = new Set(["concat", "pad", "constant", "iota", "dimSize"]);

/** Costs no more to compute again than to store and load. A composite is what it decomposes into. */
function isCheap(node: GraphNode): boolean {
  const facts = opOf(node);
  if (facts.kind === "primitive") {
    return (isElementwise(node.op) && facts.cost !== "expensive") || isIndexOp(node.op) || cheap.has(node.op);
  }
  const made = facts.decompose(node.operands, node.attrs as Attrs, node.regions);
  const parts: readonly Value[] = Array.isArray(made) ? made : [made as Value];
  const operands = new Set(node.operands);
  return topologicalOrder(parts, (v) => operands.has(v)).every(isCheap);
}

/** Values of the forward step, stacked along a new first axis. */
function forwardStacks(
  { operands, results, attrs, node }: Context,
  back: DifferentiatedRegion,
  saved: readonly Value[],
): ReadonlyMap<Value, Value> {
  const { carried } = attrs;
  const stacks = new Map<Value, Value>();
  const missing: Value[] = [];
  for (const v of saved) {
    const row = back.results.indexOf(v, carried);
    const state = back.params.indexOf(v);
    const next = state < 0 ? -1 : back.results.indexOf(back.results[state]!, carried);
    if (row >= 0) stacks.set(v, results[row]!);
    else if (next >= 0 && dimBounds(attrs.length).min >= 1)
      stacks.set(v, shifted(operands[state]!, results[next]!, attrs));
    else missing.push(v);
  }
  if (missing.length === 0) return stacks;
  const all = [...back.results.slice(0, carried), ...missing];
  const saving = graph(`${node.regions[0]!.name}_saving`, back.params, all, undefined, undefined, back.sizes);
  const again = scan(operands, attrs, [saving]);
  missing.forEach((v, i) => {
    stacks.set(v, again[carried + i]!);
  });
  return stacks;
}

/** The values that came into each step, from the first one and those that the steps gave. */
function shifted(start: Value, rows: Value, { length, reverse }: ScanAttrs): Value {
  const first = reshape([start], { shape: [1, ...start.type.shape] });
  const rest = slice([rows], {
    starts: rows.type.shape.map((_, a) => (a === 0 && reverse ? 1 : 0)),
    sizes: [dimSub(length, 1), ...start.type.shape],
    steps: rows.type.shape.map(() => 1),
  });
  return concat(reverse ? [rest, first] : [first, rest], { axis: 0 });
}
