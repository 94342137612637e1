/**
 * SparseAttention (Phi-3-small, https://arxiv.org/abs/2404.14219): causal attention in which blocks of queries see blocks of keys, by a
 * layout for each head in turn. The layouts come as rows of indices (CSR); here they are masks of the scores.
 */
import {
  asType,
  dimScalar,
  expandDims,
  full,
  np,
  permute,
  rankOf,
  reshapeTo,
  sliceAxis,
  sum,
  takeAt,
  tile,
  where,
} from "../../../../ir/build.js";
import { type Dim, dimFloorDiv, dimMul, dimSub } from "../../../../ir/dim.js";
import { typeText, type Value } from "../../../../ir/graph.js";
import { iota } from "../../../../ir/ops/constant.js";
import { gather, scatterElements } from "../../../../ir/ops/indexing.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../../context.js";
import { joinHeads, maskBias, scaledDotProduct } from "../attention.js";
import { joined, lengthsOf, positionsOf } from "./cache.js";
import { operandsOf, turnedBy } from "./grouped-query.js";

/** What a masked score becomes: finite, so that a row that sees nothing gives a mean, as in ONNX Runtime. */
const LOWEST = { f32: -3.4028234663852886e38, f16: -65504, bf16: -3.3895313892515355e38 } as const;

/** Which blocks of keys a block of queries sees: bool[layouts, blocks, blocks], out of row pointers and columns. */
function blockMask(c: NodeContext): Value {
  const [pointers, columns] = [asType(c.input(5), "i64"), asType(c.input(6), "i64")];
  if (rankOf(pointers) !== 2 || rankOf(columns) !== 2)
    throw c.error(
      `block_row_indices and block_col_indices should have 2 axes, but are ${typeText(c.input(5).type)} and ${typeText(c.input(6).type)}`,
    );
  const layouts = pointers.type.shape[0]!;
  const blocks = dimSub(pointers.type.shape[1]!, 1);
  const entries = columns.type.shape[1]!;
  const entry = iota([], { dtype: "i64", shape: [layouts, entries], axis: 1 });
  // The row of an entry is the number of rows that end before it.
  const ends = sliceAxis(pointers, 1, 1, blocks);
  const row = sum(asType(np.ge(expandDims(entry, 2), expandDims(ends, 1)), "i64"), 2);
  const isEntry = np.and(np.lt(entry, expandDims(takeAt(pointers, 1, blocks), 1)), np.ge(columns, 0));
  const at = where(isEntry, np.add(np.mul(row, dimScalar(blocks, "i64")), columns), 0);
  const none = full("i32", [layouts, dimMul(blocks, blocks)], 0);
  const marked = scatterElements([none, at, asType(isEntry, "i32")], { axis: 1, reduction: "max" });
  return np.ne(reshapeTo(marked, [layouts, blocks, blocks]), 0);
}

const sparseAttention: ImportOp = (c): readonly Bound[] => {
  const block = c.attrs.requiredInt("sparse_block_size");
  if (block < 1) throw c.error(`sparse_block_size is ${block}; expected the tokens of a block`);
  const { heads, size, parts } = operandsOf(c);
  let [q, k, v] = parts;
  const { dtype } = q.type;
  const [batch, rows] = c.input(0).type.shape as [Dim, Dim];
  const [pastKey, pastValue] = [c.input(3), c.input(4)];
  const cached = pastKey.type.shape[2]!;
  const total = c.dimWithin(7, "the total length", cached);
  const last = np.sub(asType(reshapeTo(c.input(8), [batch, 1]), "i64"), 1);
  const lengths = { ...lengthsOf({ batch, rows, cached, total, last }), columns: cached };
  const positions = positionsOf(lengths);
  if (c.attrs.flag("do_rotary", false)) {
    const turn = turnedBy(c, 9, positions);
    [q, k] = [turn(q), turn(k)];
  } else c.leaveAside(9, 10);
  const [keys, values] = [joined(pastKey, k, lengths), joined(pastValue, v, lengths)];

  const mask = blockMask(c);
  const [layouts, blocks] = mask.type.shape as [Dim, Dim, Dim];
  const key = iota([], { dtype: "i64", shape: [cached], axis: 0 });
  const ofKey = np.min(np.div(key, block), dimScalar(dimSub(blocks, 1), "i64"));
  const byKey = gather([mask, ofKey], { axis: 2 });
  // [layouts, batch, rows, keys]
  const byRow = gather([byKey, np.div(positions, block)], { axis: 1 });
  const seen = tile(permute(byRow, [1, 0, 2, 3]), [1, dimFloorDiv(heads, layouts), 1, 1]);
  const causal = np.le(expandDims(key, 0, 1, 2), np.min(expandDims(positions, 1, 3), expandDims(last, 1, 3)));
  const lowest = LOWEST[dtype as keyof typeof LOWEST];
  if (lowest === undefined) throw c.error(`the query should be f32, f16 or bf16, but is ${typeText(q.type)}`);
  const { y } = scaledDotProduct({
    q,
    k: keys,
    v: values,
    scale: c.attrs.float("scale", 0) || 1 / Math.sqrt(size),
    bias: np.add(where(seen, full(dtype, [], 0), full(dtype, [], lowest)), maskBias(causal, dtype)),
  });
  return [joinHeads(y), keys, values];
};

export const sparseRows: Readonly<Record<string, OpRow>> = { SparseAttention: sparseAttention };
