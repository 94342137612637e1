/** Samples of the convolutions: an image, a weight and a result of every form that kernels treat differently. */

import type { Attrs, Shape } from "../graph.js";
import type { Sample, SampleOperand } from "../op.js";
import { f32, of, within } from "../sample.js";
import type { ConvAttrs } from "./conv.js";
import { imageShape, windowPositions } from "./window-geometry.js";

interface Case {
  readonly attrs: ConvAttrs;
  readonly x: SampleOperand;
  readonly w: SampleOperand;
  /** An operand of the shape of the result. */
  readonly y: SampleOperand;
}

/** Samples of an op of which a case's operands are some, and attributes follow from it. */
export function convSamples<A extends Attrs>(
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
