/**
 * One axis of Resize: result position → coordinate in the input → a few neighbours with weights. Positions, indices and weights are
 * vectors that fold to constants where sizes are fixed.
 */
import { asType, clamp, dimScalar, np, repeatElements, reshapeTo, sum, where } from "../../../ir/build.js";
import { type Dim, dimCeilDiv, dimMax, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { iota, scalarConstant } from "../../../ir/ops/constant.js";
import { bindDim } from "../../../ir/ops/dynamic.js";
import { abs, ceil, floor } from "../../../ir/ops/elementwise.js";
import { gather } from "../../../ir/ops/indexing.js";
import { logicalAnd } from "../../../ir/ops/logic.js";
import { constantOf } from "../../../passes/values/index.js";
import { host } from "../build.js";
import type { NodeContext } from "../context.js";
export const COORDINATES = [
  "half_pixel",
  "half_pixel_symmetric",
  "pytorch_half_pixel",
  "align_corners",
  "asymmetric",
  "tf_half_pixel_for_nn",
  "tf_crop_and_resize",
] as const;
export const NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] as const;

export interface Settings {
  readonly mode: "nearest" | "linear" | "cubic";
  readonly coordinates: (typeof COORDINATES)[number];
  /** "simple", before opset 11: up where an axis shrinks, else down. */
  readonly nearest: (typeof NEAREST)[number] | "simple";
  readonly cubicA: number;
  readonly excludeOutside: boolean;
  readonly antialias: boolean;
  readonly extrapolation: number;
}

export interface Axis {
  readonly axis: number;
  readonly size: Dim;
  readonly result: Dim;
  /** As stated or computed, an f32; undefined where it is result / size. */
  readonly scale: number | Value | undefined;
  readonly roi: readonly [number, number];
}

export const f32 = (d: Dim): Value => dimScalar(d, "f32");

/** Of the result to the input, as a scalar f32. */
function scaleOf({ scale, result, size }: Axis): Value {
  if (scale === undefined) return np.div(f32(result), f32(size));
  return typeof scale === "number" ? scalarConstant("f32", scale) : scale;
}

/**
 * Coordinates in the input of each result position. In f32, step by step as ONNX Runtime and PyTorch take them: 6 / 0.6f is 10
 * there and 9.9999996 in f64, so "floor" takes another element.
 */
export function coordinatesOf(a: Axis, s: Settings): Value {
  const i = iota([], { dtype: "f32", shape: [a.result], axis: 0 });
  const last = np.sub(f32(a.size), 1);
  /** One of two formulas, by whether the result has a single position. */
  const bySize = (single: () => Value, several: () => Value): Value => {
    if (typeof a.result === "number") return a.result === 1 ? single() : several();
    return where(np.eq(f32(a.result), 1), single(), several());
  };
  const scale = scaleOf(a);
  const centre = () => np.div(np.add(i, 0.5), scale);
  const halfPixel = () => np.sub(centre(), 0.5);
  switch (s.coordinates) {
    case "half_pixel":
      return halfPixel();
    case "pytorch_half_pixel":
      return bySize(() => np.mul(i, 0), halfPixel);
    case "half_pixel_symmetric": {
      // The result size was rounded; the part that rounding took is shared by both sides.
      const adjustment = np.div(f32(a.result), np.mul(scale, f32(a.size)));
      const offset = np.mul(np.div(f32(a.size), 2), np.sub(1, adjustment));
      // ONNX Runtime takes this one in f64 from here on.
      const wide = np.div(np.add(asType(i, "f64"), 0.5), asType(scale, "f64"));
      return asType(np.sub(np.add(asType(offset, "f64"), wide), 0.5), "f32");
    }
    case "align_corners": {
      // The whole length counts, also where a scale gives a fraction more.
      const span = np.sub(f32(a.result), 1);
      return np.div(np.mul(i, last), where(np.eq(span, 0), 1, span));
    }
    case "asymmetric":
      return np.div(i, scale);
    case "tf_half_pixel_for_nn":
      return centre();
    case "tf_crop_and_resize": {
      const [from, to] = a.roi;
      const steps = () => np.max(np.sub(f32(a.result), 1), 1);
      return bySize(
        () => np.mul(np.add(i, 0.5 * (from + to)), last),
        () => np.add(np.mul(last, from), np.div(np.mul(np.mul(i, to - from), last), steps())),
      );
    }
  }
}

/** W(d) of the cubic convolution kernel with parameter a. */
function cubicWeight(distance: Value, a: number): Value {
  const d = abs([distance]);
  const d2 = np.mul(d, d);
  const d3 = np.mul(d2, d);
  const near = np.add(np.sub(np.mul(d3, a + 2), np.mul(d2, a + 3)), 1);
  const far = np.sub(np.add(np.sub(np.mul(d3, a), np.mul(d2, 5 * a)), np.mul(d, 8 * a)), 4 * a);
  return where(np.le(d, 1), near, where(np.lt(d, 2), far, 0));
}

interface Tap {
  readonly index: Value;
  readonly weight: Value;
}

/** How far a neighbour that counts may be, where nothing shrinks. */
const radiusOf = (s: Settings): number => (s.mode === "linear" ? 1 : 2);

const weightAt = (distance: Value, s: Settings): Value =>
  s.mode === "linear" ? np.max(np.sub(1, abs([distance])), 0) : cubicWeight(distance, s.cubicA);

const lastOf = (a: Axis): Value => np.sub(dimScalar(a.size, "f64"), 1);

/** A neighbour: its index within the axis (i64) and its weight (f64), for one whose position may lie outside. */
function tapAt(a: Axis, s: Settings, position: Value, distance: Value): Tap {
  const weight = weightAt(distance, s);
  const inside = logicalAnd([np.ge(position, 0), np.le(position, lastOf(a))]);
  const kept = s.excludeOutside ? where(inside, weight, 0) : weight;
  return { index: asType(clamp(position, 0, lastOf(a)), "i64"), weight: kept };
}

/** Neighbours of the coordinates, one after the other; `shrink`: how much of the kernel's width is left of an axis that shrinks. */
function tapsOf(a: Axis, s: Settings, coordinates: Value, shrink: number): readonly Tap[] {
  const at = asType(coordinates, "f64");
  const base = floor([at]);
  const fraction = np.sub(at, base);
  const first = Math.floor(-radiusOf(s) / shrink) + 1;
  const offsets = Array.from({ length: 2 * (1 - first) }, (_, k) => first + k);
  const raw = offsets.map((offset) => tapAt(a, s, np.add(base, offset), np.mul(np.sub(offset, fraction), shrink)));
  if (!s.antialias && !s.excludeOutside) return raw;
  const total = raw.map((t) => t.weight).reduce((x, y) => np.add(x, y));
  return raw.map((t) => ({ ...t, weight: np.div(t.weight, total) }));
}

/** How many neighbours count on either side where the run says how much an axis shrinks. */
function reachOf(c: NodeContext, a: Axis, s: Settings, shrink: Value): Dim {
  const radius = radiusOf(s);
  if (a.scale === undefined) return dimMax(dimCeilDiv(dimMul(a.size, radius), dimMax(a.result, 1)), radius);
  const reach = asType(ceil([np.div(scalarConstant("f64", radius), shrink)]), "i64");
  return c.services.findSize("taps", c.services.maxUnknownSize, (defines) => bindDim([reach], { defines })).size;
}

/** An axis that may shrink, with as many neighbours as the run asks for side by side along an axis of their own. */
function shrinkAxis(c: NodeContext, x: Value, a: Axis, s: Settings): Value {
  const shrink = np.min(asType(scaleOf(a), "f64"), 1);
  const reach = reachOf(c, a, s, shrink);
  const count = dimMul(reach, 2);
  const at = reshapeTo(asType(coordinatesOf(a, s), "f64"), [a.result, 1]);
  const base = floor([at]);
  const offset = np.sub(iota([], { dtype: "f64", shape: [1, count], axis: 1 }), np.sub(dimScalar(reach, "f64"), 1));
  const tap = tapAt(a, s, np.add(base, offset), np.mul(np.sub(offset, np.sub(at, base)), shrink));
  const weight = np.div(tap.weight, sum(tap.weight, 1, { keepDims: true }));
  const shape = x.type.shape.flatMap((_, i): Dim[] => (i === a.axis ? [a.result, count] : [1]));
  const taken = gather([x, tap.index], { axis: a.axis });
  return sum(np.mul(taken, reshapeTo(asType(weight, x.type.dtype), shape)), a.axis + 1);
}

/** Coordinates that are a half but for f32's rounding are a half: as in ONNX Runtime. */
const HALF = 0.5 + 1e-6;

function roundCoordinate(a: Axis, coordinates: Value, how: Settings["nearest"]): Value {
  // Halves are added without rounding.
  const at = asType(coordinates, "f64");
  switch (how) {
    case "simple":
      if (typeof a.scale === "number") return a.scale < 1 ? ceil([at]) : floor([at]);
      return where(np.lt(scaleOf(a), 1), ceil([at]), floor([at]));
    case "round_prefer_floor":
      return ceil([np.sub(at, HALF)]);
    case "round_prefer_ceil":
      return floor([np.add(at, HALF)]);
    case "floor":
      return floor([at]);
    case "ceil":
      return ceil([at]);
  }
}

/** The value as a constant, where it is one: index and weight vectors of fixed sizes. */
export function folded(value: Value): Value {
  const constant = constantOf(value);
  return constant ? host(constant) : value;
}

const ratioOf = ({ scale, size, result }: Axis): number | undefined =>
  scale === undefined && typeof result === "number" && typeof size === "number" ? result / size : undefined;

export function resizeAxis(c: NodeContext, x: Value, a: Axis, s: Settings): Value {
  const at = coordinatesOf(a, s);
  if (s.mode === "nearest") {
    if (typeof a.scale === "number" && Number.isInteger(a.scale) && repeats(s))
      return repeatElements(x, a.scale, a.axis);
    const index = clamp(roundCoordinate(a, at, s.nearest), 0, np.sub(dimScalar(a.size, "f64"), 1));
    return gather([x, folded(asType(index, "i64"))], { axis: a.axis });
  }
  const fixed = typeof a.scale === "number" ? a.scale : ratioOf(a);
  if (s.antialias && fixed === undefined) return shrinkAxis(c, x, a, s);
  const shape = x.type.shape.map((_, i): Dim => (i === a.axis ? a.result : 1));
  const parts = tapsOf(a, s, at, s.antialias ? Math.min(fixed!, 1) : 1).map(({ index, weight }) => {
    const taken = gather([x, folded(index)], { axis: a.axis });
    return np.mul(taken, reshapeTo(folded(asType(weight, x.type.dtype)), shape));
  });
  return parts.reduce((p, q) => np.add(p, q));
}

/** Whether nearest with a whole scale is each element repeated. */
const repeats = (s: Settings): boolean =>
  (s.coordinates === "asymmetric" && (s.nearest === "floor" || s.nearest === "simple")) ||
  ((s.coordinates === "half_pixel" || s.coordinates === "pytorch_half_pixel") && s.nearest.startsWith("round"));
