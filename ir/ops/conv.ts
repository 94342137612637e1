/**
 * Convolution and its two adjoints. The three are each other's gradients, because each is the same trilinear form
 *   Σ dy[n,o,p] · w[o,c,t] · x[n,c, p·stride + t·dilation − padLow]
 * with one factor taken out. `convInputGrad` is what frameworks call transposed convolution.
 */

import { type Dim, dimFloorDiv, dimMul, dimText } from "../dim.js";
import { isInt } from "../dtype.js";
import { ModelError } from "../errors.js";
import { shapeText, type TensorType, typeText } from "../graph.js";
import { mergeDims, requireMultiple } from "../infer.js";
import { defineOp, type PrimitiveOp } from "../op.js";
import { tensorFrom, toFloat64 } from "../tensor.js";
import { productDType } from "./contraction.js";
import { convSamples } from "./conv-samples.js";
import {
  channelsOf,
  checkWindow,
  forEachTap,
  type Geometry,
  geometry,
  imageShape,
  planeSize,
  planeStrides,
  spatialOf,
  type WindowAttrs,
  windowAttrDocs,
  windowPositions,
} from "./window-geometry.js";

export type ConvAttrs = WindowAttrs & { readonly groups: number };
export type ConvInputGradAttrs = ConvAttrs & { readonly inputSize: readonly Dim[] };
export type ConvWeightGradAttrs = ConvAttrs & { readonly kernelSize: readonly number[] };

const docs = { ...windowAttrDocs, groups: "groups of channels that do not mix; 1 mixes all, C is depthwise" } as const;

const accuracy = { rtol: 1e-5, atol: 1e-5 } as const;
const numerics =
  "f16 and bf16 accumulate in f32. i8, u8 and i16 operands give i32; integers wrap; 64-bit integers are refused.";

function resultDType(a: TensorType, b: TensorType) {
  const dtype = productDType(a, b);
  if (dtype === "i64" || dtype === "u64") {
    throw new ModelError({
      message: `no convolution of ${typeText(a)} and ${typeText(b)}`,
      hint: "cast to i32 or f64",
    });
  }
  return dtype;
}

/** Window sizes of a weight, which must be known when compiling. */
function kernelOf(w: TensorType, attrs: ConvAttrs): readonly number[] {
  return spatialOf(w.shape, attrs.layout).map((d) => {
    if (typeof d !== "number") throw new ModelError(`the kernel size of weight ${typeText(w)} must be fixed`);
    return d;
  });
}

function checkGroups(groups: number, channels: Dim, what: string): void {
  if (!Number.isInteger(groups) || groups < 1) throw new ModelError(`groups ${groups} must be an integer ≥ 1`);
  requireMultiple(channels, groups, () => `${dimText(channels)} ${what} cannot be split into ${groups} groups`);
}

/** Types of x, w and dy fit together. Returns batch, channels and spatial sizes. */
function checkParts(
  x: { n: Dim; c: Dim; spatial: readonly Dim[] },
  w: { o: Dim; cPerGroup: Dim; kernel: readonly number[] },
  dy: { n: Dim; o: Dim; spatial: readonly Dim[] } | undefined,
  attrs: ConvAttrs,
): { n: Dim; o: Dim; outputs: readonly Dim[] } {
  checkGroups(attrs.groups, x.c, "input channels");
  checkGroups(attrs.groups, w.o, "output channels");
  mergeDims(
    dimMul(w.cPerGroup, attrs.groups),
    x.c,
    () =>
      `weights take ${dimText(w.cPerGroup)} channels in each of ${attrs.groups} groups, but the input has ${dimText(x.c)} channels`,
  );
  const outputs = windowPositions(x.spatial, w.kernel, attrs);
  if (dy === undefined) return { n: x.n, o: w.o, outputs };
  return {
    n: mergeDims(x.n, dy.n),
    o: mergeDims(w.o, dy.o, () => `weights make ${dimText(w.o)} channels, the output has ${dimText(dy.o)}`),
    outputs: outputs.map((d, a) =>
      mergeDims(
        d,
        dy.spatial[a]!,
        () =>
          `input size ${shapeText(x.spatial)} gives output size ${shapeText(outputs)}, not ${shapeText(dy.spatial)}`,
      ),
    ),
  };
}

const image = (t: TensorType, attrs: ConvAttrs) => ({
  n: t.shape[0]!,
  c: channelsOf(t.shape, attrs.layout),
  o: channelsOf(t.shape, attrs.layout),
  spatial: spatialOf(t.shape, attrs.layout),
});
const weight = (t: TensorType, attrs: ConvAttrs) => ({
  o: t.shape[0]!,
  cPerGroup: channelsOf(t.shape, attrs.layout),
  kernel: kernelOf(t, attrs),
});

export const conv: PrimitiveOp<"conv", ConvAttrs> = defineOp<"conv", ConvAttrs>({
  name: "conv",
  operands: ["x", "w"],
  summary: `Convolution (cross-correlation) over 1 to 3 spatial axes. channelsFirst: x [N,C,…], w [O,C/groups,…k], result [N,O,…]; channelsLast: x [N,…,C], w [O,…k,C/groups], result [N,…,O]. ${numerics}`,
  attrs: docs,
  infer: ([x, w], attrs) => {
    if (w!.shape.length !== x!.shape.length)
      throw new ModelError(`${typeText(x!)} and weight ${typeText(w!)} differ in rank`);
    const dtype = resultDType(x!, w!);
    checkWindow(x!, attrs, kernelOf(w!, attrs));
    const { n, o, outputs } = checkParts(image(x!, attrs), weight(w!, attrs), undefined, attrs);
    return { dtype, shape: imageShape(n, o, outputs, attrs.layout) };
  },
  reference: ([x, w], { attrs, types, dim }) => {
    const shape = types[0]!.shape.map(dim);
    const f = factors(x!.shape, w!.shape, shape, attrs, dim);
    const wrap = isInt(x!.dtype);
    const y = new Float64Array(f.y.size);
    const xs = toFloat64(x!);
    const ws = toFloat64(w!);
    forEachProduct(f, (xi, wi, yi) => {
      if (wrap) y[yi] = (y[yi]! + Math.imul(xs[xi]!, ws[wi]!)) | 0;
      else y[yi]! += xs[xi]! * ws[wi]!;
    });
    return tensorFrom(types[0]!.dtype, shape, y);
  },
  vjp: ({ dy, operands: [x, w], attrs, needs }) => [
    needs[0] ? convInputGrad([dy, w!], { ...attrs, inputSize: spatialOf(x!.type.shape, attrs.layout) }) : undefined,
    needs[1] ? convWeightGrad([x!, dy], { ...attrs, kernelSize: kernelOf(w!.type, attrs) }) : undefined,
  ],
  accuracy,
  samples: convSamples(
    (c) => [c.x, c.w],
    () => ({}),
  ),
});

export const convInputGrad: PrimitiveOp<"convInputGrad", ConvInputGradAttrs> = defineOp<
  "convInputGrad",
  ConvInputGradAttrs
>({
  name: "convInputGrad",
  operands: ["dy", "w"],
  summary: `The adjoint of conv in x, which is transposed convolution: dy [N,O,…], w as in conv, result of the shape of x with spatial size \`inputSize\`. ${numerics}`,
  attrs: { ...docs, inputSize: "spatial size of the result; conv of it must give the size of dy" },
  infer: ([dy, w], attrs) => {
    if (w!.shape.length !== dy!.shape.length)
      throw new ModelError(`${typeText(dy!)} and weight ${typeText(w!)} differ in rank`);
    const dtype = resultDType(dy!, w!);
    const parts = weight(w!, attrs);
    const axes = checkWindow(dy!, attrs, parts.kernel);
    if (attrs.inputSize.length !== axes)
      throw new ModelError(`inputSize ${shapeText(attrs.inputSize)} needs ${axes} values`);
    const c = dimMul(parts.cPerGroup, attrs.groups);
    const { n } = checkParts({ n: dy!.shape[0]!, c, spatial: attrs.inputSize }, parts, image(dy!, attrs), attrs);
    return { dtype, shape: imageShape(n, c, attrs.inputSize, attrs.layout) };
  },
  reference: ([dy, w], { attrs, types, dim }) => {
    const shape = types[0]!.shape.map(dim);
    const f = factors(shape, w!.shape, dy!.shape, attrs, dim);
    const wrap = isInt(dy!.dtype);
    const x = new Float64Array(f.x.size);
    const ys = toFloat64(dy!);
    const ws = toFloat64(w!);
    forEachProduct(f, (xi, wi, yi) => {
      if (wrap) x[xi] = (x[xi]! + Math.imul(ys[yi]!, ws[wi]!)) | 0;
      else x[xi]! += ys[yi]! * ws[wi]!;
    });
    return tensorFrom(types[0]!.dtype, shape, x);
  },
  vjp: ({ dy: dx, operands: [dy, w], attrs: { inputSize: _, ...attrs }, needs }) => [
    needs[0] ? conv([dx, w!], attrs) : undefined,
    needs[1] ? convWeightGrad([dx, dy!], { ...attrs, kernelSize: kernelOf(w!.type, attrs) }) : undefined,
  ],
  accuracy,
  samples: convSamples(
    (c) => [c.y, c.w],
    (c) => ({ inputSize: spatialOf(c.x.shape, c.attrs.layout) }),
  ),
});

export const convWeightGrad: PrimitiveOp<"convWeightGrad", ConvWeightGradAttrs> = defineOp<
  "convWeightGrad",
  ConvWeightGradAttrs
>({
  name: "convWeightGrad",
  operands: ["x", "dy"],
  summary: `The adjoint of conv in w: x and dy as in conv, result of the shape of w with spatial size \`kernelSize\`. ${numerics}`,
  attrs: { ...docs, kernelSize: "spatial size of the result" },
  infer: ([x, dy], attrs) => {
    if (dy!.shape.length !== x!.shape.length)
      throw new ModelError(`${typeText(x!)} and ${typeText(dy!)} differ in rank`);
    const dtype = resultDType(x!, dy!);
    checkWindow(x!, attrs, attrs.kernelSize);
    const c = channelsOf(x!.shape, attrs.layout);
    const out = image(dy!, attrs);
    checkGroups(attrs.groups, c, "input channels");
    const cPerGroup = dimFloorDiv(c, attrs.groups);
    checkParts(image(x!, attrs), { o: out.o, cPerGroup, kernel: attrs.kernelSize }, out, attrs);
    return { dtype, shape: imageShape(out.o, cPerGroup, attrs.kernelSize, attrs.layout) };
  },
  reference: ([x, dy], { attrs, types, dim }) => {
    const shape = types[0]!.shape.map(dim);
    const f = factors(x!.shape, shape, dy!.shape, attrs, dim);
    const wrap = isInt(x!.dtype);
    const w = new Float64Array(f.w.size);
    const xs = toFloat64(x!);
    const ys = toFloat64(dy!);
    forEachProduct(f, (xi, wi, yi) => {
      if (wrap) w[wi] = (w[wi]! + Math.imul(xs[xi]!, ys[yi]!)) | 0;
      else w[wi]! += xs[xi]! * ys[yi]!;
    });
    return tensorFrom(types[0]!.dtype, shape, w);
  },
  vjp: ({ dy: dw, operands: [x, dy], attrs: { kernelSize: _, ...attrs }, needs }) => [
    needs[0] ? convInputGrad([dy!, dw], { ...attrs, inputSize: spatialOf(x!.type.shape, attrs.layout) }) : undefined,
    needs[1] ? conv([x!, dw], attrs) : undefined,
  ],
  accuracy,
  samples: convSamples(
    (c) => [c.x, c.y],
    (c) => ({ kernelSize: spatialOf(c.w.shape, c.attrs.layout) }),
  ),
});

interface Plane {
  readonly size: number;
  readonly n: number;
  readonly c: number;
  readonly s: number;
}

interface Factors {
  readonly geometry: Geometry;
  readonly groups: number;
  /** Output channels. */
  readonly o: number;
  readonly x: Plane;
  readonly w: Plane;
  readonly y: Plane;
}

/** Sizes and strides of the three tensors of the trilinear form. */
function factors(
  x: readonly number[],
  w: readonly number[],
  y: readonly number[],
  attrs: ConvAttrs,
  dim: (d: Dim) => number,
): Factors {
  const { layout } = attrs;
  const g = geometry(
    x[0]!,
    channelsOf(x, layout),
    spatialOf(x, layout),
    spatialOf(y, layout),
    spatialOf(w, layout),
    attrs,
    dim,
  );
  const plane = (shape: readonly number[]): Plane => ({
    size: planeSize(shape),
    ...planeStrides(channelsOf(shape, layout), planeSize(spatialOf(shape, layout)), layout),
  });
  return { geometry: g, groups: attrs.groups, o: w[0]!, x: plane(x), w: plane(w), y: plane(y) };
}

/** Visits every product of the form: flat indices into x, w and y. */
function forEachProduct(f: Factors, visit: (x: number, w: number, y: number) => void): void {
  const { geometry: g, groups, x, w, y } = f;
  const oPer = f.o / groups;
  const cPer = g.c / groups;
  for (let n = 0; n < g.n; n++) {
    forEachTap(g, (output, input, tap) => {
      for (let o = 0; o < f.o; o++) {
        const group = Math.floor(o / oPer);
        const yi = n * y.n + o * y.c + output * y.s;
        const wi = o * w.n + tap * w.s;
        const xi = n * x.n + group * cPer * x.c + input * x.s;
        for (let c = 0; c < cPer; c++) visit(xi + c * x.c, wi + c * w.c, yi);
      }
    });
  }
}
