/**
 * The rewrite engine: replaces nodes by rules until none applies.
 *
 * Nodes are finished from operands to results. A node whose operands are finished is tried against the rules of its op; what a
 * rule builds is finished in turn before it takes the node's place. Since rules look from a node towards its operands only, every
 * node of the outcome has been tried with its final operands: one sweep reaches the fixpoint, in time linear in nodes and firings.
 */

import { type Dim, dimDiffers } from "../ir/dim.js";
import { InternalError } from "../ir/errors.js";
import { type Graph, type GraphNode, graphNodes, sameType, typeText, type Value, withLoc } from "../ir/graph.js";
import { remake, sizeFinders, withResults } from "../ir/graph-rebuild.js";
import type { GraphPass, Trace } from "./pass.js";
import type { Rule } from "./pattern.js";

/** A pass made of rules. */
export interface RewritePass extends GraphPass {
  readonly rules: readonly Rule[];
}

/** A pass that applies rules, in regions too. `rounds`: results may differ in rounding. */
export function rewritePass(name: string, rules: readonly Rule[], rounds = false): RewritePass {
  const byOp = new Map<string, Rule[]>();
  for (const r of rules) for (const n of r.ops) byOp.set(n, [...(byOp.get(n) ?? []), r]);
  return { name, rounds, rules, run: (g, trace = {}) => rewriteGraph(g, byOp, trace) };
}

/** Replaces values of a graph: results are looked up, nodes above replaced values are made anew. */
export function rewriteGraph(g: Graph, byOp: ReadonlyMap<string, readonly Rule[]>, trace: Trace): Graph {
  const rewriter = new Rewriter(byOp, trace, 1000 + 100 * graphNodes(g).length);
  const finders = sizeFinders(g);
  const results = rewriter.finish(g.results);
  const sizes = rewriter.finish(finders);
  const same = results.every((r, i) => r === g.results[i]) && sizes.every((r, i) => r === finders[i]);
  return same ? g : withResults(g, results, sizes);
}

class Rewriter {
  readonly #byOp: ReadonlyMap<string, readonly Rule[]>;
  readonly #trace: Trace;
  #firingsLeft: number;
  /** What stands for a value in the outcome. */
  readonly #final = new Map<Value, Value>();
  /** Replacements that are not finished yet. */
  readonly #pending = new Map<GraphNode, readonly Value[]>();
  readonly #open = new Set<GraphNode>();

  constructor(byOp: ReadonlyMap<string, readonly Rule[]>, trace: Trace, limit: number) {
    this.#byOp = byOp;
    this.#trace = trace;
    this.#firingsLeft = limit;
  }

  finish(roots: readonly Value[]): readonly Value[] {
    const stack: GraphNode[] = [];
    const need = (values: readonly Value[]): boolean => {
      let complete = true;
      for (let i = values.length - 1; i >= 0; i--) {
        const v = values[i]!;
        if (this.#isFinal(v) || v.def.op === "param") continue;
        if (this.#open.has(v.def)) throw new InternalError(`a rule builds ${v.def.op} on what it replaces`);
        stack.push(v.def);
        complete = false;
      }
      return complete;
    };
    need(roots);
    while (stack.length > 0) {
      const n = stack.at(-1)!;
      if (this.#final.has(n.results[0]!)) {
        stack.pop();
        continue;
      }
      this.#open.add(n);
      const pending = this.#pending.get(n);
      if (!need(pending ?? n.operands)) continue;
      const replaced = pending ?? this.#replacement(n);
      if (replaced !== undefined && pending === undefined) {
        this.#pending.set(n, replaced);
        continue;
      }
      n.results.forEach((r, i) => {
        this.#final.set(r, replaced === undefined ? r : this.#finalOf(replaced[i]!));
      });
      this.#open.delete(n);
      stack.pop();
    }
    return roots.map((v) => this.#finalOf(v));
  }

  #isFinal(v: Value): boolean {
    return v.def.op === "param" || this.#final.has(v);
  }

  #finalOf(v: Value): Value {
    return this.#final.get(v) ?? v;
  }

  /** What takes the place of a node with finished operands; undefined when it stays. */
  #replacement(n: GraphNode): readonly Value[] | undefined {
    const operands = n.operands.map((v) => this.#finalOf(v));
    const regions = n.regions.map((r) => rewriteGraph(r, this.#byOp, this.#trace));
    if (operands.some((v, i) => v !== n.operands[i]) || regions.some((r, i) => r !== n.regions[i])) {
      return remake(n, operands, regions).results;
    }
    for (const r of this.#byOp.get(n.op) ?? []) {
      const built = withLoc(n.loc, () => r.apply(n));
      if (built === undefined) continue;
      const values: readonly Value[] = Array.isArray(built) ? built : [built as Value];
      if (!replaces(r, n, values) || this.#trace.mayFire?.(r.name, n) === false) continue;
      this.#trace.fired?.(r.name, n);
      if (this.#firingsLeft-- <= 0) throw new InternalError(`the rules do not come to an end; the last was ${r.name}`);
      return values;
    }
    return undefined;
  }
}

/**
 * Whether the values have the node's types. Sizes that may be equal but are not provably so do not count: the rule then does
 * not apply. Any other difference is the rule's fault.
 */
function replaces(r: Rule, n: GraphNode, values: readonly Value[]): boolean {
  const wrong = (what: string): never => {
    throw new InternalError(`rule ${r.name} replaces ${n.op} by ${what}`);
  };
  if (values.length !== n.results.length) return wrong(`${values.length} values instead of ${n.results.length}`);
  return values.every((v, i) => {
    const want = n.results[i]!.type;
    if (sameType(v.type, want)) return true;
    if (v.type.dtype !== want.dtype || !mayEqual(v.type.shape, want.shape)) {
      wrong(`${typeText(v.type)} instead of ${typeText(want)}`);
    }
    return false;
  });
}

function mayEqual(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((d, i) => !dimDiffers(d, b[i]!));
}
