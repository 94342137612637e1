/** Ops that take and write elements by index, sort and count them. */
import type { DType } from "../../../ir/dtype.js";
import { elementCount, tensorFrom } from "../../../ir/tensor.js";
import { constant, type Draw, fed, type Generator, ints, scalarInt } from "./draw.js";

const ANY = ["f32", "i64", "i32", "u8", "bool"] as const satisfies readonly DType[];
const any = (d: Draw, shape: readonly number[]) => fed(d.tensor(d.pick(ANY), shape, 0, 9));

const gather: Generator = (d) => {
  const shape = d.solid(1, 4);
  const axis = d.axis(shape.length);
  const size = shape.at(axis)!;
  const indices = d.tensor(d.pick(["i64", "i32"]), d.shape(0, 3, 4), -size, size - 1);
  return {
    op: "Gather",
    opset: d.pick([11, 13]),
    attrs: { axis },
    inputs: [any(d, shape), d.either(indices)],
    outputs: 1,
  };
};

const gatherElements: Generator = (d) => {
  const shape = d.solid(1, 3);
  const axis = d.axis(shape.length);
  const at = axis < 0 ? axis + shape.length : axis;
  const own = shape.map((s, i) => (i === at ? d.dim() : d.int(1, s)));
  const indices = d.tensor("i64", own, -shape[at]!, shape[at]! - 1);
  return {
    op: "GatherElements",
    opset: d.pick([11, 13]),
    attrs: { axis },
    inputs: [any(d, shape), d.either(indices)],
    outputs: 1,
  };
};

const gatherNd: Generator = (d) => {
  const shape = d.solid(1, 4, 4);
  const batch = d.int(0, Math.min(1, shape.length - 1));
  const depth = d.int(1, shape.length - batch);
  const outer = [...shape.slice(0, batch), ...d.shape(1, 2, 3)];
  const rows = elementCount(outer);
  const values = Array.from({ length: rows * depth }, (_, i) =>
    d.int(-shape[batch + (i % depth)]!, shape[batch + (i % depth)]! - 1),
  );
  return {
    op: "GatherND",
    opset: d.pick([12, 13]),
    attrs: { batch_dims: batch },
    inputs: [any(d, shape), d.either(tensorFrom("i64", [...outer, depth], values))],
    outputs: 1,
  };
};

const scatterElements: Generator = (d) => {
  const shape = d.solid(1, 3);
  const axis = d.axis(shape.length);
  const at = axis < 0 ? axis + shape.length : axis;
  const opset = d.pick([11, 13, 16, 18]);
  const reduction =
    opset >= 18 ? d.pick(["none", "add", "mul", "max", "min"]) : opset >= 16 ? d.pick(["none", "add", "mul"]) : "none";
  // Each index once along the axis where order would count.
  const own = shape.map((s, i) => (i === at && reduction === "none" ? d.int(1, Math.min(2, s)) : d.int(1, s)));
  const inner = elementCount(own.slice(at + 1));
  const first = d.int(0, shape[at]! - 1);
  const values = Array.from({ length: elementCount(own) }, (_, i) =>
    reduction === "none"
      ? (first + (Math.floor(i / inner) % own[at]!)) % shape[at]!
      : d.int(-shape[at]!, shape[at]! - 1),
  );
  const attrs = opset >= 16 ? { axis, reduction } : { axis };
  return {
    op: "ScatterElements",
    opset,
    attrs,
    inputs: [fed(d.tensor("f32", shape)), d.either(tensorFrom("i64", own, values)), fed(d.tensor("f32", own))],
    outputs: 1,
  };
};

const scatterNd: Generator = (d) => {
  const shape = d.solid(1, 3, 4);
  const depth = d.int(1, shape.length);
  const rows = d.int(1, 2);
  const first = d.int(0, shape[0]! - 1);
  const reduction = d.pick(["none", "add", "mul"]);
  const count = Math.min(rows, shape[0]!);
  const values = Array.from({ length: count * depth }, (_, i) =>
    i % depth === 0 ? (first + i / depth) % shape[0]! : d.int(0, shape[i % depth]! - 1),
  );
  const updates = d.tensor("f32", [count, ...shape.slice(depth)]);
  return {
    op: "ScatterND",
    opset: d.pick([16, 18]),
    attrs: { reduction },
    inputs: [fed(d.tensor("f32", shape)), d.either(tensorFrom("i64", [count, depth], values)), fed(updates)],
    outputs: 1,
  };
};

const compress: Generator = (d) => {
  const shape = d.shape(1, 3);
  const flat = d.chance(0.3);
  const axis = d.axis(shape.length);
  const size = flat ? elementCount(shape) : shape.at(axis)!;
  return {
    op: "Compress",
    opset: d.pick([9, 11]),
    attrs: flat ? {} : { axis },
    inputs: [any(d, shape), d.either(d.tensor("bool", [d.int(0, size)]))],
    outputs: 1,
  };
};

const topK: Generator = (d) => {
  const shape = d.solid(1, 3);
  const axis = d.axis(shape.length);
  const k = d.int(0, shape.at(axis)!);
  return {
    op: "TopK",
    opset: 11,
    attrs: { axis, largest: d.int(0, 1), sorted: 1 },
    inputs: [fed(d.tensor("f32", shape)), d.either(ints([k]))],
    outputs: 2,
  };
};

const cumSum: Generator = (d) => {
  const shape = d.shape(1, 3);
  return {
    op: "CumSum",
    opset: d.pick([11, 14]),
    attrs: { exclusive: d.int(0, 1), reverse: d.int(0, 1) },
    inputs: [fed(d.tensor(d.pick(["f32", "i64", "i32"]), shape)), constant(scalarInt(d.axis(shape.length)))],
    outputs: 1,
  };
};

const oneHot: Generator = (d) => {
  const shape = d.shape(0, 3, 4);
  const depth = d.int(1, 5);
  const axis = d.int(-shape.length - 1, shape.length);
  return {
    op: "OneHot",
    opset: d.pick([9, 11]),
    attrs: { axis },
    inputs: [
      fed(d.tensor("i64", shape, -depth - 1, depth)),
      constant(scalarInt(depth)),
      d.either(d.tensor("f32", [2])),
    ],
    outputs: 1,
  };
};

const reverseSequence: Generator = (d) => {
  const time = d.int(0, 1);
  const shape = [d.int(1, 4), d.int(1, 4), d.dim(3)];
  const lengths = d.tensor("i64", [shape[1 - time]!], 1, shape[time]!);
  return {
    op: "ReverseSequence",
    opset: 10,
    attrs: { time_axis: time, batch_axis: 1 - time },
    inputs: [fed(d.tensor("f32", shape)), d.either(lengths)],
    outputs: 1,
  };
};

const nonZero: Generator = (d) => ({
  op: "NonZero",
  opset: d.pick([9, 13]),
  attrs: {},
  inputs: [fed(d.tensor(d.pick(["i64", "i32", "bool"]), d.shape(1, 3), -1, 1))],
  outputs: 1,
});

const unique: Generator = (d) => {
  const shape = d.solid(1, 2);
  return {
    op: "Unique",
    opset: 11,
    attrs: { sorted: d.int(0, 1), ...(d.chance(0.3) ? { axis: d.axis(shape.length) } : {}) },
    inputs: [fed(d.tensor("i64", shape, 0, 3))],
    outputs: 4,
  };
};

export const indexing: readonly Generator[] = [
  gather,
  gatherElements,
  gatherNd,
  scatterElements,
  scatterNd,
  compress,
  topK,
  cumSum,
  oneHot,
  reverseSequence,
  nonZero,
  unique,
];
