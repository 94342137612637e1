/** Ops that ONNX has today as well, under an older definition or another name, and matrices. */
import {
  asType,
  broadcastTo,
  concatenate,
  dimScalar,
  expandDims,
  full,
  np,
  permute,
  reshapeTo,
  sliceAxis,
  square,
  sum,
  takeAt,
  where,
} from "../../../../ir/build.js";
import { type Dim, dimMul } from "../../../../ir/dim.js";
import { typeText, type Value } from "../../../../ir/graph.js";
import { iota } from "../../../../ir/ops/constant.js";
import { unique } from "../../../../ir/ops/dynamic.js";
import { abs, floor, round, sqrt } from "../../../../ir/ops/elementwise.js";
import { gather, gatherElements } from "../../../../ir/ops/indexing.js";
import { productOf } from "../../../../ir/ops/movement.js";
import { argMax } from "../../../../ir/ops/reduce.js";
import { type Bound, type ImportOp, NodeContext, type OpRow } from "../../context.js";
import { conv } from "../conv.js";
import { image } from "../image.js";
import { indexing } from "../indexing.js";
import { movement } from "../movement.js";
import { shape } from "../shape.js";

/** The op as a version of ONNX's own domain defines it. */
const asOnnx =
  (row: ImportOp, since: number): ImportOp =>
  (c) =>
    row(c.asSince(since));

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

/** Pads are an input, which must be known. */
const convTransposeWithPads: ImportOp = (c) => {
  const pads = c.has(2) ? c.ints(2, "the pads").map(BigInt) : undefined;
  const attributes = new Map(c.node.attributes);
  if (pads) attributes.set("pads", { kind: "ints", value: pads });
  const inputs = [c.input(0), c.input(1), c.optional(3)];
  return conv.ConvTranspose(new NodeContext({ ...c.node, attributes }, 11, c.services, c.scope, inputs));
};

/** TensorFlow's: regions in fractions of the image, each resized to one size by samples at the corners of its pixels. */
const cropAndResize: ImportOp = (c) => {
  const [x, boxes, owners] = [c.input(0), c.input(1), c.input(2)];
  const [rows, columns] = c.ints(3, "the size of the crops") as [number, number];
  const nearest = c.attrs.oneOf("mode", ["bilinear", "nearest"], "bilinear") === "nearest";
  const { dtype } = x.type;
  const [images, channels, height, width] = x.type.shape as [Dim, Dim, Dim, Dim];
  const count = boxes.type.shape[0]!;
  const along = (low: number, cells: number, size: Dim) => {
    const last = np.sub(dimScalar(size, dtype), 1);
    const [from, to] = [low, low + 2].map((i) => expandDims(takeAt(boxes, 1, i), 1)) as [Value, Value];
    const step = iota([], { dtype, shape: [count, cells], axis: 1 });
    const at =
      cells > 1
        ? np.add(np.mul(from, last), np.mul(step, np.div(np.mul(np.sub(to, from), last), cells - 1)))
        : np.mul(np.mul(np.add(from, to), 0.5), last);
    const limited = np.min(np.max(at, 0), last);
    const base = nearest ? round([limited]) : floor([limited]);
    const t = np.sub(limited, base);
    const taps = nearest
      ? [{ index: base, weight: undefined }]
      : [
          { index: base, weight: np.sub(1, t) },
          { index: np.min(np.add(base, 1), last), weight: t },
        ];
    return { taps, inside: np.and(np.ge(at, 0), np.le(at, broadcastTo(last, at.type.shape))) };
  };
  const [v, h] = [along(0, rows, height), along(1, columns, width)];
  const grid = (a: Value, b: Value, op: (a: Value, b: Value) => Value) => op(expandDims(a, 2), expandDims(b, 1));
  const pixels = reshapeTo(permute(x, [0, 2, 3, 1]), [productOf([images, height, width]), channels]);
  const first = reshapeTo(np.mul(asType(owners, "i32"), dimScalar(dimMul(height, width), "i32")), [count, 1, 1]);
  const parts = v.taps.flatMap((a) =>
    h.taps.map((b) => {
      const line = np.mul(asType(a.index, "i32"), dimScalar(width, "i32"));
      const taken = gather([pixels, np.add(grid(line, asType(b.index, "i32"), np.add), first)], { axis: 0 });
      return a.weight && b.weight ? np.mul(taken, expandDims(grid(a.weight, b.weight, np.mul), 3)) : taken;
    }),
  );
  const value = parts.reduce((a, b) => np.add(a, b));
  const inside = expandDims(grid(v.inside, h.inside, np.and), 3);
  return permute(where(inside, value, c.attrs.float("extrapolation_value", 0)), [0, 3, 1, 2]);
};

const expandDimsRow: ImportOp = (c): Value => {
  const x = c.input(0);
  return expandDims(x, c.axis(c.scalar(1, "the axis"), x.type.shape.length + 1));
};

export const miscRows: Readonly<Record<string, OpRow>> = {
  CDist: cdist,
  ConvTransposeWithDynamicPads: convTransposeWithPads,
  CropAndResize: cropAndResize,
  ExpandDims: expandDimsRow,
  GatherND: asOnnx(indexing.GatherND, 13),
  GridSample: asOnnx(image.GridSample, 16),
  Inverse: inverse,
  Pad: asOnnx(movement.Pad, 13),
  Range: rangeRow,
  Trilu: asOnnx(shape.Trilu, 14),
  Unique: uniqueRow,
};
