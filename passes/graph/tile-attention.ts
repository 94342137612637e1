/**
 * Tile attention: where `attention` and its gradient are what the kernels of compiler/kernels/attention.ts compute, these take their
 * place.
 *
 *   %y = attention %q %k %v {scale=0.2, causal=true}   ⇒   %y = tiledAttention %q %k %v {scale=0.2, causal=true}
 *
 * In f32, with heads of known size, with or without masks; heads that exporters repeat for groups of queries are read where they
 * are. Gradients take no masks, and no fewer queries than half a block.
 */

import { broadcastTo, reshapeTo, sumToShape } from "../../ir/build.js";
import { dimBounds, dimEqual } from "../../ir/dim.js";
import type { Shape, Value } from "../../ir/graph.js";
import { tiledAttention, tiledAttentionGrad } from "../../ir/ops/attention.js";
import { node, rule } from "../pattern.js";
import { rewritePass } from "../rewrite.js";

/** Queries from which on blocks pay. */
const fewest = 16;

/** Batch axes with ones in front, so that all have as many. */
const padded = (v: Value, rank: number): Value => {
  const missing = rank - v.type.shape.length;
  return missing <= 0 ? v : broadcastTo(v, [...new Array<number>(missing).fill(1), ...v.type.shape]);
};

/** Whether single queries have a kernel, whose vectors are of four. */
const hasRows = (query: Value, value: Value): boolean =>
  [query, value].every((v) => (v.type.shape.at(-1) as number) % 4 === 0);

/** Query, key and value as the kernels take them, if they do. `rows`: also single queries. */
function tiles(query: Value, key: Value, value: Value, rows: boolean): readonly [Value, Value, Value] | undefined {
  const { dtype, shape } = query.type;
  const isKnown = [query, value].every((v) => typeof v.type.shape.at(-1) === "number");
  if (dtype !== "f32" || !isKnown) return undefined;
  if (!(dimBounds(shape.at(-2)!).min >= fewest) && !(rows && hasRows(query, value))) return undefined;
  const [k, v] = [padded(key, shape.length), padded(value, shape.length)];
  const fits = (s: Shape) =>
    s.length === shape.length && s.slice(0, -2).every((d, i) => d === 1 || dimEqual(d, shape[i]!));
  return fits(k.type.shape) && fits(v.type.shape) ? [query, k, v] : undefined;
}

/** A mask as the kernels take it: all axes, those of the batch and of queries perhaps of 1. */
function maskOf(mask: Value, query: Value, key: Value): Value | undefined {
  const { shape } = query.type;
  if (mask.type.dtype !== "f32" && mask.type.dtype !== "bool") return undefined;
  const whole = padded(mask, shape.length);
  const own = whole.type.shape;
  const isRow = own.length === shape.length && dimEqual(own.at(-1)!, key.type.shape.at(-2)!);
  return isRow && own.slice(0, -1).every((d, i) => d === 1 || dimEqual(d, shape[i]!)) ? whole : undefined;
}

interface Repeated {
  readonly inner: Value;
  readonly times: number;
}

/** x [batch…, h, s, d] where v [batch…, h · times, s, d] has each of its heads several times in a row. */
function repeatedHeads(v: Value): Repeated | undefined {
  const spread = v.def.op === "reshape" ? v.def.operands[0]! : undefined;
  const { shape } = v.type;
  const rank = shape.length;
  if (spread?.def.op !== "broadcast" || spread.type.shape.length !== rank + 1 || rank < 3) return undefined;
  const wide = spread.type.shape;
  const times = wide[rank - 2]!;
  // Each axis but the repeated one varies as in x, or is of 1 in both.
  const own = wide.filter((_, a) => a !== rank - 2);
  const { axes } = spread.def.attrs;
  const x = spread.def.operands[0]!;
  const at = (a: number) => axes.indexOf(a);
  const isOwn = wide.every((d, a) =>
    a === rank - 2 ? at(a) < 0 || x.type.shape[at(a)] === 1 : at(a) < 0 ? d === 1 : dimEqual(x.type.shape[at(a)]!, d),
  );
  const isJoined = shape.every((d, a) => a === rank - 3 || dimEqual(d, own[a]!));
  return isOwn && isJoined && typeof times === "number" && times > 1 ? { inner: reshapeTo(x, own), times } : undefined;
}

/**
 * What a value is the first rows of, its other axes as they are: caches have room for more keys than there are. The whole value has the axes
 * of the part.
 */
function cacheOf(part: Value): Value | undefined {
  let at = part;
  while (at.def.op === "reshape") at = at.def.operands[0]!;
  if (at.def.op !== "slice") return undefined;
  const [whole] = at.def.operands as readonly [Value];
  const { starts, sizes, steps } = at.def.attrs;
  const axis = starts.length - 2;
  const isFirstRows = starts.every((s, a) => s === 0 && steps[a] === 1);
  const isWhole = whole.type.shape.every((d, a) => a === axis || dimEqual(sizes[a]!, d));
  // Reshapes must leave the last two axes alone.
  const same =
    part.type.shape.length >= 2 && [-1, -2].every((a) => dimEqual(part.type.shape.at(a)!, at.type.shape.at(a)!));
  if (!isFirstRows || !isWhole || !same) return undefined;
  return reshapeTo(whole, [...part.type.shape.slice(0, -2), ...whole.type.shape.slice(-2)]);
}

type Operands = readonly [query: Value, key: Value, value: Value, mask?: Value];

/** Queries by groups that share a head of keys and values, where these are repeated for them; and the shape of the result. */
function grouped([query, key, value, mask]: Operands): Operands | undefined {
  const [k, v] = [repeatedHeads(key), repeatedHeads(value)];
  const { shape } = query.type;
  if (!k || !v || k.times !== v.times || shape.length !== key.type.shape.length) return undefined;
  const at = shape.length - 3;
  const cut = (d: Shape, parts: Shape): Shape => [...d.slice(0, at), ...parts, ...d.slice(at + 1)];
  const heads = k.inner.type.shape[at]!;
  const single = ({ inner }: Repeated) => reshapeTo(inner, cut(inner.type.shape, [inner.type.shape[at]!, 1]));
  const whole = mask && padded(mask, shape.length);
  const masked =
    whole && reshapeTo(whole, cut(whole.type.shape, whole.type.shape[at] === 1 ? [1, 1] : [heads, k.times]));
  const q = reshapeTo(query, cut(shape, [heads, k.times]));
  return masked ? [q, single(k), single(v), masked] : [q, single(k), single(v)];
}

export const tileAttention = rewritePass(
  "tile-attention",
  [
    rule("tile-attention", node(["attention"], "n"), ({ n }) => {
      const own = n.operands as unknown as Operands;
      const [query, key, value, mask] = grouped(own) ?? own;
      const found = tiles(query, key, value, true);
      const added = mask && maskOf(mask, query, key);
      if (found === undefined || (mask !== undefined && added === undefined)) return undefined;
      const [q, k, v] = found;
      const caches = [cacheOf(k), cacheOf(v)] as const;
      const isCached = caches[0] && caches[1] && dimEqual(caches[0].type.shape.at(-2)!, caches[1].type.shape.at(-2)!);
      const [from, attrs] = isCached
        ? [[q, ...(caches as readonly [Value, Value])], { ...n.attrs, keys: k.type.shape.at(-2)! }]
        : [[q, k, v], n.attrs];
      return reshapeTo(tiledAttention([...from, ...(added ? [added] : [])], attrs), n.results[0]!.type.shape);
    }),
    rule("tile-attention-grad", node(["attentionGrad"], "n"), ({ n }) => {
      const [query, key, value, dy, mask] = n.operands as readonly [Value, Value, Value, Value, Value?];
      const found = mask === undefined ? tiles(query, key, value, false) : undefined;
      return (
        found && tiledAttentionGrad([...found, dy], n.attrs).map((d, i) => sumToShape(d, n.operands[i]!.type.shape))
      );
    }),
  ],
  true,
);
