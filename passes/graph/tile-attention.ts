/**
 * Tile attention: where `attention` and its gradient are what the kernels of compiler/kernels/attention.ts compute, these take their
 * place.
 *
 *   %y = attention %q %k %v {scale=0.2, causal=true}   ⇒   %y = tiledAttention %q %k %v {scale=0.2, causal=true}
 *
 * Without masks, in f32, with heads of known size and no fewer queries than half a block. Few queries (a decoder's step) are better off
 * with the products of single rows.
 */

import { broadcastTo, sumToShape } from "../../ir/build.js";
import { dimBounds, dimEqual } from "../../ir/dim.js";
import type { Shape, Value } from "../../ir/graph.js";
import { tiledAttention, tiledAttentionGrad } from "../../ir/ops/attention.js";
import { node, rule } from "../pattern.js";
import { rewritePass } from "../rewrite.js";

/** Queries from which on the kernels pay. */
const fewest = 16;

/** Batch axes with ones in front, so that all have as many. */
const padded = (v: Value, rank: number): Value => {
  const missing = rank - v.type.shape.length;
  return missing <= 0 ? v : broadcastTo(v, [...new Array<number>(missing).fill(1), ...v.type.shape]);
};

/** Query, key and value as the kernels take them, if they do. */
function tiles(query: Value, key: Value, value: Value): readonly [Value, Value, Value] | undefined {
  const { dtype, shape } = query.type;
  const isKnown = [query, value].every((v) => typeof v.type.shape.at(-1) === "number");
  if (dtype !== "f32" || !isKnown || !(dimBounds(shape.at(-2)!).min >= fewest)) return undefined;
  const [k, v] = [padded(key, shape.length), padded(value, shape.length)];
  const fits = (s: Shape) =>
    s.length === shape.length && s.slice(0, -2).every((d, i) => d === 1 || dimEqual(d, shape[i]!));
  return fits(k.type.shape) && fits(v.type.shape) ? [query, k, v] : undefined;
}

export const tileAttention = rewritePass(
  "tile-attention",
  [
    rule("tile-attention", node(["attention"], "n"), ({ n }) => {
      const [query, key, value, mask] = n.operands as readonly [Value, Value, Value, Value?];
      const found = mask === undefined ? tiles(query, key, value) : undefined;
      return found && tiledAttention(found, n.attrs);
    }),
    rule("tile-attention-grad", node(["attentionGrad"], "n"), ({ n }) => {
      const [query, key, value, dy, mask] = n.operands as readonly [Value, Value, Value, Value, Value?];
      const found = mask === undefined ? tiles(query, key, value) : undefined;
      return (
        found && tiledAttentionGrad([...found, dy], n.attrs).map((d, i) => sumToShape(d, n.operands[i]!.type.shape))
      );
    }),
  ],
  true,
);
