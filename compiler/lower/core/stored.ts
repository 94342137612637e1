/** Which constants are stored as they are, because something reads them where they lie. */

import { type Graph, graphNodes, type Value } from "../../../ir/graph.js";
import type { Tensor } from "../../../ir/tensor.js";

/** Weights of these are packed when compiling. */
const packed: Readonly<Record<string, number>> = { dotGeneral: 1, conv: 1, convInputGrad: 1 };

/** Constants that anything but a product reads. */
export function storedConstants(graph: Graph): ReadonlySet<Tensor> {
  const found = new Set<Tensor>();
  const visit = (g: Graph, given: ReadonlyMap<Value, Tensor>): void => {
    const tensorOf = (v: Value) => (v.def.op === "constant" ? v.def.attrs.value : given.get(v));
    for (const v of g.results) add(found, tensorOf(v));
    for (const n of graphNodes(g)) {
      if (n.op === "fusion") {
        // Kernels read its operands as the nodes inside do.
        const region = n.regions[0]!;
        visit(region, new Map(region.params.flatMap((p, i) => pairOf(p, tensorOf(n.operands[i]!)))));
        continue;
      }
      n.operands.forEach((v, i) => {
        if (packed[n.op] !== i) add(found, tensorOf(v));
      });
      for (const r of n.regions) visit(r, new Map());
    }
  };
  visit(graph, new Map());
  return found;
}

const add = (found: Set<Tensor>, t: Tensor | undefined): void => {
  if (t !== undefined) found.add(t);
};

const pairOf = (p: Value, t: Tensor | undefined): readonly (readonly [Value, Tensor])[] =>
  t === undefined ? [] : [[p, t]];
