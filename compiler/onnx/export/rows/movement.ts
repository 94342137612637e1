/** Constants, counters and movement of elements. */

import { concatenate, sliceAxis } from "../../../../ir/build.js";
import { type Dim, dimAdd, dimBounds, dimEqual, dimMul, dimSub } from "../../../../ir/dim.js";
import { isFloat, isStorageOnly } from "../../../../ir/dtype.js";
import type { Shape, Value } from "../../../../ir/graph.js";
import { int, type Ref } from "../draft.js";
import type { Emitter } from "../emitter.js";
import type { Row, SomeRows } from "./row.js";

/** ONNX's "to the end" of a slice. */
const END = 2 ** 53 - 1;

/**
 * Dims for Reshape, which copies a size where it says 0 and computes one where it says −1: both are tried before sizes are
 * computed, so that the file stays readable and other runtimes infer its shapes.
 */
function shortShape(from: Shape, to: Shape): readonly number[] | undefined {
  if (to.includes(0)) return undefined;
  let open = false;
  const short = to.map((d, i) => {
    if (typeof d === "number") return d;
    if (from[i] !== undefined && dimEqual(from[i], d)) return 0;
    if (open) return Number.NaN;
    open = true;
    return -1;
  });
  return short.some(Number.isNaN) ? undefined : short;
}

export function reshapeRef(e: Emitter, x: Ref, from: Shape, to: Shape): Ref {
  const short = shortShape(from, to);
  return short ? e.op("Reshape", [x, e.ints(short)]) : e.reshape(x, to);
}

const reshape: Row<"reshape"> = (e, node) => {
  const x = node.operands[0]!;
  return reshapeRef(e, e.ref(x), x.type.shape, node.attrs.shape);
};

const broadcast: Row<"broadcast"> = (e, node) => {
  const { shape, axes } = node.attrs;
  const x = node.operands[0]!;
  const aligned: Dim[] = shape.map(() => 1);
  axes.forEach((axis, i) => {
    aligned[axis] = x.type.shape[i]!;
  });
  const trailing = axes.every((a, k) => a === shape.length - axes.length + k);
  const start = trailing ? e.ref(x) : e.reshape(e.ref(x), aligned.slice(axes[0] ?? shape.length));
  return shape.every((d, a) => dimEqual(d, aligned[a]!)) && axes.length === shape.length
    ? start
    : e.op("Expand", [start, e.sizes.shape(shape)]);
};

/** Whether the ranges of sizes alone tell that a is at most b. */
const provablyAtMost = (a: Dim, b: Dim): boolean => dimBounds(dimSub(b, a)).min >= 0;

/** Slices whose range provably lies inside their axes; ONNX limits others, which the IR does not, so these are gathered. */
const slice: Row<"slice"> = (e, node) => {
  const { starts, sizes, steps } = node.attrs;
  const { shape } = node.operands[0]!.type;
  const cut = shape
    .map((_, a) => a)
    .filter((a) => starts[a] !== 0 || steps[a] !== 1 || !dimEqual(sizes[a]!, shape[a]!));
  const stops = shape.map((_, a) => dimAdd(starts[a]!, dimMul(sizes[a]!, steps[a]!)));
  const inside = (a: number): boolean => {
    const [start, stop, size] = [starts[a]!, stops[a]!, shape[a]!];
    if (!provablyAtMost(0, start)) return false;
    return steps[a]! > 0
      ? provablyAtMost(start, size) && provablyAtMost(dimSub(stop, steps[a]! - 1), size)
      : provablyAtMost(start, dimSub(size, 1)) && provablyAtMost(-1, dimSub(stop, steps[a]! + 1));
  };
  let x = e.ref(node.operands[0]!);
  const axes = cut.filter(inside);
  if (axes.length > 0) {
    const ends = axes.map((a) => {
      // A negative end counts from the end of the axis: written so, −1 can't mean the last element.
      if (steps[a]! < 0) return dimSub(stops[a]!, shape[a]!);
      return dimEqual(stops[a]!, shape[a]!) && typeof shape[a] !== "number" ? END : stops[a]!;
    });
    const picked = <T>(list: readonly T[]): T[] => axes.map((a) => list[a]!);
    x = e.op("Slice", [x, e.sizes.shape(picked(starts)), e.sizes.shape(ends), e.ints(axes), e.ints(picked(steps))]);
  }
  for (const a of cut.filter((axis) => !inside(axis))) {
    const places = placesOf(e, starts[a]!, sizes[a]!, steps[a]!);
    x = e.op("Gather", [x, places], { axis: int(a) });
  }
  return x;
};

/** start, start + step, … as an i64 vector. */
function placesOf(e: Emitter, start: Dim, size: Dim, step: number): Ref {
  if (typeof size === "number" && size <= 4096) {
    const offsets = Array.from({ length: size }, (_, i) => i * step);
    if (typeof start === "number") return e.ints(offsets.map((o) => start + o));
    return e.op("Add", [e.sizes.dim(start), e.ints(offsets)]);
  }
  const count = e.op("Range", [e.scalar("i64", 0), e.sizes.scalar(size), e.scalar("i64", 1)]);
  const scaled = step === 1 ? count : e.op("Mul", [count, e.scalar("i64", step)]);
  return start === 0 ? scaled : e.op("Add", [scaled, e.sizes.dim(start)]);
}

/** Elements put between neighbours: each gets an axis of its own, which is padded and joined again. */
function spread(e: Emitter, x: Ref, shape: Shape, interior: readonly number[], value: Ref): { x: Ref; shape: Shape } {
  let made = x;
  const grown = [...shape];
  interior.forEach((n, a) => {
    if (n === 0) return;
    const d = grown[a]!;
    const apart = [...grown.slice(0, a + 1), 1, ...grown.slice(a + 1)];
    const pads = [...apart.map(() => 0), ...apart.map((_, i) => (i === a + 1 ? n : 0))];
    const padded = e.op("Pad", [e.reshape(made, apart), e.ints(pads), value]);
    const long = dimMul(d, n + 1);
    const joined = e.reshape(
      padded,
      grown.map((s, i) => (i === a ? long : s)),
    );
    grown[a] = d === 0 ? 0 : dimSub(long, n);
    made = d === 0 ? joined : e.op("Slice", [joined, e.ints([0]), e.sizes.shape([grown[a]!]), e.ints([a])]);
  });
  return { x: made, shape: grown };
}

const pad: Row<"pad"> = (e, node) => {
  const { low, high, interior, value } = node.attrs;
  const { dtype, shape } = node.operands[0]!.type;
  const fill = e.scalar(dtype, isFloat(dtype) || isStorageOnly(dtype) ? value : BigInt(value));
  const { x } = spread(e, e.ref(node.operands[0]!), shape, interior, fill);
  if ([...low, ...high].every((d) => d === 0)) return x;
  return e.op("Pad", [x, e.sizes.shape([...low, ...high]), fill]);
};

/** Range counts in these types only. */
const COUNTED: ReadonlySet<string> = new Set(["f32", "f64", "i16", "i32", "i64"]);

const iota: Row<"iota"> = (e, node) => {
  const { dtype, shape, axis } = node.attrs;
  const own = shape.map((d, a) => (a === axis ? d : 1));
  const size = shape[axis]!;
  const counted = COUNTED.has(dtype) && dtype !== "i16" ? dtype : "i64";
  const limit = e.cast(e.sizes.scalar(size), "i64", counted);
  const count =
    typeof size === "number"
      ? e.op("Range", [e.scalar(counted, 0), e.scalar(counted, size), e.scalar(counted, 1)])
      : e.op("Range", [e.scalar(counted, 0), limit, e.scalar(counted, 1)]);
  const typed = e.cast(count, counted, dtype);
  const placed = axis === shape.length - 1 ? typed : e.op("Unsqueeze", [typed, e.ints(after(shape.length, axis))]);
  return shape.every((d, a) => dimEqual(d, own[a]!)) && axis === 0
    ? placed
    : e.op("Expand", [placed, e.sizes.shape(shape)]);
};

/** Positions that new trailing axes take behind a vector that lies along `axis` of `rank` axes. */
const after = (rank: number, axis: number): readonly number[] =>
  Array.from({ length: rank - 1 - axis }, (_, i) => i + 1);

const concat: Row<"concat"> = (e, node) =>
  node.operands.length === 1
    ? e.ref(node.operands[0]!)
    : e.op("Concat", e.refs(node.operands), { axis: int(node.attrs.axis) });

/** Along each axis that the update does not cover, what lies before and after it is joined to it again. */
const updateSlice: Row<"updateSlice"> = (e, { operands: [x, update], attrs: { starts } }) => {
  const own = update!.type.shape;
  const parted = x!.type.shape.map((_, a) => a).filter((a) => !dimEqual(own[a]!, x!.type.shape[a]!));
  const joined = (of: Value, [axis, ...others]: readonly number[]): Value => {
    if (axis === undefined) return update!;
    const end = dimAdd(starts[axis]!, own[axis]!);
    const middle = joined(sliceAxis(of, axis, starts[axis]!, own[axis]!), others);
    const after = sliceAxis(of, axis, end, dimSub(of.type.shape[axis]!, end));
    return concatenate([sliceAxis(of, axis, 0, starts[axis]!), middle, after], axis);
  };
  return e.emitValues([joined(x!, parted)]);
};

export const movement = {
  constant: (e, { attrs }) => e.constant(attrs.value, attrs.name),
  dimSize: (e, { attrs }) => e.sizes.scalar(attrs.size),
  iota,
  reshape,
  transpose: (e, node) => e.transpose(e.ref(node.operands[0]!), node.attrs.perm),
  broadcast,
  slice,
  updateSlice,
  pad,
  concat,
} satisfies SomeRows;
