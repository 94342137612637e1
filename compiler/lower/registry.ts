/** The kernels by what they lower: answers for passes, and choices for lowering. */

import { InternalError } from "../../ir/errors.js";
import type { GraphNode, Value } from "../../ir/graph.js";
import type { OpName } from "../../ir/ops/index.js";
import type { KernelFacts } from "../../passes/kernels.js";
import type { View } from "../schedule.js";
import type { LowerContext } from "./core/context.js";
import { type Finish, type KernelRow, plainFinish, type ResultMatrix } from "./core/kernel-row.js";

/** A kernel that is to compute a node, and what of its row lowering asks. */
export interface ChosenKernel {
  /** Op and name of its row: `conv/winograd`. */
  readonly name: string;
  /** How its sums lie as a matrix, if they can be stored as `output`. */
  matrix(output: Value): ResultMatrix | undefined;
  /** Adds steps that compute the node into memory of its own. */
  lower(ctx: LowerContext): void;
  /** Adds steps that compute its one result, finished, into `to`; where it has a `matrix` only. */
  store(ctx: LowerContext, to: View, finish: Finish): void;
}

/** Kernels by op, in the order in which equals are preferred; ops that are lowered otherwise have words. */
export type KernelTable = { readonly [N in OpName]?: string | readonly KernelRow<N>[] };

export class KernelRegistry implements KernelFacts {
  readonly #rows = new Map<string, readonly KernelRow<OpName>[]>();

  constructor(table: KernelTable) {
    for (const [op, rows] of Object.entries(table)) {
      if (typeof rows === "string") continue;
      // Rows meet nodes of their own op only, by which they are found.
      this.#rows.set(op, rows as unknown as readonly KernelRow<OpName>[]);
      const twice = rows.find((r, i) => rows.findIndex((o) => o.name === r.name) < i);
      if (twice) throw new InternalError(`two kernels are called ${op}/${twice.name}`);
    }
  }

  /** The registry with a further kernel of an op, which is preferred to those of equal cost. */
  with<N extends OpName>(op: N, row: KernelRow<N>): KernelRegistry {
    const known = Object.fromEntries(this.#rows) as KernelTable;
    return new KernelRegistry({ ...known, [op]: [row, ...((known[op] ?? []) as readonly KernelRow<N>[])] });
  }

  readonly serves = (node: GraphNode): boolean => this.#serving(node).length > 0;

  readonly takesEpilogue = (op: string): boolean => (this.#rows.get(op) ?? []).some((r) => "store" in r);

  #serving(node: GraphNode): readonly KernelRow<OpName>[] {
    return (this.#rows.get(node.op) ?? []).filter((r) => r.serves?.(node as never) ?? true);
  }

  /** All kernels that compute the node, the one of least cost first. */
  candidates(ctx: LowerContext, node: GraphNode): readonly ChosenKernel[] {
    const rows = this.#serving(node);
    if (rows.length < 2) return rows.map((r) => chosen(r, node));
    return rows
      .map((row) => ({ row, cost: row.cost?.(node as never, ctx) ?? 0 }))
      .sort((a, b) => (a.cost < b.cost ? -1 : a.cost > b.cost ? 1 : 0))
      .map(({ row }) => chosen(row, node));
  }

  /** The kernel for the node. */
  choose(ctx: LowerContext, node: GraphNode): ChosenKernel {
    const [best] = this.candidates(ctx, node);
    if (best === undefined) throw new InternalError(`no kernel computes ${node.op}`);
    return best;
  }
}

function chosen(row: KernelRow<OpName>, node: GraphNode): ChosenKernel {
  const name = `${node.op}/${row.name}`;
  const own = node as never;
  if ("store" in row) {
    const y = node.results[0]!;
    return {
      name,
      matrix: (output) => row.matrix(own, output),
      lower: (ctx) => row.store(ctx, own, ctx.result(y), plainFinish(y.type.dtype)),
      store: (ctx, to, finish) => row.store(ctx, own, to, finish),
    };
  }
  return {
    name,
    matrix: () => undefined,
    lower: (ctx) => row.lower(ctx, own),
    store: () => {
      throw new InternalError(`${name} takes no epilogue`);
    },
  };
}
