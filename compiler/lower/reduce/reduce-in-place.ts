/** Which results of a reduction kernel may share memory with its operands. */

import { dimEqual } from "../../../ir/dim.js";
import type { KernelBuilder } from "../core/kernel-builder.js";
import { type Point, visitPoints } from "../core/point.js";
import type { ReduceGroup } from "./reduce-group.js";

/** A full result may go over an operand that is read at the same index only: the row's last round reads before it writes. */
export function inPlaceRows(kernel: KernelBuilder, g: ReduceGroup): readonly (readonly [number, number])[] {
  const full = g.outputs.filter((o) => o.full);
  const loads: Extract<Point, { kind: "load" }>[] = [];
  visitPoints([...g.reductions.map((r) => r.operand), ...g.outputs.map((o) => o.point)], (p) => {
    if (p.kind === "load") loads.push(p);
  });
  const laterReads = new Set<number>();
  visitPoints(
    g.outputs.filter((o) => !o.full).map((o) => o.point),
    (p) => {
      if (p.kind === "load") laterReads.add(p.view.buffer.id);
    },
  );
  const pairs: (readonly [number, number])[] = [];
  for (const o of full) {
    const same = (p: (typeof loads)[number]) =>
      dimEqual(p.at, o.at) &&
      p.view.buffer.dtype === o.to.buffer.dtype &&
      dimEqual(p.view.offset, loads.find((q) => q.view.buffer === p.view.buffer)!.view.offset);
    for (const buffer of new Set(loads.map((p) => p.view.buffer))) {
      const own = loads.filter((p) => p.view.buffer === buffer);
      if (!own.every(same) || laterReads.has(buffer.id)) continue;
      pairs.push([kernel.argIndex(o.to, "write"), kernel.argIndex(own[0]!.view, "read")]);
    }
  }
  return pairs;
}

/**
 * A result of one element for each kept index may go over an operand that is only read at that index: it is stored last, and
 * nobody else looks there.
 */
export function inPlaceKept(kernel: KernelBuilder, g: ReduceGroup): readonly (readonly [number, number])[] {
  const loads: Extract<Point, { kind: "load" }>[] = [];
  visitPoints([...g.reductions.map((r) => r.operand), ...g.outputs.map((o) => o.point)], (p) => {
    if (p.kind === "load") loads.push(p);
  });
  const pairs: (readonly [number, number])[] = [];
  for (const o of g.outputs) {
    if (o.full) continue;
    for (const buffer of new Set(loads.map((p) => p.view.buffer))) {
      const own = loads.filter((p) => p.view.buffer === buffer);
      const { view } = own[0]!;
      const fits = own.every((p) => dimEqual(p.at, o.at) && dimEqual(p.view.offset, view.offset));
      if (fits && buffer.dtype === o.to.buffer.dtype)
        pairs.push([kernel.argIndex(o.to, "write"), kernel.argIndex(view, "read")]);
    }
  }
  return pairs;
}
