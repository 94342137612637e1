/** The kernels by what they lower: answers for passes, and choices for lowering. */

import { InternalError } from "../../ir/errors.js";
import type { GraphNode, Value } from "../../ir/graph.js";
import type { OpName } from "../../ir/ops/index.js";
import type { KernelFacts } from "../../passes/kernels.js";
import type { Tile } from "../kernels/choose-tile.js";
import type { View } from "../schedule.js";
import type { LowerContext } from "./core/context.js";
import { type Finish, type KernelRow, plainFinish, type ResultMatrix } from "./core/kernel-row.js";
import { type Candidate, kindOf } from "./core/tuner.js";

/** A kernel that is to compute a node, and what of its row lowering asks. */
export interface ChosenKernel extends Candidate {
  /** What the tuner calls such nodes, where it chose. */
  readonly kind?: string;
  /** How its sums lie as a matrix, if they can be stored as `output`. */
  matrix(output: Value): ResultMatrix | undefined;
  /** Adds steps that compute the node into memory of its own. */
  lower(ctx: LowerContext): void;
  /** Adds steps that compute its one result, finished, into `to`; where it has a `matrix` only. */
  store(ctx: LowerContext, to: View, finish: Finish): void;
}

/** Kernels by op, in the order in which equals are preferred; ops that are lowered otherwise have words. */
export type KernelTable = { readonly [N in OpName]?: string | readonly KernelRow<N>[] };

/** Estimates are not wrong by so much. */
const farFrom = 4;

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

  /** Kernels that may be the fastest for the node, in each of their tiles: the one that is estimated to take least first. */
  candidates(ctx: LowerContext, node: GraphNode): readonly ChosenKernel[] {
    return this.#fast(ctx, node).flatMap((row) => {
      if (row.tiles === undefined) return [chosen(row, node)];
      return row.tiles(node as never).map((tile) => chosen(row, node, tile));
    });
  }

  /** Rows that serve, the one of least cost first, without those that are far more expensive. */
  #fast(ctx: LowerContext, node: GraphNode): readonly KernelRow<OpName>[] {
    const rows = this.#serving(node);
    if (rows.length < 2) return rows;
    const costs = rows
      .map((row) => ({ row, cost: row.cost?.(node as never, ctx) ?? 0 }))
      .sort((a, b) => (a.cost < b.cost ? -1 : a.cost > b.cost ? 1 : 0));
    const least = costs[0]!.cost;
    // What costs nothing is taken wherever it serves.
    return costs.filter(({ cost }, i) => i === 0 || cost < farFrom * least).map(({ row }) => row);
  }

  /** The kernel for the node: what the tuner says, if there is one and any choice. */
  choose(ctx: LowerContext, node: GraphNode): ChosenKernel {
    const all = this.candidates(ctx, node);
    if (all[0] === undefined) throw new InternalError(`no kernel computes ${node.op}`);
    if (ctx.tuner === undefined || all.length === 1) return all[0];
    const kind = kindOf(ctx, node);
    const best = all[ctx.tuner.choose(kind, all)]!;
    return {
      ...best,
      kind,
      lower: (to) => to.choosingFor(kind, () => best.lower(to)),
      store: (to, ...rest) => to.choosingFor(kind, () => best.store(to, ...rest)),
    };
  }
}

function chosen(row: KernelRow<OpName>, node: GraphNode, tile?: Tile): ChosenKernel {
  const kernel = `${node.op}/${row.name}`;
  const own = node as never;
  // Rows that say which tiles they take are given one of them, others none.
  const its = (tile === undefined ? [] : [tile]) as unknown as [never];
  const candidate = tile === undefined ? { kernel } : { kernel, tile };
  if ("store" in row) {
    const y = node.results[0]!;
    return {
      ...candidate,
      matrix: (output) => row.matrix(own, output),
      lower: (ctx) => row.store(ctx, own, ctx.result(y), plainFinish(y.type.dtype), ...its),
      store: (ctx, to, finish) => row.store(ctx, own, to, finish, ...its),
    };
  }
  return {
    ...candidate,
    matrix: () => undefined,
    lower: (ctx) => row.lower(ctx, own, ...its),
    store: () => {
      throw new InternalError(`${kernel} takes no epilogue`);
    },
  };
}
