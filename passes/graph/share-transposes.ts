/**
 * Weights that are the transpose of others are stored once: exporters write a tied embedding a second time, for the product at the end.
 *
 *   %e = constant [v, d]; … %h = constant [d, v]    ⇒    %e = constant [v, d]; … %h = transpose %e
 *
 * where both hold the same bits. Products then read the rows of %e.
 */

import { dtypeInfo } from "../../ir/dtype.js";
import { type Graph, type GraphNode, graphNodes, type Value, withLoc } from "../../ir/graph.js";
import { mapGraph } from "../../ir/graph-rebuild.js";
import { transpose } from "../../ir/ops/movement.js";
import type { Tensor } from "../../ir/tensor.js";
import type { GraphPass } from "../pass.js";

/** Bytes from which on it matters: smaller ones are folded, packed and fused as they are. */
const fewestBytes = 1 << 12;

export const shareTransposes: GraphPass = { name: "share-transposes", run: share };

function share(g: Graph): Graph {
  const seen = new Map<string, Value[]>();
  const twin = new Map<GraphNode, Value>();
  for (const n of graphNodes(g)) {
    if (n.op !== "constant" || !isMatrix(n.attrs.value)) continue;
    const { value } = n.attrs;
    const found = seen.get(fingerprint(value, true))?.find((v) => isTransposeOf(value, tensorOf(v)));
    if (found) twin.set(n, found);
    else {
      const key = fingerprint(value, false);
      seen.set(key, [...(seen.get(key) ?? []), n.results[0]!]);
    }
  }
  if (twin.size === 0) return g;
  return mapGraph(
    g,
    (n) => {
      const v = twin.get(n);
      return v && withLoc(n.loc, () => [transpose([v], { perm: [1, 0] })]);
    },
    share,
  );
}

const tensorOf = (v: Value): Tensor => (v.def as GraphNode & { readonly op: "constant" }).attrs.value;

const isMatrix = ({ dtype, shape, data }: Tensor): boolean =>
  shape.length === 2 && shape.every((d) => d > 1) && data.length * dtypeInfo[dtype].bytes >= fewestBytes;

/** Elements in each direction that tell weights apart. */
const samples = 8;

/** Type and some elements of the matrix, or of its transpose. */
function fingerprint({ dtype, shape, data }: Tensor, transposed: boolean): string {
  const [rows, columns] = shape as readonly [number, number];
  const place = (i: number, size: number) => Math.floor((i * size) / samples);
  const values: (number | bigint)[] = [];
  for (let i = 0; i < samples; i++)
    for (let j = 0; j < samples; j++) {
      const [r, c] = transposed ? [place(j, rows), place(i, columns)] : [place(i, rows), place(j, columns)];
      values.push(data[r * columns + c]!);
    }
  return `${dtype}[${transposed ? [columns, rows] : shape}] ${values}`;
}

function isTransposeOf(a: Tensor, b: Tensor): boolean {
  const [rows, columns] = a.shape as readonly [number, number];
  if (b.shape[0] !== columns || b.shape[1] !== rows || a.dtype !== b.dtype) return false;
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) if (!Object.is(a.data[r * columns + c], b.data[c * rows + r])) return false;
  return true;
}
