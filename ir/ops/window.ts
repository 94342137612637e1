/** Reductions over sliding windows, and their adjoints. Average pooling is a composite on `windowSum`. */

import type { Dim } from "../dim.js";
import { ModelError } from "../errors.js";
import { shapeText, type TensorType, typeText } from "../graph.js";
import { mergeDims, mergeShapes, requireDType } from "../infer.js";
import { defineMultiOp, defineOp, type PrimitiveOp, type Sample, type SampleOperand } from "../op.js";
import { distinct, exactly, f32, of, within } from "../sample.js";
import { bigElement, element, setElement, type Tensor, tensorFrom, toFloat64, zeros } from "../tensor.js";
import { lowestOf } from "./reduce.js";
import {
  channelsOf,
  checkWindow,
  forEachTap,
  geometry,
  imageShape,
  planeSize,
  planeStrides,
  spatialOf,
  type WindowAttrs,
  windowAttrDocs,
  windowPositions,
} from "./window-geometry.js";

export type PoolAttrs = WindowAttrs & { readonly window: readonly number[] };
export type PoolGradAttrs = PoolAttrs & { readonly inputSize: readonly Dim[] };

const docs = { window: "window size, per spatial axis", ...windowAttrDocs } as const;
const gradDocs = { ...docs, inputSize: "spatial size of the pooled tensor" } as const;

function pooledShape(x: TensorType, attrs: PoolAttrs): readonly Dim[] {
  checkWindow(x, attrs, attrs.window);
  const outputs = windowPositions(spatialOf(x.shape, attrs.layout), attrs.window, attrs);
  return imageShape(x.shape[0]!, channelsOf(x.shape, attrs.layout), outputs, attrs.layout);
}

/** Shape of what was pooled, checked against the pooled type. */
function unpooledShape(y: TensorType, attrs: PoolGradAttrs): readonly Dim[] {
  const axes = checkWindow(y, attrs, attrs.window);
  if (attrs.inputSize.length !== axes)
    throw new ModelError(`inputSize ${shapeText(attrs.inputSize)} needs ${axes} values`);
  const expected = windowPositions(attrs.inputSize, attrs.window, attrs);
  spatialOf(y.shape, attrs.layout).forEach((d, a) => {
    mergeDims(
      d,
      expected[a]!,
      () => `pooling ${shapeText(attrs.inputSize)} gives ${shapeText(expected)}, but the operand is ${typeText(y)}`,
    );
  });
  return imageShape(y.shape[0]!, channelsOf(y.shape, attrs.layout), attrs.inputSize, attrs.layout);
}

/** Visits each (pooled element, unpooled element, flat spatial index of the latter) that a window joins, in window order. */
function forEachPair(
  x: readonly number[],
  y: readonly number[],
  attrs: PoolAttrs,
  dim: (d: Dim) => number,
  visit: (y: number, x: number, plane: number) => void,
): void {
  const { layout } = attrs;
  const channels = channelsOf(x, layout);
  const inputs = spatialOf(x, layout);
  const outputs = spatialOf(y, layout);
  const g = geometry(x[0]!, channels, inputs, outputs, attrs.window, attrs, dim);
  const xs = planeStrides(channels, planeSize(inputs), layout);
  const ys = planeStrides(channels, planeSize(outputs), layout);
  for (let n = 0; n < g.n; n++) {
    for (let c = 0; c < channels; c++) {
      forEachTap(g, (output, input) => {
        visit(n * ys.n + c * ys.c + output * ys.s, n * xs.n + c * xs.c + input * xs.s, input);
      });
    }
  }
}

export const maxPool: PrimitiveOp<"maxPool", PoolAttrs, "many"> = defineMultiOp<"maxPool", PoolAttrs>({
  name: "maxPool",
  operands: ["x"],
  summary:
    "Largest element of each window, and where it is: an i32 index into the flattened spatial axes of x (padding not counted). The first of equals; a NaN counts as the largest. A window that sees only padding gives the type's smallest value (−∞ for floats) and index −1.",
  attrs: docs,
  infer: ([x], attrs) => {
    requireDType(x!, "number");
    const shape = pooledShape(x!, attrs);
    return [
      { dtype: x!.dtype, shape },
      { dtype: "i32", shape },
    ];
  },
  reference: ([x], { attrs, types, dim }) => {
    const shape = types[0]!.shape.map(dim);
    const values = zeros(x!.dtype, shape);
    const indices = zeros("i32", shape);
    const lowest = lowestOf(x!.dtype);
    for (let i = 0; i < values.data.length; i++) setElement(values, i, lowest);
    indices.data.fill(-1 as never);
    const wide = x!.dtype === "i64" || x!.dtype === "u64";
    forEachPair(x!.shape, shape, attrs, dim, (yi, xi, plane) => {
      const candidate = wide ? bigElement(x!, xi) : element(x!, xi);
      const leader = wide ? bigElement(values, yi) : element(values, yi);
      const isFirst = indices.data[yi] === -1;
      if (isFirst || candidate > leader || (Number.isNaN(candidate) && !Number.isNaN(leader))) {
        values.data[yi] = x!.data[xi]!;
        indices.data[yi] = plane;
      }
    });
    return [values, indices];
  },
  vjp: ({ dys: [dy], operands: [x], results, attrs }) => [
    dy && maxPoolGrad([dy, results[1]!], { ...attrs, inputSize: spatialOf(x!.type.shape, attrs.layout) }),
  ],
  accuracy: "exact",
  samples: [
    ...poolSamples(
      (c) => [distinct(c.x)],
      () => ({}),
    ),
    {
      operands: [exactly([1, Number.NaN, 3, Number.NaN, -0, 0, 5, 5], f32(1, 1, 8))],
      attrs: { ...plainPool([2]), strides: [2] },
      noGrad: true,
    },
    { operands: [within(-9, 9, of("i64", 1, 2, 5))], attrs: { ...plainPool([3]) } },
    { operands: [within(0, 255, of("u8", 1, 2, 5))], attrs: { ...plainPool([2]) } },
    { operands: [within(-128, 127, of("i8", 1, 2, 5))], attrs: { ...plainPool([2]) } },
  ],
});

export const maxPoolGrad: PrimitiveOp<"maxPoolGrad", PoolGradAttrs> = defineOp<"maxPoolGrad", PoolGradAttrs>({
  name: "maxPoolGrad",
  operands: ["dy", "indices"],
  summary:
    "The adjoint of maxPool: adds each element of dy to the place its index names; index −1 goes nowhere. Indices are maxPool's, hence within the window, so that a kernel may also gather.",
  attrs: gradDocs,
  infer: ([dy, indices], attrs) => {
    requireDType(dy!, "float", "dy");
    requireDType(indices!, ["i32"], "indices");
    mergeShapes(dy!.shape, indices!.shape);
    return { dtype: dy!.dtype, shape: unpooledShape(dy!, attrs) };
  },
  reference: ([dy, indices], { attrs, types, dim }) => {
    const shape = types[0]!.shape.map(dim);
    const out = new Float64Array(planeSize(shape));
    const dys = toFloat64(dy!);
    forEachWinner(dy!.shape, indices!, shape, attrs, (yi, xi) => {
      out[xi]! += dys[yi]!;
    });
    return tensorFrom(dy!.dtype, shape, out);
  },
  vjp: ({ dy: dx, operands: [, indices], attrs }) => [maxPoolGather([dx, indices!], attrs), undefined],
  accuracy: { rtol: 1e-6, atol: 1e-6 },
  samples: winnerSamples((c) => c.y),
});

export const maxPoolGather: PrimitiveOp<"maxPoolGather", PoolGradAttrs> = defineOp<"maxPoolGather", PoolGradAttrs>({
  name: "maxPoolGather",
  operands: ["x", "indices"],
  summary: "The adjoint of maxPoolGrad: for each index of maxPool the element of x that it names; 0 for index −1.",
  attrs: gradDocs,
  infer: ([x, indices], attrs) => {
    requireDType(x!, "float", "x");
    requireDType(indices!, ["i32"], "indices");
    mergeShapes(unpooledShape(indices!, attrs), x!.shape);
    return { dtype: x!.dtype, shape: indices!.shape };
  },
  reference: ([x, indices], { attrs, types, dim }) => {
    const out = zeros(x!.dtype, types[0]!.shape.map(dim));
    forEachWinner(out.shape, indices!, x!.shape, attrs, (yi, xi) => {
      out.data[yi] = x!.data[xi]!;
    });
    return out;
  },
  vjp: ({ dy, operands: [, indices], attrs }) => [maxPoolGrad([dy, indices!], attrs), undefined],
  accuracy: "exact",
  samples: winnerSamples((c) => c.x),
});

function forEachWinner(
  y: readonly number[],
  indices: Tensor,
  x: readonly number[],
  { layout }: PoolAttrs,
  visit: (y: number, x: number) => void,
): void {
  const channels = channelsOf(y, layout);
  const plane = planeSize(spatialOf(y, layout));
  const ys = planeStrides(channels, plane, layout);
  const xs = planeStrides(channels, planeSize(spatialOf(x, layout)), layout);
  for (let n = 0; n < y[0]!; n++) {
    for (let c = 0; c < channels; c++) {
      for (let s = 0; s < plane; s++) {
        const yi = n * ys.n + c * ys.c + s * ys.s;
        const at = Number(indices.data[yi]!);
        if (at >= 0) visit(yi, n * xs.n + c * xs.c + at * xs.s);
      }
    }
  }
}

export const windowSum: PrimitiveOp<"windowSum", PoolAttrs> = defineOp<"windowSum", PoolAttrs>({
  name: "windowSum",
  operands: ["x"],
  summary: "Sum of each window; padding counts as 0. f16 and bf16 accumulate in f32. Integers wrap.",
  attrs: docs,
  infer: ([x], attrs) => {
    requireDType(x!, ["f32", "f64", "f16", "bf16", "i32"]);
    return { dtype: x!.dtype, shape: pooledShape(x!, attrs) };
  },
  reference: ([x], { attrs, types, dim }) => {
    const shape = types[0]!.shape.map(dim);
    const xs = toFloat64(x!);
    const out = new Float64Array(planeSize(shape));
    forEachPair(x!.shape, shape, attrs, dim, (yi, xi) => {
      out[yi]! += xs[xi]!;
    });
    return tensorFrom(x!.dtype, shape, out);
  },
  vjp: ({ dy, operands: [x], attrs }) => [
    windowSumGrad([dy], { ...attrs, inputSize: spatialOf(x!.type.shape, attrs.layout) }),
  ],
  accuracy: { rtol: 1e-5, atol: 1e-5 },
  samples: [
    ...poolSamples<PoolAttrs>(
      (c) => [c.x],
      () => ({}),
    ),
    { operands: [of("i32", 1, 2, 5)], attrs: plainPool([2]) },
  ],
});

export const windowSumGrad: PrimitiveOp<"windowSumGrad", PoolGradAttrs> = defineOp<"windowSumGrad", PoolGradAttrs>({
  name: "windowSumGrad",
  operands: ["dy"],
  summary: "The adjoint of windowSum: each element is the sum of dy over the windows that see it.",
  attrs: gradDocs,
  infer: ([dy], attrs) => {
    requireDType(dy!, ["f32", "f64", "f16", "bf16", "i32"]);
    return { dtype: dy!.dtype, shape: unpooledShape(dy!, attrs) };
  },
  reference: ([dy], { attrs, types, dim }) => {
    const shape = types[0]!.shape.map(dim);
    const ys = toFloat64(dy!);
    const out = new Float64Array(planeSize(shape));
    forEachPair(shape, dy!.shape, attrs, dim, (yi, xi) => {
      out[xi]! += ys[yi]!;
    });
    return tensorFrom(dy!.dtype, shape, out);
  },
  vjp: ({ dy: dx, attrs: { inputSize: _, ...attrs } }) => [windowSum([dx], attrs)],
  accuracy: { rtol: 1e-5, atol: 1e-5 },
  samples: poolSamples(
    (c) => [c.y],
    (c) => ({ inputSize: spatialOf(c.x.shape, c.attrs.layout) }),
  ),
});

interface Case {
  readonly attrs: PoolAttrs;
  readonly x: SampleOperand;
  readonly y: SampleOperand;
}

function plainPool(window: readonly number[]): PoolAttrs {
  const all = (v: number) => window.map(() => v);
  return { window, strides: all(1), padLow: all(0), padHigh: all(0), dilations: all(1), layout: "channelsFirst" };
}

function cases(): Case[] {
  const make = (x: SampleOperand, window: readonly number[], options: Partial<PoolAttrs> = {}): Case[] =>
    (["channelsFirst", "channelsLast"] as const).map((layout) => {
      const attrs: PoolAttrs = { ...plainPool(window), ...options, layout };
      const outputs = windowPositions(x.shape.slice(2), window, attrs);
      const arrange = (spatial: readonly Dim[]): SampleOperand => ({
        ...x,
        shape: imageShape(x.shape[0]!, x.shape[1]!, spatial, layout) as readonly number[],
      });
      return { attrs, x: arrange(x.shape.slice(2)), y: arrange(outputs) };
    });
  return [
    ...make(f32(2, 3, 6, 6), [2, 2], { strides: [2, 2] }),
    ...make(f32(1, 2, 7, 8), [3, 3], { strides: [2, 2], padLow: [1, 1], padHigh: [1, 1] }),
    // Ceil mode is more padding at the end.
    ...make(f32(1, 5, 6, 7), [3, 3], { strides: [2, 2], padHigh: [1, 0] }),
    ...make(f32(1, 4, 5, 6), [2, 2], { dilations: [2, 2] }),
    ...make(f32(2, 3, 9), [3], { strides: [2] }),
    ...make(f32(1, 2, 4, 4, 3), [2, 2, 2], { strides: [2, 1, 1] }),
    ...make(f32(1, 17, 3, 3), [3, 3]),
    // Cropped, and windows that see nothing but padding.
    ...make(f32(1, 2, 6), [2], { padLow: [-1], padHigh: [-1] }),
    ...make(f32(1, 2, 3), [2], { padLow: [2], padHigh: [2] }),
    ...make(f32(0, 2, 4), [2]),
    ...make(of("f64", 1, 2, 6), [3]),
    ...make(of("f16", 1, 2, 6), [3]),
    ...make(of("bf16", 1, 2, 6), [3]),
  ];
}

function poolSamples<A extends PoolAttrs>(
  operands: (c: Case) => readonly SampleOperand[],
  more: (c: Case) => Omit<A, keyof PoolAttrs>,
): Sample<A>[] {
  return cases().map((c) => ({ operands: operands(c), attrs: { ...c.attrs, ...more(c) } as unknown as A }));
}

/** Samples whose second operand are the indices that maxPool gives for a ramp. */
function winnerSamples(first: (c: Case) => SampleOperand): Sample<PoolGradAttrs>[] {
  return cases().map((c) => {
    const size = c.x.shape.reduce((p, d) => p * d, 1);
    // Neither rising nor falling, so that winners are spread over the windows.
    const ramp = tensorFrom(
      "f32",
      c.x.shape,
      Array.from({ length: size }, (_, i) => (i * 7) % 11),
    );
    const winners: number[] = [];
    const best: number[] = [];
    forEachPair(
      c.x.shape,
      c.y.shape,
      c.attrs,
      (d) => d as number,
      (yi, xi, plane) => {
        if (winners[yi] === undefined || element(ramp, xi) > best[yi]!) {
          winners[yi] = plane;
          best[yi] = element(ramp, xi);
        }
      },
    );
    const count = c.y.shape.reduce((p, d) => p * d, 1);
    const indices = exactly(
      Array.from({ length: count }, (_, i) => winners[i] ?? -1),
      of("i32", ...c.y.shape),
    );
    return {
      operands: [first(c), indices],
      attrs: { ...c.attrs, inputSize: spatialOf(c.x.shape, c.attrs.layout) },
    };
  });
}
