/** Fourier transforms as products with cosine and sine matrices, windows, the mel matrix. */
import {
  asType,
  concatenate,
  dimScalar,
  expandDims,
  full,
  moveAxis,
  np,
  padConstant,
  rankOf,
  reshapeTo,
  sliceAxis,
  takeAt,
  where,
} from "../../../ir/build.js";
import { type Dim, dimAdd, dimBounds, dimEqual, dimFloorDiv, dimMul, dimSub, dimText } from "../../../ir/dim.js";
import { type DType, isFloat } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import { iota } from "../../../ir/ops/constant.js";
import { cos, sin } from "../../../ir/ops/elementwise.js";
import { gather } from "../../../ir/ops/indexing.js";
import { tensorFrom } from "../../../ir/tensor.js";
import { constantOf, dimOf } from "../../../passes/values/index.js";
import { host } from "../build.js";
import type { ImportOp, NodeContext, OpRow } from "../context.js";
import { dtypeOfCode } from "../dtype.js";
import { matmul } from "./products.js";

function constantOr(v: Value): Value {
  const known = constantOf(v);
  return known ? host(known) : v;
}

/** cos and sin of 2π·k·n / length as matrices [length of n, count of k]. */
function waves(rows: Dim, columns: Dim, length: Dim, dtype: DType): readonly [Value, Value] {
  const shape = [rows, columns];
  const n = iota([], { dtype: "i64", shape, axis: 0 });
  const k = iota([], { dtype: "i64", shape, axis: 1 });
  // Reduced exactly before the angle is taken, so that large products lose nothing.
  const turns = np.rem(np.mul(n, k), dimScalar(length, "i64"));
  const angle = np.mul(np.div(asType(turns, "f64"), dimScalar(length, "f64")), 2 * Math.PI);
  return [constantOr(asType(cos([angle]), dtype)), constantOr(asType(sin([angle]), dtype))];
}

/** Cut or filled with zeros to a length along an axis. */
function resized(x: Value, axis: number, length: Dim): Value {
  const size = x.type.shape[axis]!;
  if (dimEqual(size, length)) return x;
  const missing = dimSub(length, size);
  if (dimBounds(missing).min >= 0) {
    const none = x.type.shape.map(() => 0);
    return padConstant(
      x,
      none,
      x.type.shape.map((_, i): Dim => (i === axis ? missing : 0)),
    );
  }
  return sliceAxis(x, axis, 0, length);
}

interface Transform {
  readonly length: Dim;
  readonly inverse: boolean;
  readonly onesided: boolean;
}

/**
 * The imaginary parts of [..., n, 1 or 2]; undefined where there are none. A last axis of which only the run knows the size is filled
 * up with zeros; a size above 2 does not fit.
 */
function imaginaryOf(c: NodeContext, x: Value): Value | undefined {
  const axis = rankOf(x) - 1;
  const parts = x.type.shape[axis]!;
  if (parts === 1) return undefined;
  const { min, max } = dimBounds(parts);
  if (min > 2 || max < 1)
    throw c.error(`the last axis should hold real, or real and imaginary parts, but is ${dimText(parts)}`);
  const missing = dimSub(2, parts);
  if (missing === 0) return takeAt(x, axis, 1);
  const amounts = (amount: Dim) => x.type.shape.map((_, i): Dim => (i === axis ? amount : 0));
  return takeAt(padConstant(x, amounts(0), amounts(missing)), axis, 1);
}

/** The transform of [..., n, 1 or 2] along the axis before the last. */
function fourier(c: NodeContext, x: Value, { length, inverse, onesided }: Transform): Value {
  const last = rankOf(x) - 1;
  const { dtype } = x.type;
  const half = dimAdd(dimFloorDiv(length, 2), 1);
  const rows = inverse && onesided ? half : length;
  const whole = resized(x, last - 1, rows);
  const real = takeAt(whole, last, 0);
  const imaginary = imaginaryOf(c, whole);
  const columns = onesided && !inverse ? half : length;
  const [cosines, sines] = waves(rows, columns, length, dtype);
  const scaled = (v: Value) => np.div(v, dimScalar(length, dtype));
  if (inverse && onesided) {
    // Frequencies between the first and the middle stand for their mirror image too.
    const k = iota([], { dtype: "i64", shape: [rows], axis: 0 });
    const single = np.eq(np.rem(np.mul(k, 2), dimScalar(length, "i64")), 0);
    const weight = where(single, full(dtype, [], 1), 2);
    const a = matmul(np.mul(real, weight), cosines);
    const b = imaginary && matmul(np.mul(imaginary, weight), sines);
    return expandDims(scaled(b ? np.sub(a, b) : a), -1);
  }
  const [rc, rs] = [matmul(real, cosines), matmul(real, sines)];
  const [ic, is] = imaginary ? [matmul(imaginary, cosines), matmul(imaginary, sines)] : [];
  const re = inverse ? (is ? np.sub(rc, is) : rc) : is ? np.add(rc, is) : rc;
  const im = inverse ? (ic ? np.add(rs, ic) : rs) : ic ? np.sub(ic, rs) : np.sub(np.mul(rs, 0), rs);
  const parts = [re, im].map((v) => expandDims(inverse ? scaled(v) : v, -1));
  return concatenate(parts, -1);
}

/** A size that is a constant or follows from shapes. */
function sizeOf(c: NodeContext, i: number, what: string): Dim {
  const size = dimOf(c.facts(i)?.[0]);
  if (size === undefined) throw c.dependsOnData(i, what);
  return size;
}

const dft: ImportOp = (c) => {
  const x = c.input(0);
  const given = c.since >= 20 ? (c.has(2) ? c.scalar(2, "the axis") : -2) : c.attrs.int("axis", 1);
  const axis = c.axis(given, rankOf(x));
  const moved = moveAxis(x, axis, rankOf(x) - 2);
  const inverse = c.attrs.flag("inverse", false);
  const onesided = c.attrs.flag("onesided", false);
  const size = moved.type.shape.at(-2)!;
  const length = c.has(1) ? sizeOf(c, 1, "the length") : inverse && onesided ? dimMul(dimSub(size, 1), 2) : size;
  return moveAxis(fourier(c, moved, { length, inverse, onesided }), rankOf(x) - 2, axis);
};

const stft: ImportOp = (c) => {
  const signal = rankOf(c.input(0)) === 2 ? expandDims(c.input(0), -1) : c.input(0);
  const step = c.scalar(1, "the frame step");
  const window = c.optional(2);
  const length = c.has(3) ? sizeOf(c, 3, "the frame length") : (window?.type.shape[0] ?? signal.type.shape[1]!);
  const frames = dimAdd(dimFloorDiv(dimSub(signal.type.shape[1]!, length), step), 1);
  const shape = [frames, length];
  const start = np.mul(iota([], { dtype: "i64", shape, axis: 0 }), step);
  const index = constantOr(np.add(start, iota([], { dtype: "i64", shape, axis: 1 })));
  const framed = gather([signal, index], { axis: 1 });
  const weighted = window ? np.mul(framed, reshapeTo(window, [length, 1])) : framed;
  return fourier(c, weighted, { length, inverse: false, onesided: c.attrs.flag("onesided", true) });
};

/** Σ a_j · cos(2π·j·n / N), with N the size, or one less for a symmetric window. */
const windowOf =
  (coefficients: readonly number[]): ImportOp =>
  (c) => {
    const size = sizeOf(c, 0, "the size");
    const dtype = dtypeOfCode(c.attrs.int("output_datatype", 1));
    if (dtype === undefined || dtype === "string") throw c.error("the type of the result is not supported");
    const period = dimScalar(c.attrs.flag("periodic", true) ? size : dimSub(size, 1), "f64");
    const angle = np.mul(np.div(iota([], { dtype: "f64", shape: [size], axis: 0 }), period), 2 * Math.PI);
    const sum = coefficients
      .map((a, j) => (j === 0 ? np.add(np.mul(angle, 0), a) : np.mul(cos([np.mul(angle, j)]), a)))
      .reduce((p, q) => np.add(p, q));
    return constantOr(asType(sum, dtype));
  };

const melWeightMatrix: ImportOp = (c) => {
  const [bands, length, rate] = [0, 1, 2].map((i) => c.scalar(i, "a size")) as [number, number, number];
  const [lowest, highest] = [c.scalar(3, "the lower edge"), c.scalar(4, "the upper edge")];
  const dtype = dtypeOfCode(c.attrs.int("output_datatype", 1));
  if (dtype === undefined || !(isFloat(dtype as DType) || dtype.startsWith("i")))
    throw c.error("the type of the result is not supported");
  const bins = Math.floor(length / 2) + 1;
  const mel = (hz: number) => 2595 * Math.log10(1 + hz / 700);
  const hertz = (m: number) => 700 * (10 ** (m / 2595) - 1);
  const step = (mel(highest) - mel(lowest)) / (bands + 2);
  const edges = Array.from({ length: bands + 2 }, (_, i) =>
    Math.floor(((length + 1) * hertz(i * step + mel(lowest))) / rate),
  );
  const out = new Float64Array(bins * bands);
  const put = (bin: number, band: number, value: number) => {
    if (bin >= 0 && bin < bins) out[bin * bands + band] = value;
  };
  for (let b = 0; b < bands; b++) {
    const [low, centre, high] = [edges[b]!, edges[b + 1]!, edges[b + 2]!];
    if (centre === low) put(centre, b, 1);
    else for (let j = low; j <= centre; j++) put(j, b, (j - low) / (centre - low));
    for (let j = centre; j < high; j++) put(j, b, (high - j) / (high - centre));
  }
  return host(tensorFrom(dtype as DType, [bins, bands], out));
};

export const signal = {
  DFT: dft,
  STFT: stft,
  HannWindow: windowOf([0.5, -0.5]),
  HammingWindow: windowOf([25 / 46, -21 / 46]),
  BlackmanWindow: windowOf([0.42, -0.5, 0.08]),
  MelWeightMatrix: melWeightMatrix,
} as const satisfies Readonly<Record<string, OpRow>>;
