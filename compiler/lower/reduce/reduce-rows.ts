/** Reductions where memory runs along the reduced axes: a row at a time. */

import type { Dim } from "../../../ir/dim.js";
import * as B from "../../../ir/loop-build.js";
import type { LowerContext } from "../core/context.js";
import { elemOf, KernelBuilder, registerOf } from "../core/kernel-builder.js";
import type { Point } from "../core/point.js";
import { combine, neutral } from "../elementwise/elementwise.js";
import { inPlacePairs } from "../elementwise/in-place.js";
import { chunkPlan, nest } from "../elementwise/loops.js";
import { loadElement, PointEmitter } from "../elementwise/point-emit.js";
import { settle } from "../elementwise/registers.js";
import { contains, hasVectorForm, type ReduceGroup, unchunked } from "./reduce-group.js";

export function emitRows(ctx: LowerContext, g: ReduceGroup): void {
  const plan = chunkPlan(g.kept, g.reducedSize === 0 ? 1 : g.reducedSize);
  const kernel = new KernelBuilder({ chunks: plan.chunks });
  const e = new PointEmitter(kernel, g.substitution);
  const { block } = kernel;
  const savedAt = new Map(g.saved.map((p) => [p, kernel.scratch(elemOf[p.dtype], g.reducedSize, true)]));
  const kept = g.outputs.filter((o) => !o.full);
  const full = g.outputs.filter((o) => o.full);
  const operands = g.reductions.map((r) => r.operand);
  e.plan([...operands, ...g.outputs.map((o) => o.point)]);
  const innermost = g.reduced.at(-1);
  const ready = new Set<Point>();

  /** A round over the reduced axes. Saved points are stored in the first round that computes them. */
  const round = (roots: readonly Point[], indices: readonly Dim[], body: () => void) => {
    const computes = g.saved.filter((p) => !ready.has(p) && contains(roots, p));
    const vectorize = hasVectorForm(g, innermost, roots);
    nest(
      e,
      g.reduced,
      unchunked,
      { vectorize, roots, indices: [...indices, ...(g.saved.length > 0 ? [g.reducedFlat] : [])] },
      () => {
        for (const p of ready)
          if (contains(roots, p))
            e.set(p, block.let("saved", loadElement(p.dtype, savedAt.get(p)!, e.index(g.reducedFlat))));
        for (const p of computes) {
          const value = block.let("saved", e.value(p));
          e.set(p, value);
          e.store(p.dtype, savedAt.get(p)!, g.reducedFlat, value);
        }
        body();
      },
    );
    for (const p of computes) ready.add(p);
  };

  nest(
    e,
    g.kept,
    plan,
    { vectorize: false, roots: [...operands, ...g.outputs.map((o) => o.point)], indices: kept.map((o) => o.at) },
    () => {
      e.hoist(operands);
      for (let stage = 0; stage < g.stages; stage++) {
        const own = g.reductions.filter((r) => r.stage === stage);
        const accs = own.map((r) =>
          block.mut("acc", B.constant(registerOf(r.operand.dtype), neutral(r.node.op, r.operand.dtype))),
        );
        round(
          own.map((r) => r.operand),
          [],
          () => {
            own.forEach((r, k) => {
              block.assign(accs[k]!, combine(r.node.op, r.operand.dtype, accs[k]!, e.value(r.operand)));
            });
          },
        );
        own.forEach((r, k) => {
          e.give(r.value, block.let(r.node.op, settle(r.operand.dtype, accs[k]!)));
        });
      }
      if (full.length > 0) {
        round(
          full.map((o) => o.point),
          full.map((o) => o.at),
          () => {
            e.storeAll(full);
          },
        );
      }
      e.storeAll(kept);
    },
  );
  // A row's last round reads before it writes; what is kept is stored after it.
  const points = [...operands, ...g.outputs.map((o) => o.point)];
  const overRows = inPlacePairs(
    kernel,
    full,
    points,
    kept.map((o) => o.point),
  );
  ctx.add(kernel.step(ctx.pool, g.name, g.loc, [...overRows, ...inPlacePairs(kernel, kept, points)]));
}
