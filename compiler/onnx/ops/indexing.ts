/** Gathers, scatters, sorting, running sums, one-hot. */
import {
  asType,
  broadcastTo,
  constantLike,
  dimScalar,
  moveAxis,
  np,
  oneHot,
  rankOf,
  reshapeTo,
  takeAt,
  where,
} from "../../../ir/build.js";
import { type Dim, type DimExpr, dimBounds, dimText } from "../../../ir/dim.js";
import { typeText, type Value } from "../../../ir/graph.js";
import type { Op } from "../../../ir/op.js";
import { iota } from "../../../ir/ops/constant.js";
import { gather, gatherElements, gatherND, scatterElements, scatterND } from "../../../ir/ops/indexing.js";
import { type CumulativeAttrs, cumProd, cumSum, topK } from "../../../ir/ops/sort.js";
import type { ImportOp, OpRow } from "../context.js";

const REDUCTIONS = ["none", "add", "mul", "max", "min"] as const;

const gatherRow: ImportOp = (c) => {
  const x = c.input(0);
  const axis = c.axis(c.attrs.int("axis", 0), rankOf(x));
  const indices = c.input(1);
  // A single known index is a slice, which keeps shape arithmetic symbolic.
  const known = c.constant(1);
  const size = x.type.shape[axis]!;
  if (known && known.shape.length === 0 && typeof size === "number") {
    const index = Number(known.data[0]);
    const at = index < 0 ? index + size : index;
    if (at < 0 || at >= size) throw c.error(`index ${index} is outside axis ${axis} of ${typeText(x.type)}`);
    return takeAt(x, axis, at);
  }
  return gather([x, indices], { axis });
};

const scatterElementsRow: ImportOp = (c) => {
  const x = c.input(0);
  const axis = c.axis(c.attrs.int("axis", 0), rankOf(x));
  return scatterElements([x, c.input(1), c.input(2)], {
    axis,
    reduction: c.attrs.oneOf("reduction", REDUCTIONS, "none"),
  });
};

const oneHotRow: ImportOp = (c) => {
  const given = c.input(0);
  const indices = asType(given, "i64");
  const depth = c.dimWithin(1, "the depth");
  const values = c.input(2);
  const wrapped = where(np.lt(indices, 0), np.add(indices, dimScalar(depth, "i64")), indices);
  const hot = oneHot(wrapped, depth, "bool");
  const rank = rankOf(hot);
  const result = where(hot, takeAt(values, 0, 1), takeAt(values, 0, 0));
  return moveAxis(result, -1, c.axis(c.attrs.int("axis", -1), rank));
};

const topKRow: ImportOp = (c) => {
  const x = c.input(0);
  const axis = c.axis(c.attrs.int("axis", -1), rankOf(x));
  const k = c.since < 10 ? c.attrs.requiredInt("k") : c.dimsWithin(1, () => x.type.shape[axis]!)[0];
  if (k === undefined) throw c.error("k should be a single value");
  return topK([x], { k, axis, largest: c.attrs.flag("largest", true) });
};

const cumulative =
  (op: Op<string, CumulativeAttrs>): ImportOp =>
  (c) => {
    const x = c.input(0);
    const axis = c.axis(c.scalar(1, "the axis"), rankOf(x));
    return op([x], { axis, exclusive: c.attrs.flag("exclusive", false), reverse: c.attrs.flag("reverse", false) });
  };

/** Reverses the first len[b] elements of each sequence b along the time axis. */
export function reverseSequence(x: Value, lengths: Value, batchAxis: number, timeAxis: number): Value {
  const { shape } = x.type;
  const along = (axis: number): readonly Dim[] => shape.map((d, a) => (a === axis ? d : 1));
  const time = reshapeTo(iota([], { dtype: "i64", shape: [shape[timeAxis]!], axis: 0 }), along(timeAxis));
  const length = reshapeTo(asType(lengths, "i64"), along(batchAxis));
  const mirrored = np.sub(np.sub(length, constantLike(length, 1)), time);
  const source = where(np.lt(time, length), mirrored, time);
  return gatherElements([x, broadcastTo(source, shape)], { axis: timeAxis });
}

const reverseSequenceRow: ImportOp = (c) => {
  const x = c.input(0);
  return reverseSequence(
    x,
    c.input(1),
    c.axis(c.attrs.int("batch_axis", 1), rankOf(x)),
    c.axis(c.attrs.int("time_axis", 0), rankOf(x)),
  );
};

/** Index tuples [..., depth] whose depth the file leaves open, taken to be what the ranks say; each run checks it. */
function tuplesOf(indices: Value, depth: number): Value {
  return reshapeTo(indices, [...indices.type.shape.slice(0, -1), depth]);
}

const isOpen = (depth: Dim | undefined): depth is DimExpr => depth !== undefined && typeof depth !== "number";

const gatherNDRow: ImportOp = (c) => {
  const [x, given] = [c.input(0), c.input(1)];
  const batchDims = c.attrs.int("batch_dims", 0);
  const open = given.type.shape.at(-1);
  if (!isOpen(open)) return gatherND([x, given], { batchDims });
  const most = rankOf(x) - batchDims;
  const rank = c.statedRank(0);
  const depth =
    rank !== undefined ? rankOf(given) - 1 + most - rank : most === 1 && dimBounds(open).min === 1 ? 1 : undefined;
  if (depth === undefined)
    throw c.error(
      `the size ${dimText(open)} of its index tuples, the last axis of ${typeText(given.type)}, decides how many axes the result has`,
      "fix the size when importing (the option dims), or let compileFor take it from the feeds",
      c.services.needs.ofDims([open]),
    );
  if (depth < 0 || depth > most)
    throw c.error(
      `the file says that its result has ${rank} axes, which does not fit indices ${typeText(given.type)} of ${typeText(x.type)}`,
    );
  return gatherND([x, tuplesOf(given, depth)], { batchDims });
};

const scatterNDRow: ImportOp = (c) => {
  const [x, given, updates] = [c.input(0), c.input(1), c.input(2)];
  const reduction = c.attrs.oneOf("reduction", REDUCTIONS, "none");
  if (!isOpen(given.type.shape.at(-1))) return scatterND([x, given, updates], { reduction });
  const depth = rankOf(given) - 1 + rankOf(x) - rankOf(updates);
  if (depth < 0 || depth > rankOf(x))
    throw c.error(
      `updates ${typeText(updates.type)} do not fit indices ${typeText(given.type)} of ${typeText(x.type)}`,
    );
  return scatterND([x, tuplesOf(given, depth), updates], { reduction });
};

/** New cache entries written at a position per batch, linearly or round a ring. */
const tensorScatter: ImportOp = (c) => {
  const [cache, update] = [c.input(0), c.input(1)];
  const rank = rankOf(cache);
  const axis = c.axis(c.attrs.int("axis", -2), rank);
  const { shape } = update.type;
  const along = (a: number): readonly Dim[] => shape.map((d, i) => (i === a ? d : 1));
  const step = reshapeTo(iota([], { dtype: "i64", shape: [shape[axis]!], axis: 0 }), along(axis));
  const starts = c.optional(2);
  let index = starts ? np.add(step, reshapeTo(asType(starts, "i64"), along(0))) : step;
  if (c.attrs.oneOf("mode", ["linear", "circular"], "linear") === "circular")
    index = np.rem(index, dimScalar(cache.type.shape[axis]!, "i64"));
  return scatterElements([cache, broadcastTo(index, shape), update], { axis, reduction: "none" });
};

export const indexing = {
  Gather: gatherRow,
  GatherElements: (c) => {
    const x = c.input(0);
    return gatherElements([x, c.input(1)], { axis: c.axis(c.attrs.int("axis", 0), rankOf(x)) });
  },
  GatherND: gatherNDRow,
  Scatter: scatterElementsRow,
  ScatterElements: scatterElementsRow,
  ScatterND: scatterNDRow,
  TensorScatter: tensorScatter,
  OneHot: oneHotRow,
  TopK: topKRow,
  CumSum: cumulative(cumSum),
  CumProd: cumulative(cumProd),
  ReverseSequence: reverseSequenceRow,
} as const satisfies Readonly<Record<string, OpRow>>;
