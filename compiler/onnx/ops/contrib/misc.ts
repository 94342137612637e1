/** Ops that ONNX has today as well, under an older definition or another name, and matrices. */
import {
  asType,
  broadcastTo,
  concatenate,
  expandDims,
  full,
  np,
  reshapeTo,
  sliceAxis,
  square,
  sum,
  where,
} from "../../../../ir/build.js";
import { typeText, type Value } from "../../../../ir/graph.js";
import { iota } from "../../../../ir/ops/constant.js";
import { unique } from "../../../../ir/ops/dynamic.js";
import { abs, sqrt } from "../../../../ir/ops/elementwise.js";
import { gatherElements } from "../../../../ir/ops/indexing.js";
import { productOf } from "../../../../ir/ops/movement.js";
import { argMax } from "../../../../ir/ops/reduce.js";
import { type Bound, type ImportOp, NodeContext, type OpRow } from "../../context.js";
import { image } from "../image.js";
import { indexing } from "../indexing.js";
import { movement } from "../movement.js";
import { shape } from "../shape.js";

/** The op as a version of ONNX's own domain defines it. */
const asOnnx =
  (row: ImportOp, since: number): ImportOp =>
  (c) =>
    row(new NodeContext(c.node, since, c.services, c.scope, c.inputs));

/** Distinct elements in order of first occurrence, where each element is found, how often each occurs. */
const uniqueRow: ImportOp = (c): readonly Bound[] => {
  const x = c.input(0);
  const { made } = c.services.findSize("unique", productOf(x.type.shape), (defines) =>
    unique([x], { defines, sorted: false }),
  );
  return [made[0]!, made[2]!, made[3]!];
};

const rangeRow: ImportOp = (c) => {
  if (c.has(2)) return shape.Range(c);
  const one = full(c.input(0).type.dtype, [], 1);
  return shape.Range(new NodeContext(c.node, c.since, c.services, c.scope, [c.input(0), c.input(1), one]));
};

/** Distances between the rows of two matrices. */
const cdist: ImportOp = (c) => {
  const [a, b] = [expandDims(c.input(0), 1), expandDims(c.input(1), 0)];
  const squares = sum(square(np.sub(a, b)), -1);
  return c.attrs.oneOf("metric", ["sqeuclidean", "euclidean"], "sqeuclidean") === "euclidean"
    ? sqrt([squares])
    : squares;
};

/** Gauss and Jordan's elimination of [x | 1], with the largest pivot of each column. */
const inverse: ImportOp = (c) => {
  const x = c.input(0);
  const [n, m] = x.type.shape.slice(-2);
  if (typeof n !== "number" || n !== m)
    throw c.error(`the matrices should be square and of fixed size, but are ${typeText(x.type)}`);
  if (n > 32) throw c.error(`matrices of ${n} rows are too large (at most 32)`);
  const dtype = x.type.dtype === "f64" ? "f64" : "f32";
  const count = productOf(x.type.shape.slice(0, -2));
  const row = iota([], { dtype: "i64", shape: [1, n, 1], axis: 1 });
  const column = iota([], { dtype: "i64", shape: [1, 1, n], axis: 2 });
  const identity = broadcastTo(asType(np.eq(row, column), dtype), [count, n, n]);
  let both = concatenate([asType(reshapeTo(x, [count, n, n]), dtype), identity], 2);
  for (let j = 0; j < n; j++) {
    const candidates = where(np.lt(row, j), -1, abs([sliceAxis(both, 2, j, 1)]));
    const pivot = argMax([candidates], { axis: 1, keepDims: true });
    const source = where(np.eq(row, j), pivot, where(np.eq(row, pivot), j, row));
    const swapped = gatherElements([both, broadcastTo(source, [count, n, 2 * n])], { axis: 1 });
    const top = sliceAxis(swapped, 1, j, 1);
    const leading = np.div(top, sliceAxis(top, 2, j, 1));
    const others = np.sub(swapped, np.mul(sliceAxis(swapped, 2, j, 1), leading));
    both = where(np.eq(row, j), leading, others);
  }
  return asType(reshapeTo(sliceAxis(both, 2, n, n), x.type.shape), x.type.dtype);
};

const expandDimsRow: ImportOp = (c): Value => {
  const x = c.input(0);
  return expandDims(x, c.axis(c.scalar(1, "the axis"), x.type.shape.length + 1));
};

export const miscRows: Readonly<Record<string, OpRow>> = {
  CDist: cdist,
  ExpandDims: expandDimsRow,
  GatherND: asOnnx(indexing.GatherND, 13),
  GridSample: asOnnx(image.GridSample, 16),
  Inverse: inverse,
  Pad: asOnnx(movement.Pad, 13),
  Range: rangeRow,
  Trilu: asOnnx(shape.Trilu, 14),
  Unique: uniqueRow,
};
