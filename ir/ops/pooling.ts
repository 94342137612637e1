/** Pools that are made of window reductions. */

import { mean, np } from "../build.js";
import { type Dim, dimAdd, dimSub } from "../dim.js";
import type { Value } from "../graph.js";
import { requireDType } from "../infer.js";
import { type Accuracy, type CompositeOp, defineComposite } from "../op.js";
import { f32, of, sampleWith, within } from "../sample.js";
import { full, scalarConstant } from "./constant.js";
import { abs } from "./elementwise.js";
import { type PoolAttrs, windowSum } from "./window.js";
import { imageShape, spatialOf, type WindowAttrs, windowAttrDocs } from "./window-geometry.js";

const accuracy: Accuracy = { rtol: 1e-5, atol: 1e-5 };
const poolDocs = { window: "window size, per spatial axis", ...windowAttrDocs } as const;

type AverageAttrs = PoolAttrs & { readonly countPadding: boolean; readonly overhang: readonly Dim[] };

/** Elements that each window counts, in a shape that broadcasts with the pooled x. */
function windowCounts(x: Value, attrs: AverageAttrs): Value {
  const { window, strides, padLow, padHigh, dilations, layout, countPadding, overhang } = attrs;
  if (countPadding && overhang.every((d) => d === 0)) {
    return scalarConstant(
      x.type.dtype,
      window.reduce((n, w) => n * w, 1),
    );
  }
  const spatial = spatialOf(x.type.shape, layout);
  const counted: WindowAttrs = countPadding
    ? { strides, dilations, layout, padLow: padLow.map(() => 0), padHigh: overhang }
    : { strides, dilations, layout, padLow, padHigh };
  const size = countPadding
    ? spatial.map((d, a) => dimSub(dimAdd(dimAdd(d, padLow[a]!), padHigh[a]!), overhang[a]!))
    : spatial;
  const ones = full(x.type.dtype, imageShape(1, 1, size, layout), 1);
  return windowSum([ones], { window, ...counted });
}

export const averagePool: CompositeOp<"averagePool", AverageAttrs> = defineComposite<"averagePool", AverageAttrs>({
  name: "averagePool",
  operands: ["x"],
  summary: "Mean of the elements in each window.",
  attrs: {
    ...poolDocs,
    countPadding: "padding counts as elements of value 0; otherwise only elements of x count",
    overhang: "the part of padHigh, per spatial axis, that rounding the output size up has added; it never counts",
  },
  decompose: ([x], attrs) => {
    requireDType(x!.type, "float");
    const { window, strides, padLow, padHigh, dilations, layout } = attrs;
    return np.div(windowSum([x!], { window, strides, padLow, padHigh, dilations, layout }), windowCounts(x!, attrs));
  },
  accuracy,
  samples: [
    sampleWith(average({}), f32(2, 3, 4, 6)),
    sampleWith(average({ window: [3, 3], padLow: [1, 1], padHigh: [1, 1] }), f32(1, 2, 7, 9)),
    sampleWith(average({ window: [3, 3], padLow: [1, 1], padHigh: [1, 1], countPadding: false }), f32(1, 2, 7, 9)),
    sampleWith(average({ window: [3, 3], padLow: [1, 1], padHigh: [2, 2], overhang: [1, 1] }), f32(1, 2, 6, 6)),
    sampleWith(
      average({
        window: [3],
        strides: [2],
        padLow: [0],
        padHigh: [0],
        dilations: [1],
        overhang: [0],
        layout: "channelsLast",
      }),
      of("f64", 2, 9, 5),
    ),
  ],
});

function average(more: Partial<AverageAttrs>): AverageAttrs {
  return {
    window: [2, 2],
    strides: [2, 2],
    padLow: [0, 0],
    padHigh: [0, 0],
    dilations: [1, 1],
    layout: "channelsFirst",
    countPadding: true,
    overhang: [0, 0],
    ...more,
  };
}

type LpPoolAttrs = PoolAttrs & { readonly p: number };

export const lpPool: CompositeOp<"lpPool", LpPoolAttrs> = defineComposite<"lpPool", LpPoolAttrs>({
  name: "lpPool",
  operands: ["x"],
  summary: "p-norm of the elements in each window: (Σ |x|^p)^(1/p).",
  attrs: { ...poolDocs, p: "order of the norm, > 0" },
  decompose: ([x], { p, ...attrs }) => {
    requireDType(x!.type, "float");
    const powers = p === 1 ? abs([x!]) : np.pow(abs([x!]), p);
    const total = windowSum([powers], attrs);
    return p === 1 ? total : np.pow(total, 1 / p);
  },
  accuracy,
  samples: [
    sampleWith({ ...plain(2), p: 2 }, within(0.3, 2, f32(2, 3, 4, 6))),
    sampleWith({ ...plain(2), p: 1 }, within(0.3, 2, f32(1, 2, 5, 9))),
    sampleWith({ ...plain(1), p: 3 }, within(0.3, 2, f32(1, 2, 9))),
  ],
});

function plain(axes: number): PoolAttrs {
  const all = (v: number) => new Array<number>(axes).fill(v);
  return {
    window: all(2),
    strides: all(2),
    padLow: all(0),
    padHigh: all(0),
    dilations: all(1),
    layout: "channelsFirst",
  };
}

type GlobalAttrs = { readonly layout: WindowAttrs["layout"] };

export const globalAveragePool: CompositeOp<"globalAveragePool", GlobalAttrs> = defineComposite<
  "globalAveragePool",
  GlobalAttrs
>({
  name: "globalAveragePool",
  operands: ["x"],
  summary: "Mean over all spatial axes, which stay with size 1.",
  attrs: { layout: windowAttrDocs.layout },
  decompose: ([x], { layout }) => {
    requireDType(x!.type, "float");
    return mean(x!, spatialAxes(x!, layout), { keepDims: true });
  },
  accuracy,
  samples: [
    sampleWith({ layout: "channelsFirst" }, f32(2, 3, 4, 5)),
    sampleWith({ layout: "channelsLast" }, f32(2, 9, 3)),
  ],
});

const spatialAxes = (x: Value, layout: WindowAttrs["layout"]): readonly number[] => {
  const first = layout === "channelsFirst" ? 2 : 1;
  return spatialOf(x.type.shape, layout).map((_, i) => first + i);
};
