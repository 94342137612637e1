/**
 * Max pools that `layout` wrapped in transposes which met no others: their images come channels-first and go channels-first.
 *
 *   %1 = transpose %x {perm=[0,2,3,1]}
 *   %2 = maxPool %1 {layout=channelsLast}    ⇒    %3 = maxPool %x {layout=channelsFirst}
 *   %3 = transpose %2 {perm=[0,3,1,2]}
 *
 * Their kernel takes rows as they lie, where those are long enough for vectors.
 */

import { type Graph, type GraphNode, graphNodes, graphRoots, type Value } from "../../ir/graph.js";
import { mapGraph } from "../../ir/graph-rebuild.js";
import { transpose } from "../../ir/ops/movement.js";
import type { GraphPass } from "../pass.js";
import { variant } from "../rules/build.js";

/** Pixels of a row that fill vectors. */
const leastWidth = 4;
/** Steps between pixels that vectors serve. */
const mostStride = 2;

export const unwrapPools: GraphPass = {
  name: "unwrap-pools",
  run: unwrap,
};

function unwrap(g: Graph): Graph {
  const order = graphNodes(g);
  const wrapped = wrappedPools(g, order);
  let at = 0;
  return mapGraph(
    g,
    (made) => {
      const n = order[at++]!;
      if (wrapped.has(n)) {
        const [x] = made.operands as [Value];
        if (x.def.op !== "transpose") return undefined;
        const [y, places] = variant(made, x.def.operands, { layout: "channelsFirst" }) as [Value, Value];
        return [transpose([y], { perm: toLast(y) }), places];
      }
      const [moved] = made.operands;
      if (made.op !== "transpose" || moved?.def.op !== "transpose" || !isWrap(made, toFirst)) return undefined;
      // Only what was made here: other transposes that meet are not this pass's.
      return n.operands[0]!.def.op === "maxPool" ? moved.def.operands : undefined;
    },
    unwrap,
  );
}

/** Pools whose every reader brings the channels back to the front. */
function wrappedPools(g: Graph, order: readonly GraphNode[]): ReadonlySet<GraphNode> {
  const roots = new Set(graphRoots(g));
  const found = new Set(order.filter((n) => isLone(n) && !n.results.some((r) => roots.has(r))));
  for (const reader of order)
    for (const v of reader.operands) {
      if (v.def.op !== "param" && (v.index !== 0 || !isWrap(reader, toFirst))) found.delete(v.def);
    }
  return found;
}

function isLone(n: GraphNode): boolean {
  if (n.op !== "maxPool" || n.attrs.layout !== "channelsLast") return false;
  const width = n.results[0]!.type.shape.at(-2)!;
  const from = n.operands[0]!.def;
  return (
    (typeof width !== "number" || width >= leastWidth) &&
    n.attrs.strides.length <= 2 &&
    n.attrs.strides.at(-1)! <= mostStride &&
    from.op === "transpose" &&
    isWrap(from, toLast)
  );
}

const spatial = (v: Value): readonly number[] => Array.from({ length: v.type.shape.length - 2 }, (_, a) => a);
const toLast = (v: Value): readonly number[] => [0, ...spatial(v).map((a) => a + 2), 1];
const toFirst = (v: Value): readonly number[] => [0, v.type.shape.length - 1, ...spatial(v).map((a) => a + 1)];

const isWrap = (n: GraphNode, way: (v: Value) => readonly number[]): boolean =>
  n.op === "transpose" && n.attrs.perm.join() === way(n.operands[0]!).join();
