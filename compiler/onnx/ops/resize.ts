/**
 * Resize and Upsample. Each resized axis is interpolated by itself: result position → coordinate in the input → a few
 * neighbours with weights. Positions, indices and weights are vectors that fold to constants where sizes are fixed.
 */
import {
  asType,
  broadcastTo,
  clamp,
  constantLike,
  dimScalar,
  np,
  rankOf,
  repeatElements,
  reshapeTo,
  where,
} from "../../../ir/build.js";
import { type Dim, dimEqual, dimScaled } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { iota, scalarConstant } from "../../../ir/ops/constant.js";
import { abs, ceil, floor } from "../../../ir/ops/elementwise.js";
import { gather } from "../../../ir/ops/indexing.js";
import { ge, le, logicalAnd } from "../../../ir/ops/logic.js";
import { constantOf } from "../../../passes/values/index.js";
import { host } from "../build.js";
import type { ImportOp, NodeContext, OpRow } from "../context.js";

const COORDINATES = [
  "half_pixel",
  "half_pixel_symmetric",
  "pytorch_half_pixel",
  "align_corners",
  "asymmetric",
  "tf_half_pixel_for_nn",
  "tf_crop_and_resize",
] as const;
const NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] as const;

interface Settings {
  readonly mode: "nearest" | "linear" | "cubic";
  readonly coordinates: (typeof COORDINATES)[number];
  /** "simple", before opset 11: up where an axis shrinks, else down. */
  readonly nearest: (typeof NEAREST)[number] | "simple";
  readonly cubicA: number;
  readonly excludeOutside: boolean;
  readonly antialias: boolean;
  readonly extrapolation: number;
}

interface Axis {
  readonly axis: number;
  readonly size: Dim;
  readonly result: Dim;
  /** As stated, an f32; undefined where it is result / size. */
  readonly scale: number | undefined;
  readonly roi: readonly [number, number];
}

const f32 = (d: Dim): Value => dimScalar(d, "f32");

/**
 * Coordinates in the input of each result position. In f32, step by step as ONNX Runtime and PyTorch take them: 6 / 0.6f is 10
 * there and 9.9999996 in f64, so "floor" takes another element.
 */
function coordinatesOf(a: Axis, s: Settings): Value {
  const i = iota([], { dtype: "f32", shape: [a.result], axis: 0 });
  const last = np.sub(f32(a.size), 1);
  /** One of two formulas, by whether the result has a single position. */
  const bySize = (single: () => Value, several: () => Value): Value => {
    if (typeof a.result === "number") return a.result === 1 ? single() : several();
    return where(np.eq(f32(a.result), 1), single(), several());
  };
  const scale = a.scale === undefined ? np.div(f32(a.result), f32(a.size)) : scalarConstant("f32", a.scale);
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

/** Neighbours of the coordinates: indices within the axis (i64) and weights (f64). */
function tapsOf(c: NodeContext, a: Axis, s: Settings, coordinates: Value): readonly Tap[] {
  const at = asType(coordinates, "f64");
  const base = floor([at]);
  const fraction = np.sub(at, base);
  const last = np.sub(dimScalar(a.size, "f64"), 1);
  let shrink = 1;
  if (s.antialias) {
    const scale =
      a.scale ?? (typeof a.result === "number" && typeof a.size === "number" ? a.result / a.size : undefined);
    if (scale === undefined) throw c.error("antialiased resizing needs fixed sizes");
    shrink = Math.min(scale, 1);
  }
  const radius = s.mode === "linear" ? 1 : 2;
  const first = Math.floor(-radius / shrink) + 1;
  const offsets = Array.from({ length: 2 * (1 - first) }, (_, k) => first + k);
  const inside = (position: Value) => logicalAnd([np.ge(position, 0), np.le(position, last)]);
  const raw = offsets.map((offset) => {
    const distance = np.mul(np.sub(offset, fraction), shrink);
    const position = np.add(base, offset);
    const weight = s.mode === "linear" ? np.max(np.sub(1, abs([distance])), 0) : cubicWeight(distance, s.cubicA);
    const kept = s.excludeOutside ? where(inside(position), weight, 0) : weight;
    return { index: asType(clamp(position, 0, last), "i64"), weight: kept };
  });
  if (!s.antialias && !s.excludeOutside) return raw;
  const total = raw.map((t) => t.weight).reduce((x, y) => np.add(x, y));
  return raw.map((t) => ({ ...t, weight: np.div(t.weight, total) }));
}

/** Coordinates that are a half but for f32's rounding are a half: as in ONNX Runtime. */
const HALF = 0.5 + 1e-6;

function roundCoordinate(a: Axis, coordinates: Value, how: Settings["nearest"]): Value {
  // Halves are added without rounding.
  const at = asType(coordinates, "f64");
  switch (how) {
    case "simple":
      return a.scale !== undefined && a.scale < 1 ? ceil([at]) : floor([at]);
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
function folded(value: Value): Value {
  const constant = constantOf(value);
  return constant ? host(constant) : value;
}

function resizeAxis(c: NodeContext, x: Value, a: Axis, s: Settings): Value {
  const at = coordinatesOf(a, s);
  if (s.mode === "nearest") {
    if (a.scale !== undefined && Number.isInteger(a.scale) && repeats(s)) return repeatElements(x, a.scale, a.axis);
    const index = clamp(roundCoordinate(a, at, s.nearest), 0, np.sub(dimScalar(a.size, "f64"), 1));
    return gather([x, folded(asType(index, "i64"))], { axis: a.axis });
  }
  const shape = x.type.shape.map((_, i): Dim => (i === a.axis ? a.result : 1));
  const parts = tapsOf(c, a, s, at).map(({ index, weight }) => {
    const taken = gather([x, folded(index)], { axis: a.axis });
    return np.mul(taken, reshapeTo(folded(asType(weight, x.type.dtype)), shape));
  });
  return parts.reduce((p, q) => np.add(p, q));
}

/** Whether nearest with a whole scale is each element repeated. */
const repeats = (s: Settings): boolean =>
  (s.coordinates === "asymmetric" && (s.nearest === "floor" || s.nearest === "simple")) ||
  ((s.coordinates === "half_pixel" || s.coordinates === "pytorch_half_pixel") && s.nearest.startsWith("round"));

function resize(c: NodeContext, x: Value, axes: readonly Axis[], s: Settings): Value {
  const working = s.mode === "nearest" || x.type.dtype === "f32" || x.type.dtype === "f64" ? x : asType(x, "f32");
  let y = working;
  for (const a of axes)
    if (s.coordinates === "tf_crop_and_resize" || !dimEqual(a.size, a.result) || (a.scale ?? 1) !== 1)
      y = resizeAxis(c, y, a, s);
  if (s.coordinates === "tf_crop_and_resize") {
    for (const a of axes) {
      const at = coordinatesOf(a, s);
      const last = np.sub(f32(a.size), 1);
      const zero = constantLike(at, 0);
      const inside = logicalAnd([ge([at, zero]), le([at, broadcastTo(last, at.type.shape)])]);
      const shape = y.type.shape.map((_, i): Dim => (i === a.axis ? a.result : 1));
      y = where(reshapeTo(folded(inside), shape), y, s.extrapolation);
    }
  }
  if (y.type.dtype === x.type.dtype) return y;
  return asType(y, x.type.dtype);
}

const MODES: Readonly<Record<string, Settings["mode"]>> = {
  nearest: "nearest",
  linear: "linear",
  bilinear: "linear",
  cubic: "cubic",
  bicubic: "cubic",
};

function modeOf(c: NodeContext): Settings["mode"] {
  const mode = MODES[c.attrs.string("mode", "nearest")];
  if (!mode) throw c.error(`the mode "${c.attrs.string("mode", "")}" is not one of ${Object.keys(MODES).join(", ")}`);
  return mode;
}

const OLD: Omit<Settings, "mode"> = {
  coordinates: "asymmetric",
  nearest: "simple",
  cubicA: -0.75,
  excludeOutside: false,
  antialias: false,
  extrapolation: 0,
};

function byScales(
  c: NodeContext,
  x: Value,
  scales: readonly number[],
  axes: readonly number[],
  roi: readonly number[],
): readonly Axis[] {
  if (scales.length !== axes.length) throw c.error(`${scales.length} scales were given for ${axes.length} axes`);
  return axes.map((axis, i) => {
    const size = x.type.shape[axis]!;
    const scale = Math.fround(scales[i]!);
    if (!(scale > 0 && scale < Number.POSITIVE_INFINITY)) throw c.error(`a scale is ${scale}; it should be above 0`);
    return { axis, size, scale, result: dimScaled(size, scale), roi: [roi[i] ?? 0, roi[i + axes.length] ?? 1] };
  });
}

/** Resize 10 and Upsample: scales only. */
const oldResize: ImportOp = (c) => {
  const x = c.input(0);
  const attribute =
    c.attrs.floats("scales", undefined) ??
    (c.attrs.has("height_scale")
      ? [1, 1, c.attrs.requiredFloat("height_scale"), c.attrs.requiredFloat("width_scale")]
      : undefined);
  const scales = attribute ?? c.floats(1, "the scales");
  const all = x.type.shape.map((_, i) => i);
  return resize(c, x, byScales(c, x, scales, all, []), { ...OLD, mode: modeOf(c) });
};

const newResize: ImportOp = (c) => {
  const x = c.input(0);
  const settings: Settings = {
    mode: modeOf(c),
    coordinates: c.attrs.oneOf("coordinate_transformation_mode", COORDINATES, "half_pixel"),
    nearest: c.attrs.oneOf("nearest_mode", NEAREST, "round_prefer_floor"),
    cubicA: c.attrs.float("cubic_coeff_a", -0.75),
    excludeOutside: c.attrs.flag("exclude_outside", false),
    antialias: c.attrs.flag("antialias", false),
    extrapolation: c.attrs.float("extrapolation_value", 0),
  };
  const given = c.attrs.ints("axes", undefined);
  const axes = given ? given.map((a) => c.axis(a, rankOf(x))) : x.type.shape.map((_, i) => i);
  const roi = settings.coordinates === "tf_crop_and_resize" ? c.floats(1, "the region") : [];
  const hasScales = c.has(2) && c.input(2).type.shape[0] !== 0;
  if (hasScales) return resize(c, x, byScales(c, x, c.floats(2, "the scales"), axes, roi), settings);
  if (!c.has(3)) throw c.error("neither scales nor sizes are given");
  const policy = c.attrs.oneOf("keep_aspect_ratio_policy", ["stretch", "not_larger", "not_smaller"], "stretch");
  const fixed = settings.antialias || policy !== "stretch";
  const sizes = fixed ? c.dims(3, "the sizes") : c.dimsWithin(3, () => c.services.maxUnknownSize);
  if (sizes.length !== axes.length) throw c.error(`${sizes.length} sizes were given for ${axes.length} axes`);
  if (policy === "stretch")
    return resize(
      c,
      x,
      axes.map((axis, i) => ({
        axis,
        size: x.type.shape[axis]!,
        result: sizes[i]!,
        scale: undefined,
        roi: [roi[i] ?? 0, roi[i + axes.length] ?? 1] as const,
      })),
      settings,
    );
  const ratios = axes.map((axis, i) => {
    const [size, wanted] = [x.type.shape[axis]!, sizes[i]!];
    if (typeof size !== "number" || typeof wanted !== "number")
      throw c.error("keeping the aspect ratio needs fixed sizes");
    return wanted / size;
  });
  const scale = policy === "not_larger" ? Math.min(...ratios) : Math.max(...ratios);
  const kept = axes.map((axis, i): Axis => {
    const size = x.type.shape[axis] as number;
    return { axis, size, scale, result: Math.floor(scale * size + 0.5), roi: [roi[i] ?? 0, roi[i + axes.length] ?? 1] };
  });
  return resize(c, x, kept, settings);
};

export const resizing = {
  Resize: (c) => (c.since < 11 ? oldResize(c) : newResize(c)),
  Upsample: oldResize,
} as const satisfies Readonly<Record<string, OpRow>>;
