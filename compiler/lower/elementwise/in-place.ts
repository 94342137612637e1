/** Which results of a kernel may lie over its operands. */

import { dimEqual } from "../../../ir/dim.js";
import { dtypeInfo } from "../../../ir/dtype.js";
import type { KernelBuilder } from "../core/kernel-builder.js";
import { type Point, visitPoints } from "../core/point.js";
import type { Store } from "./point-emit.js";

type Load = Extract<Point, { kind: "load" }>;

export function loadsOf(points: readonly Point[]): readonly Load[] {
  const loads: Load[] = [];
  visitPoints(points, (p) => {
    if (p.kind === "load") loads.push(p);
    // A list is read anywhere, so nothing may be stored over it.
    if (p.kind === "apply" && p.list) loads.push({ kind: "load", view: p.list, dtype: p.dtype, at: -1 });
  });
  return loads;
}

/**
 * Pairs [written argument, read argument]. A store may go over an operand of equal element size that is read at the very element
 * being stored only, and not any more after it: all values of a round are computed before the first of them is stored.
 *
 * @param points everything that the kernel computes
 * @param later what it computes after these stores
 */
export function inPlacePairs(
  kernel: KernelBuilder,
  stores: readonly Store[],
  points: readonly Point[],
  later: readonly Point[] = [],
): readonly (readonly [number, number])[] {
  const loads = loadsOf(points);
  const buffers = new Set(loads.map((p) => p.view.buffer));
  for (const p of loadsOf(later)) buffers.delete(p.view.buffer);
  const pairs: (readonly [number, number])[] = [];
  for (const { to, at } of stores) {
    for (const buffer of buffers) {
      if (dtypeInfo[buffer.dtype].bytes !== dtypeInfo[to.buffer.dtype].bytes) continue;
      const own = loads.filter((p) => p.view.buffer === buffer);
      const { view } = own[0]!;
      // Indices into two views of one buffer can't be compared.
      if (own.every((p) => dimEqual(p.at, at) && dimEqual(p.view.offset, view.offset)))
        pairs.push([kernel.argIndex(to, "write"), kernel.argIndex(view, "read")]);
    }
  }
  return pairs;
}
