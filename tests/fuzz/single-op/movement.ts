/** Ops that move, take and write elements, and those that make shapes. */
import type { DType } from "../../../ir/dtype.js";
import { elementCount, tensorFrom } from "../../../ir/tensor.js";
import { constant, type Draw, fed, float, type Generator, ints, scalarInt } from "./draw.js";

const ANY = ["f32", "i64", "i32", "u8", "bool"] as const satisfies readonly DType[];
const any = (d: Draw, shape: readonly number[]) => fed(d.tensor(d.pick(ANY), shape, 0, 9));

/** Factors of a number in random order. */
function factors(d: Draw, count: number): number[] {
  const out: number[] = [];
  for (let rest = count; rest > 1; ) {
    const parts = Array.from({ length: rest }, (_, i) => i + 1).filter((f) => f > 1 && rest % f === 0);
    const f = d.pick(parts);
    out.push(f);
    rest /= f;
  }
  return out;
}

const reshape: Generator = (d) => {
  const shape = d.shape(0, 4, 4);
  const count = elementCount(shape);
  let target = count === 0 ? [...shape] : factors(d, count);
  if (count > 0 && target.length > 0 && d.chance(0.5)) target[d.int(0, target.length - 1)] = -1;
  if (count > 0 && d.chance(0.3)) target = [...shape.map((s, i) => (d.chance(0.5) && i < shape.length ? 0 : s))];
  return {
    op: "Reshape",
    opset: d.pick([13, 14, 19]),
    attrs: count === 0 && d.chance(1) ? { allowzero: 1 } : {},
    inputs: [any(d, shape), constant(ints(target))],
    outputs: 1,
  };
};

const transpose: Generator = (d) => {
  const shape = d.shape(0, 5, 4);
  const perm = shape.map((_, i) => i).sort(() => d.next() - 0.5);
  return {
    op: "Transpose",
    opset: d.pick([1, 13, 21]),
    attrs: d.chance(0.8) ? { perm } : {},
    inputs: [any(d, shape)],
    outputs: 1,
  };
};

const flatten: Generator = (d) => {
  const shape = d.shape(1, 4);
  return {
    op: "Flatten",
    opset: d.pick([11, 13, 21]),
    attrs: { axis: d.int(-shape.length, shape.length) },
    inputs: [any(d, shape)],
    outputs: 1,
  };
};

const squeeze: Generator = (d) => {
  const shape = d.shape(1, 4).map((s) => (d.chance(0.5) ? 1 : Math.max(s, 1)));
  const ones = shape.flatMap((s, i) => (s === 1 && d.chance(0.7) ? [d.chance(0.5) ? i : i - shape.length] : []));
  const old = d.chance(0.4);
  if (old) return { op: "Squeeze", opset: 11, attrs: { axes: ones }, inputs: [any(d, shape)], outputs: 1 };
  return {
    op: "Squeeze",
    opset: d.pick([13, 21]),
    attrs: {},
    inputs: [any(d, shape), constant(ints(ones))],
    outputs: 1,
  };
};

const unsqueeze: Generator = (d) => {
  const shape = d.shape(0, 3);
  const rank = shape.length + d.int(1, 2);
  const axes = Array.from({ length: rank }, (_, i) => i)
    .sort(() => d.next() - 0.5)
    .slice(0, rank - shape.length)
    .map((a) => (d.chance(0.4) ? a - rank : a));
  if (d.chance(0.4)) return { op: "Unsqueeze", opset: 11, attrs: { axes }, inputs: [any(d, shape)], outputs: 1 };
  return {
    op: "Unsqueeze",
    opset: d.pick([13, 21]),
    attrs: {},
    inputs: [any(d, shape), constant(ints(axes))],
    outputs: 1,
  };
};

const concat: Generator = (d) => {
  const shape = d.shape(1, 4);
  const axis = d.axis(shape.length);
  const at = axis < 0 ? axis + shape.length : axis;
  const dtype = d.pick(ANY);
  const inputs = Array.from({ length: d.int(1, 4) }, () =>
    d.either(
      d.tensor(
        dtype,
        shape.map((s, i) => (i === at ? d.dim() : s)),
        0,
        9,
      ),
    ),
  );
  return { op: "Concat", opset: d.pick([4, 11, 13]), attrs: { axis }, inputs, outputs: 1 };
};

const split: Generator = (d) => {
  const shape = d.solid(1, 3, 8);
  const axis = d.axis(shape.length);
  const size = shape.at(axis)!;
  const count = d.int(1, Math.min(size, 4));
  const sizes = Array.from({ length: count }, (_, i) =>
    i < count - 1 ? Math.floor(size / count) : size - Math.floor(size / count) * (count - 1),
  );
  if (d.chance(0.3))
    return { op: "Split", opset: 18, attrs: { axis, num_outputs: count }, inputs: [any(d, shape)], outputs: count };
  if (d.chance(0.4))
    return { op: "Split", opset: 11, attrs: { axis, split: sizes }, inputs: [any(d, shape)], outputs: count };
  return {
    op: "Split",
    opset: d.pick([13, 18]),
    attrs: { axis },
    inputs: [any(d, shape), constant(ints(sizes))],
    outputs: count,
  };
};

const slice: Generator = (d) => {
  const shape = d.shape(1, 4, 8);
  const axes = d.axes(shape.length);
  const bound = (size: number) => (d.chance(0.15) ? d.pick([2147483647, -2147483648]) : d.int(-size - 2, size + 2));
  const starts = axes.map((a) => bound(shape.at(a)!));
  const ends = axes.map((a) => bound(shape.at(a)!));
  const steps = axes.map(() => d.pick([1, 1, 2, 3, -1, -2, 2147483647]));
  return {
    op: "Slice",
    opset: d.pick([10, 11, 13]),
    attrs: {},
    inputs: [any(d, shape), ...[starts, ends, axes, steps].map((v) => constant(ints(v)))],
    outputs: 1,
  };
};

const expand: Generator = (d) => {
  const shape = d.shape(0, 4);
  const target = [
    ...Array.from({ length: d.int(0, 1) }, () => d.dim(3)),
    ...shape.map((s) => (s === 1 ? d.dim(4) : d.pick([1, s]))),
  ];
  return {
    op: "Expand",
    opset: d.pick([8, 13]),
    attrs: {},
    inputs: [any(d, shape), constant(ints(target))],
    outputs: 1,
  };
};

const tile: Generator = (d) => {
  const shape = d.shape(1, 3, 4);
  return {
    op: "Tile",
    opset: d.pick([6, 13]),
    attrs: {},
    inputs: [any(d, shape), constant(ints(shape.map(() => d.int(0, 3))))],
    outputs: 1,
  };
};

const pad: Generator = (d) => {
  const mode = d.pick(["constant", "reflect", "edge", "constant", "wrap"]);
  const shape = d.solid(1, 4, 5);
  const most = (s: number) =>
    mode === "constant" ? 3 : mode === "reflect" ? Math.max(0, Math.min(2, s - 1)) : Math.min(2, s);
  const low = (s: number) => (mode === "constant" ? d.int(-Math.min(1, s), most(s)) : d.int(0, most(s)));
  const pads = [...shape.map(low), ...shape.map((s) => d.int(0, most(s)))];
  const fill =
    mode === "constant" && d.chance(0.5)
      ? [d.either({ dtype: "f32", shape: [], data: Float32Array.of(d.next()) })]
      : [];
  const opset = mode === "wrap" ? 19 : d.pick([11, 13, 18, 21]);
  return {
    op: "Pad",
    opset,
    attrs: { mode },
    inputs: [fed(d.tensor("f32", shape)), constant(ints(pads)), ...fill],
    outputs: 1,
  };
};

const blocks =
  (op: "DepthToSpace" | "SpaceToDepth"): Generator =>
  (d) => {
    const b = d.int(1, 3);
    const [n, c, h, w] = [d.dim(2), d.int(1, 2), d.int(1, 3), d.int(1, 3)];
    const shape = op === "DepthToSpace" ? [n, c * b * b, h, w] : [n, c, h * b, w * b];
    const attrs = { blocksize: b, ...(op === "DepthToSpace" ? { mode: d.pick(["DCR", "CRD"]) } : {}) };
    return {
      op,
      opset: d.pick(op === "DepthToSpace" ? [11, 13] : [1, 13]),
      attrs,
      inputs: [fed(d.tensor("f32", shape))],
      outputs: 1,
    };
  };

const trilu: Generator = (d) => ({
  op: "Trilu",
  opset: 14,
  attrs: { upper: d.int(0, 1) },
  inputs: [any(d, d.shape(2, 4)), ...(d.chance(0.7) ? [d.either(scalarInt(d.int(-4, 4)))] : [])],
  outputs: 1,
});

const shapeOf: Generator = (d) => {
  const shape = d.shape(0, 4);
  const bound = () => d.int(-shape.length - 1, shape.length + 1);
  return {
    op: "Shape",
    opset: d.pick([15, 19, 21]),
    attrs: { ...(d.chance(0.5) ? { start: bound() } : {}), ...(d.chance(0.5) ? { end: bound() } : {}) },
    inputs: [any(d, shape)],
    outputs: 1,
  };
};

const eyeLike: Generator = (d) => ({
  op: "EyeLike",
  opset: 9,
  attrs: { k: d.int(-3, 3), dtype: 1 },
  inputs: [fed(d.tensor("f32", [d.int(1, 4), d.int(1, 4)]))],
  outputs: 1,
});

const range: Generator = (d) => {
  const dtype = d.pick(["f32", "i64", "i32"] as const);
  const delta = d.pick([1, 2, -1, -3]);
  const start = d.int(-5, 5);
  const scalar = (v: number) => d.either(tensorFrom(dtype, [], [v]));
  return {
    op: "Range",
    opset: 11,
    attrs: {},
    inputs: [scalar(start), scalar(start + d.int(-6, 6)), scalar(delta)],
    outputs: 1,
  };
};

const COORDINATES = [
  "half_pixel",
  "pytorch_half_pixel",
  "align_corners",
  "asymmetric",
  "half_pixel_symmetric",
] as const;

const resize: Generator = (d) => {
  const mode = d.pick(["nearest", "linear", "cubic"]);
  const shape = [1, d.int(1, 2), d.int(1, 7), d.int(1, 7)];
  const attrs = {
    mode,
    coordinate_transformation_mode: d.pick(COORDINATES),
    ...(mode === "nearest"
      ? { nearest_mode: d.pick(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]) }
      : {}),
    ...(mode === "cubic" ? { cubic_coeff_a: float(d.pick([-0.75, -0.5])), exclude_outside: d.int(0, 1) } : {}),
  };
  const x = fed(d.tensor("f32", shape));
  if (d.chance(0.4))
    return {
      op: "Resize",
      opset: d.pick([13, 19]),
      attrs,
      inputs: [x, undefined, undefined, constant(ints([1, shape[1]!, d.int(1, 9), d.int(1, 9)]))],
      outputs: 1,
    };
  const scale = (s: number) => Math.max(d.pick([0.5, 0.6, 0.7, 1, 1.3, 2, 3, 1 / 3]), 1.001 / s);
  const scales = tensorFrom("f32", [4], [1, 1, scale(shape[2]!), scale(shape[3]!)]);
  if (d.chance(0.2))
    return {
      op: "Resize",
      opset: 10,
      attrs: { mode: d.pick(["nearest", "linear"]) },
      inputs: [x, constant(scales)],
      outputs: 1,
    };
  return { op: "Resize", opset: d.pick([11, 13, 18, 19]), attrs, inputs: [x, undefined, constant(scales)], outputs: 1 };
};

export const movement: readonly Generator[] = [
  reshape,
  transpose,
  flatten,
  squeeze,
  unsqueeze,
  concat,
  split,
  slice,
  expand,
  tile,
  pad,
  blocks("DepthToSpace"),
  blocks("SpaceToDepth"),
  trilu,
  shapeOf,
  eyeLike,
  range,
  resize,
  resize,
];
