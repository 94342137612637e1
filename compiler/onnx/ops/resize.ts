/** Resize and Upsample: which sizes and scales are meant. Each resized axis is interpolated by itself, in resize-axis.ts. */
import {
  asType,
  broadcastTo,
  constantLike,
  dimScalar,
  np,
  rankOf,
  reshapeTo,
  takeAt,
  where,
} from "../../../ir/build.js";
import { type Dim, dimAdd, dimEqual, dimFloorDiv, dimMax, dimMin, dimMul, dimScaled } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { typeText } from "../../../ir/graph.js";
import { bindDim } from "../../../ir/ops/dynamic.js";
import { floor } from "../../../ir/ops/elementwise.js";
import { ge, le, logicalAnd } from "../../../ir/ops/logic.js";
import { dimOf, type Fact, factOf, sizeTimes } from "../../../passes/values/index.js";
import type { ImportOp, NodeContext, OpRow } from "../context.js";
import { sizeWithin } from "../context.js";
import {
  type Axis,
  COORDINATES,
  coordinatesOf,
  f32,
  folded,
  NEAREST,
  resizeAxis,
  type Settings,
} from "./resize-axis.js";

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

/** An axis by a scale that only the run knows, or that is computed from sizes. */
function computedAxis(c: NodeContext, axis: number, size: Dim, fact: Fact | undefined, scale: Value): Axis {
  const roi = [0, 1] as const;
  // Exporters of old divide a size by another, and mean the size.
  const whole = fact && sizeTimes(size, fact);
  if (whole !== undefined) return { axis, size, result: whole, scale: undefined, roi };
  const length = asType(floor([np.mul(f32(size), scale)]), "i64");
  const known = factOf(length);
  const result =
    dimOf(known) ??
    c.services.findSize("resized", sizeWithin(known, c.services.maxUnknownSize), (defines) =>
      bindDim([length], { defines }),
    ).size;
  return { axis, size, result, scale, roi };
}

/** Axes by scales, each a number or computed. */
function byScales(
  c: NodeContext,
  x: Value,
  input: number,
  axes: readonly number[],
  roi: readonly number[],
): readonly Axis[] {
  const scales = c.input(input);
  const facts = c.facts(input);
  if (scales.type.shape.length !== 1 || scales.type.shape[0] !== axes.length)
    throw c.error(`scales ${typeText(scales.type)} were given for ${axes.length} axes`);
  return axes.map((axis, i) => {
    const fact = facts?.[i];
    const size = x.type.shape[axis]!;
    const part = [roi[i] ?? 0, roi[i + axes.length] ?? 1] as const;
    const known = typeof fact?.exact === "number" && fact.computed === undefined ? fact.exact : undefined;
    if (known !== undefined) return byScale(c, axis, size, known, part);
    return { ...computedAxis(c, axis, size, fact, asType(takeAt(scales, 0, i), "f32")), roi: part };
  });
}

function byScale(c: NodeContext, axis: number, size: Dim, given: number, roi: readonly [number, number]): Axis {
  const scale = Math.fround(given);
  if (!(scale > 0 && scale < Number.POSITIVE_INFINITY)) throw c.error(`a scale is ${scale}; it should be above 0`);
  return { axis, size, scale, result: dimScaled(size, scale), roi };
}

/** Axes of which none is longer (or shorter) than wanted, with one scale for all. */
function keepingRatio(x: Value, axes: readonly number[], wanted: readonly Dim[], larger: boolean): readonly Axis[] {
  const sizes = axes.map((axis) => x.type.shape[axis]!);
  const roi = [0, 1] as const;
  if ([...sizes, ...wanted].every((d) => typeof d === "number")) {
    const ratios = wanted.map((d, i) => (d as number) / (sizes[i] as number));
    const scale = larger ? Math.max(...ratios) : Math.min(...ratios);
    return axes.map((axis, i) => {
      const size = sizes[i] as number;
      return { axis, size, scale, result: Math.floor(scale * size + 0.5), roi };
    });
  }
  const ratios = wanted.map((d, i) => np.div(dimScalar(d, "f64"), dimScalar(sizes[i]!, "f64")));
  const scale = asType(
    ratios.reduce((p, q) => (larger ? np.max(p, q) : np.min(p, q))),
    "f32",
  );
  return axes.map((axis, i) => {
    const size = sizes[i]!;
    // ⌊size · wanted / of + ½⌋ for the axis that decides.
    const results = wanted.map((d, k) => {
      const of = dimMax(sizes[k]!, 1);
      return dimFloorDiv(dimAdd(dimMul(dimMul(d, size), 2), of), dimMul(of, 2));
    });
    return { axis, size, scale, result: results.reduce((p, q) => (larger ? dimMax(p, q) : dimMin(p, q))), roi };
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
  const settings = { ...OLD, mode: modeOf(c) };
  const all = x.type.shape.map((_, i) => i);
  if (attribute === undefined) return resize(c, x, byScales(c, x, 1, all, []), settings);
  if (attribute.length !== all.length) throw c.error(`${attribute.length} scales were given for ${all.length} axes`);
  const axes = all.map((axis) => byScale(c, axis, x.type.shape[axis]!, attribute[axis]!, [0, 1]));
  return resize(c, x, axes, settings);
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
  if (hasScales) return resize(c, x, byScales(c, x, 2, axes, roi), settings);
  if (!c.has(3)) throw c.error("neither scales nor sizes are given");
  const policy = c.attrs.oneOf("keep_aspect_ratio_policy", ["stretch", "not_larger", "not_smaller"], "stretch");
  const sizes = c.dimsWithin(3);
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
  return resize(c, x, keepingRatio(x, axes, sizes, policy === "not_smaller"), settings);
};

export const resizing = {
  Resize: (c) => (c.since < 11 ? oldResize(c) : newResize(c)),
  Upsample: oldResize,
} as const satisfies Readonly<Record<string, OpRow>>;
