/**
 * Reductions to few elements over much data: fixed chunks of the outermost reduced axis give partial results, which a second
 * kernel combines. The chunks depend on sizes only, so the sum is the same on any number of threads.
 */

import { type Dim, dimAdd, dimBounds, dimFloorDiv, dimMax, dimMul, dimSubstitute, dimSymbol } from "../../../ir/dim.js";
import { InternalError } from "../../../ir/errors.js";
import { param, type Value } from "../../../ir/graph.js";
import * as B from "../../../ir/loop-build.js";
import { makeNode } from "../../../ir/op.js";
import { cast } from "../../../ir/ops/cast.js";
import { ops } from "../../../ir/ops/index.js";
import { reshape } from "../../../ir/ops/movement.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf, KernelBuilder, registerOf } from "../core/kernel-builder.js";
import type { GroupOutput, Leaf } from "../core/point.js";
import { combine, neutral } from "../elementwise/elementwise.js";
import { freshLoop, grain, nest, variable } from "../elementwise/loops.js";
import { loadElement, PointEmitter, storeElement } from "../elementwise/point-emit.js";
import { tileColumns } from "./reduce-columns.js";
import {
  accumulatorType,
  hasVectorForm,
  most,
  product,
  type ReduceGroup,
  type Reduction,
  rowsTogether,
  unchunked,
} from "./reduce-group.js";

export interface SplitFactor {
  readonly columns: boolean;
  /** Rounds of the outermost reduced loop in a chunk. */
  readonly rows: Dim;
  readonly chunks: Dim;
}

/** How to split the group, if that is worth it. */
export function splitFactor(g: ReduceGroup, columns: boolean): SplitFactor | undefined {
  const outermost = g.reduced[0];
  if (g.stages > 1 || outermost === undefined || g.outputs.some((o) => o.full)) return undefined;
  const kept = product(g.kept);
  const independent = columns
    ? dimMul(product(g.kept.slice(0, -1)), Math.ceil(most(g.kept.at(-1)!.size) / tileColumns))
    : kept;
  if (most(independent) >= 16 || typical(dimMul(kept, product(g.reduced))) < 4 * grain) return undefined;
  // Partial results stay small: a chunk's share of the data is much larger than its results.
  if (!Number.isFinite(most(kept)) || most(kept) > grain) return undefined;
  const each = dimMax(dimMul(product(g.reduced.slice(1)), kept), 1);
  const rows = dimMax(dimFloorDiv(2 * grain, each), 1);
  return { columns, rows, chunks: dimFloorDiv(dimAdd(outermost.size, dimAdd(rows, -1)), rows) };
}

/** Value of a size for usual inputs: symbols without a bound, batches mostly, are taken to be moderate. */
function typical(d: Dim): number {
  const usual = (s: { readonly min: number; readonly max: number }) => Math.max(s.min, Math.min(s.max, 256));
  return dimBounds(dimSubstitute(d, (s) => (Number.isFinite(s.max) ? undefined : usual(s)))).max;
}

/** A group that is lowered after another: its leaves are known in memory then. */
export interface FollowingGroup {
  readonly name?: string;
  readonly outputs: readonly GroupOutput[];
  readonly leaf: (v: Value) => Leaf | undefined;
}

/** Adds the kernel of the partial results; gives what combines them, and what is computed of the sums. */
export function emitSplit(
  ctx: LowerContext,
  g: ReduceGroup,
  split: SplitFactor,
  outputs: readonly GroupOutput[],
  leaf: (v: Value) => Leaf | undefined,
): readonly FollowingGroup[] {
  const kept = product(g.kept);
  const partials = g.reductions.map((r) => ctx.temp(accumulatorType(r.operand.dtype), [split.chunks, kept]));
  emitPartials(ctx, g, split, partials);
  const results = new Map<Value, View>();
  const combinations = g.reductions.map((r, k): FollowingGroup => {
    const to = outputs.find((o) => o.value === r.value)?.to ?? ctx.temp(r.value.type.dtype, r.value.type.shape);
    results.set(r.value, to);
    return combination(g, r, split, partials[k]!, to);
  });
  const rest = outputs.filter((o) => results.get(o.value) !== o.to);
  const known = (v: Value): Leaf | undefined => {
    const view = results.get(v);
    return view === undefined ? leaf(v) : { kind: "view", view };
  };
  return rest.length === 0 ? combinations : [...combinations, { outputs: rest, leaf: known }];
}

/** The same reduction over the partial results. */
function combination(
  g: ReduceGroup,
  { node, operand, value }: Reduction,
  split: SplitFactor,
  partial: View,
  to: View,
): FollowingGroup {
  const dtype = accumulatorType(operand.dtype);
  // The kept axes one by one: a result of several is then found at its own index, whatever their sizes are.
  const axes = node.operands[0]!.type.shape.filter((_, a) => !node.attrs.axes.includes(a));
  const p = param("partial", { dtype, shape: [split.chunks, ...axes] });
  const facts = ops.get(node.op);
  if (facts === undefined) throw new InternalError(`no op is called ${node.op}`);
  const combined = makeNode(facts, [p], { axes: [0], keepDims: false }).results[0]!;
  const shaped = reshape([combined], { shape: value.type.shape });
  const result = dtype === value.type.dtype ? shaped : cast([shaped], { to: value.type.dtype });
  return {
    name: `${g.name}_combine`,
    outputs: [{ value: result, to }],
    leaf: (v) => (v === p ? { kind: "view", view: partial } : undefined),
  };
}

/** partial[chunk, kept] of each reduction. */
function emitPartials(ctx: LowerContext, g: ReduceGroup, split: SplitFactor, partials: readonly View[]): void {
  const kernel = new KernelBuilder({ chunks: split.chunks });
  const e = new PointEmitter(kernel, g.substitution);
  const { block } = kernel;
  const operands = g.reductions.map((r) => r.operand);
  e.plan(operands);
  const chunk = freshLoop("chunk", split.chunks);
  const chunkIndex = dimSymbol(chunk.symbol, { min: 0 });
  const rows = kernel.size(split.rows);
  const [outermost, ...inner] = g.reduced;
  const accs = g.reductions.map((r) => accumulatorType(r.operand.dtype));
  const pointers = partials.map((p) => kernel.pointer(p, "readWrite"));
  const keptSize = product(g.kept);
  const keptAt = g.kept.reduce<Dim>((at, l) => dimAdd(dimMul(at, l.size), dimSymbol(l.symbol, { min: 0 })), 0);
  const partialAt = dimAdd(dimMul(chunkIndex, keptSize), keptAt);

  const rowsOfChunk = () => {
    const from = block.let("from", B.mul(e.index(chunkIndex), rows));
    return { from, to: block.let("to", B.minS(B.add(from, rows), kernel.size(outermost!.size))) };
  };
  const reduced = (vectorize: boolean, body: () => void) => {
    const { from, to } = rowsOfChunk();
    e.hoist(operands);
    e.loop(outermost!.symbol, from, to, vectorize && inner.length === 0, () =>
      nest(e, inner, unchunked, { vectorize, roots: operands }, body),
    );
  };

  const together = split.columns ? rowsTogether(g, operands) : 1;
  const sums =
    together === 1
      ? pointers
      : accs.map((type) => kernel.scratch(elemOf[type], dimMul(g.kept.at(-1)!.size, together), true));
  /** Rows are added up where the partial results lie; short ones, many at a time, in memory of the thread first. */
  const columns = () => {
    const column = g.kept.at(-1)!;
    const width = kernel.size(column.size);
    const along = (rowsAtOnce: number, vectorize: boolean, body: () => void) => {
      e.hoist(operands);
      e.hoistIndex(partialAt);
      e.loop(column.symbol, 0, B.mul(width, rowsAtOnce), vectorize, body);
    };
    const at = () => e.index(together === 1 ? partialAt : variable(column));
    along(together, true, () => {
      g.reductions.forEach((r, k) => {
        const start = B.constant(registerOf(accs[k]!), neutral(r.node.op, r.operand.dtype));
        storeElement(kernel, accs[k]!, sums[k]!, at(), start);
      });
    });
    const add = (rowsAtOnce: number) => () =>
      along(rowsAtOnce, hasVectorForm(g, column, operands), () => {
        g.reductions.forEach((r, k) => {
          const type = accs[k]!;
          const sum = combine(r.node.op, r.operand.dtype, loadElement(type, sums[k]!, at()), e.value(r.operand));
          storeElement(kernel, type, sums[k]!, at(), sum);
        });
      });
    if (together === 1) {
      reduced(false, add(1));
      return;
    }
    const { from, to } = rowsOfChunk();
    const whole = block.let("whole", B.sub(to, B.remS(B.sub(to, from), together)));
    const row = outermost!.symbol;
    block.for("i", from, whole, together, (i) => e.scope([[row, i]], add(together)));
    e.loop(row, whole, to, false, add(1));
    along(1, true, () => {
      g.reductions.forEach((r, k) => {
        const type = accs[k]!;
        const part = (i: number) => loadElement(type, sums[k]!, B.add(at(), B.mul(width, i)));
        let sum = part(0);
        for (let i = 1; i < together; i++) sum = combine(r.node.op, r.operand.dtype, sum, part(i));
        storeElement(kernel, type, pointers[k]!, e.index(partialAt), sum);
      });
    });
  };

  e.loop(chunk.symbol, kernel.begin, kernel.end, false, () => {
    if (split.columns) {
      nest(e, g.kept.slice(0, -1), unchunked, { vectorize: false, roots: operands }, columns);
      return;
    }
    nest(e, g.kept, unchunked, { vectorize: false, roots: operands, indices: [partialAt] }, () => {
      const registers = g.reductions.map((r) =>
        block.mut("acc", B.constant(registerOf(r.operand.dtype), neutral(r.node.op, r.operand.dtype))),
      );
      reduced(hasVectorForm(g, g.reduced.at(-1), operands), () => {
        g.reductions.forEach((r, k) => {
          block.assign(registers[k]!, combine(r.node.op, r.operand.dtype, registers[k]!, e.value(r.operand)));
        });
      });
      g.reductions.forEach((_, k) => {
        storeElement(kernel, accs[k]!, pointers[k]!, e.index(partialAt), registers[k]!);
      });
    });
  });
  ctx.add(kernel.step(ctx.pool, `${g.name}_partial`, g.loc));
}
