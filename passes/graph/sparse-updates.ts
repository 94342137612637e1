/**
 * Gradients that touch some rows of a table (embeddings) stay rows until they meet what they change.
 *
 *   x + scatter(y, i, u) → scatter(x + y, i, u)        x − scatter(y, i, u) → scatter(x − y, i, −u)
 *   scatter(x, i, u) · s → scatter(x · s, i, u · s),  a scalar s
 *
 * So a step of SGD adds to the rows that a batch used, in the table's own memory, instead of making a table of zeros, adding to that
 * and going through the whole. Rows that a batch uses several times are rounded in another order, and rows that it does not use are
 * not multiplied by s (which shows where s is not finite).
 */

import { dimEqual } from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import { type Graph, type GraphNode, graphNodes, sameShape, useCounts, type Value } from "../../ir/graph.js";
import { mapGraph } from "../../ir/graph-rebuild.js";
import { add, mul, neg, sub } from "../../ir/ops/elementwise.js";
import { scatterND } from "../../ir/ops/indexing.js";
import { broadcast } from "../../ir/ops/movement.js";
import type { GraphPass } from "../pass.js";
import { type NodeNamed, splatOf } from "../pattern.js";

export const sparseUpdates: GraphPass = { name: "sparse-updates", rounds: true, run: (g) => new Sparse(g).run() };

/** x with rows added. */
interface Rows {
  readonly base: Value;
  readonly indices: Value;
  readonly updates: Value;
}

class Sparse {
  readonly #graph: Graph;
  readonly #uses: ReadonlyMap<Value, number>;
  /** Indices that a gather along an axis of a size checks. */
  readonly #checked: readonly { readonly indices: Value; readonly node: NodeNamed<"gather"> }[];
  /** Values of the outcome that one node reads. */
  readonly #once = new Set<Value>();

  constructor(g: Graph) {
    this.#graph = g;
    this.#uses = useCounts(g);
    this.#checked = graphNodes(g).flatMap((node) =>
      node.op === "gather" ? [{ indices: node.operands[1]!, node }] : [],
    );
  }

  run(): Graph {
    const nodes = graphNodes(this.#graph);
    if (!nodes.some((n) => n.op === "scatterND")) return this.#graph;
    const originals = nodes[Symbol.iterator]();
    return mapGraph(
      this.#graph,
      (n) => {
        const original = originals.next().value as GraphNode;
        const made = this.#rewrite(n);
        const result = made ?? n.results[0]!;
        if (this.#uses.get(original.results[0]!) === 1) this.#once.add(result);
        else this.#once.delete(result);
        return made && [made];
      },
      (r) => sparseUpdates.run(r),
    );
  }

  #rewrite(n: GraphNode): Value | undefined {
    if (n.op !== "add" && n.op !== "sub" && n.op !== "mul") return undefined;
    const [a, b] = n.operands as readonly [Value, Value];
    const [left, right] = [this.#rowsOf(a), this.#rowsOf(b)];
    switch (n.op) {
      case "add":
        if (right !== undefined) return this.#plus(a, b);
        return left && this.#plus(b, a);
      case "sub":
        return right && this.#minus(a, b);
      case "mul": {
        const [rows, factor] = left === undefined ? [b, scalarOf(a)] : [a, scalarOf(b)];
        return this.#rowsOf(rows) && factor && this.#times(rows, factor);
      }
    }
  }

  #plus(a: Value, x: Value): Value {
    const rows = this.#rowsOf(x);
    if (rows === undefined) return isZero(x) ? a : add([a, x]);
    return this.#scatter({ ...rows, base: this.#plus(a, rows.base) });
  }

  #minus(a: Value, x: Value): Value {
    const rows = this.#rowsOf(x);
    if (rows === undefined) return isZero(x) ? a : sub([a, x]);
    return this.#scatter({ ...rows, base: this.#minus(a, rows.base), updates: neg([rows.updates]) });
  }

  #times(x: Value, factor: Value): Value {
    const rows = this.#rowsOf(x);
    const scaled = (v: Value) => mul([v, broadcast([factor], { shape: v.type.shape, axes: [] })]);
    if (rows === undefined) return isZero(x) ? x : scaled(x);
    return this.#scatter({ ...rows, base: this.#times(rows.base, factor), updates: scaled(rows.updates) });
  }

  /** What a sum of rows consists of, where nothing else reads it. */
  #rowsOf(v: Value): Rows | undefined {
    const { def } = v;
    if (def.op !== "scatterND" || def.attrs.reduction !== "add" || !this.#once.has(v)) return undefined;
    if (!isFloat(v.type.dtype)) return undefined;
    const [base, indices, updates] = def.operands as readonly [Value, Value, Value];
    return { base, indices, updates };
  }

  #scatter({ base, indices, updates }: Rows): Value {
    const size = base.type.shape[0];
    const isChecked =
      indices.type.shape.at(-1) === 1 &&
      this.#checked.some(({ indices: i, node }) => {
        const axis = node.operands[0]!.type.shape[node.attrs.axis];
        return sourceOf(i) === sourceOf(indices) && size !== undefined && axis !== undefined && dimEqual(axis, size);
      });
    const attrs = { reduction: "add" as const, ...(isChecked ? { checked: true } : {}) };
    const made = scatterND([base, indices, updates], attrs);
    // Bases of other sums are read by those only.
    this.#once.add(made);
    return made;
  }
}

const isZero = (v: Value): boolean => splatOf(v)?.value === 0;

/** The one element that is spread over a value, as a scalar. */
function scalarOf(v: Value): Value | undefined {
  if (v.def.op !== "broadcast") return undefined;
  const [x] = v.def.operands;
  return sameShape(x!.type.shape, []) ? x : undefined;
}

/** What was reshaped. */
function sourceOf(v: Value): Value {
  let at = v;
  while (at.def.op === "reshape") at = at.def.operands[0]!;
  return at;
}
