/**
 * Convolution and its two adjoints. The three are each other's gradients, because each is the same trilinear form
 *   Σ dy[n,o,p] · w[o,c,t] · x[n,c, p·stride + t·dilation − padLow]
 * with one factor taken out. `convInputGrad` is what frameworks call transposed convolution.
 */

import { type Dim, dimFloorDiv, dimMul, dimText } from "../dim.js";
import { isInt } from "../dtype.js";
import { ModelError } from "../errors.js";
import { type Attrs, type Shape, shapeText, type TensorType, typeText } from "../graph.js";
import { mergeDims, requireMultiple } from "../infer.js";
import { defineOp, type PrimitiveOp, type Sample, type SampleOperand } from "../op.js";
import { f32, of, within } from "../sample.js";
import { tensorFrom, toFloat64 } from "../tensor.js";
import { productDType } from "./contraction.js";
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

interface Case {
  readonly attrs: ConvAttrs;
  readonly x: SampleOperand;
  readonly w: SampleOperand;
  /** An operand of the shape of the result. */
  readonly y: SampleOperand;
}

function convSamples<A extends Attrs>(
  operands: (c: Case) => readonly SampleOperand[],
  more: (c: Case) => Omit<A, keyof ConvAttrs>,
): Sample<A>[] {
  return cases().map((c) => ({ operands: operands(c), attrs: { ...c.attrs, ...more(c) } as unknown as A }));
}

type Options = {
  readonly strides?: readonly number[];
  readonly pads?: readonly (readonly [number, number])[];
  readonly dilations?: readonly number[];
  readonly groups?: number;
};

/** Cases in both layouts. x is [N,C,…], w is [O,C/groups,…k]. */
function cases(): Case[] {
  const make = (x: SampleOperand, w: SampleOperand, options: Options = {}): Case[] =>
    (["channelsFirst", "channelsLast"] as const).map((layout) => {
      const axes = x.shape.length - 2;
      const attrs: ConvAttrs = {
        strides: options.strides ?? new Array<number>(axes).fill(1),
        padLow: options.pads?.map((p) => p[0]) ?? new Array<number>(axes).fill(0),
        padHigh: options.pads?.map((p) => p[1]) ?? new Array<number>(axes).fill(0),
        dilations: options.dilations ?? new Array<number>(axes).fill(1),
        groups: options.groups ?? 1,
        layout,
      };
      const outputs = windowPositions(x.shape.slice(2), w.shape.slice(2), attrs);
      const arrange = (t: SampleOperand, shape: Shape): SampleOperand => ({
        ...t,
        shape: imageShape(shape[0]!, shape[1]!, shape.slice(2), layout) as readonly number[],
      });
      return {
        attrs,
        x: arrange(x, x.shape),
        w: arrange(w, w.shape),
        y: arrange(x, [x.shape[0]!, w.shape[0]!, ...outputs]),
      };
    });
  const half = (d: "f64" | "f16" | "bf16") => make(of(d, 1, 2, 5), of(d, 3, 2, 3));
  return [
    ...make(f32(2, 3, 9), f32(4, 3, 3)),
    ...make(f32(1, 1, 6, 6), f32(6, 1, 5, 5)),
    ...make(f32(2, 3, 5, 6), f32(4, 3, 3, 3), {
      pads: [
        [1, 1],
        [1, 1],
      ],
    }),
    ...make(f32(1, 5, 4, 4), f32(9, 5, 1, 1)),
    ...make(f32(1, 3, 7, 7), f32(4, 3, 3, 3), {
      strides: [2, 2],
      pads: [
        [0, 1],
        [1, 0],
      ],
    }),
    ...make(f32(1, 2, 6, 9), f32(3, 2, 3, 2), {
      strides: [1, 2],
      dilations: [1, 2],
      pads: [
        [2, 2],
        [1, 1],
      ],
    }),
    ...make(f32(1, 4, 5, 5), f32(6, 2, 3, 3), {
      groups: 2,
      pads: [
        [1, 1],
        [1, 1],
      ],
    }),
    ...make(f32(1, 5, 6, 6), f32(5, 1, 3, 3), {
      groups: 5,
      pads: [
        [1, 1],
        [1, 1],
      ],
    }),
    ...make(f32(1, 3, 5, 5), f32(6, 1, 3, 3), { groups: 3, strides: [2, 2] }),
    // Negative pads crop; a stride that leaves input unread.
    ...make(f32(1, 2, 8), f32(2, 2, 3), { pads: [[-1, 2]], strides: [3] }),
    ...make(f32(1, 2, 3, 4, 3), f32(2, 2, 2, 2, 2), {
      strides: [1, 2, 1],
      pads: [
        [0, 0],
        [1, 0],
        [0, 1],
      ],
    }),
    ...make(f32(0, 2, 5), f32(3, 2, 3)),
    ...make(f32(1, 17, 3, 3), f32(9, 17, 2, 2)),
    ...half("f64"),
    ...half("f16"),
    ...half("bf16"),
    ...make(within(-128, 127, of("i8", 1, 3, 6, 6)), within(-128, 127, of("i8", 4, 3, 3, 3)), {
      pads: [
        [1, 1],
        [1, 1],
      ],
    }),
    ...make(within(0, 255, of("u8", 1, 4, 6)), within(-128, 127, of("i8", 4, 1, 3)), { groups: 4 }),
    ...make(within(-255, 255, of("i16", 1, 3, 6, 5)), within(-128, 127, of("i8", 9, 3, 3, 3)), {
      strides: [2, 1],
      pads: [
        [1, 0],
        [1, 1],
      ],
    }),
    ...make(within(-255, 255, of("i16", 2, 6, 5)), within(-128, 127, of("i8", 8, 3, 2)), { groups: 2 }),
    ...make(of("i16", 1, 5, 4, 3), of("i16", 4, 5, 1, 1)),
    ...make(of("i32", 1, 2, 6), of("i32", 3, 2, 3)),
  ];
}
