/** Convolutions and their adjoints. */

import { type Dim, dimAdd, dimFloorDiv, dimMul, dimSub } from "../../../../ir/dim.js";
import { type DType, isFloat } from "../../../../ir/dtype.js";
import { ModelError } from "../../../../ir/errors.js";
import type { Shape, Value } from "../../../../ir/graph.js";
import { spatialOf } from "../../../../ir/ops/window-geometry.js";
import { int, ints, type Ref } from "../draft.js";
import type { Emitter } from "../emitter.js";
import type { Node, Row, SomeRows } from "./row.js";
import { channelsFirst, firstShape, fromDoubles, inLayout, padded, statedPads, windowAttrs } from "./window.js";

/** Doubles hold every sum of products of integers of up to 16 bits. */
function productType(a: DType, b: DType, what: string): DType {
  if (isFloat(a)) return a;
  if (/(32|64)$/.test(a) || /(32|64)$/.test(b))
    throw new ModelError({ message: `ONNX has no ${what} of ${a} and ${b}`, hint: "cast to f32 or f64" });
  return "f64";
}

const isByte = (v: Value): boolean => /^[iu]8$/.test(v.type.dtype);
const kernelOf = (shape: Shape): readonly number[] => shape.slice(2) as readonly number[];

interface Bytes {
  readonly value: Value;
  readonly zero: Value | undefined;
}

/** What a repeated or reshaped value is made of. */
const source = (v: Value): Value =>
  v.def.op === "broadcast" || v.def.op === "reshape" ? source(v.def.operands[0]!) : v;

/** Bytes as i32, minus a zero point of their type (one, or one for each index of axis 0): what integer products are made of. */
function centredBytes(v: Value): Bytes | undefined {
  if (v.def.op === "cast" && v.type.dtype === "i32")
    return isByte(v.def.operands[0]!) ? { value: v.def.operands[0]!, zero: undefined } : undefined;
  if (v.def.op !== "sub") return undefined;
  const [wide, offset] = v.def.operands as [Value, Value];
  const bytes = wide.def.op === "cast" ? centredBytes(wide) : undefined;
  const narrow = source(offset);
  if (!bytes || narrow.def.op !== "cast") return undefined;
  const zero = narrow.def.operands[0]!;
  const single = zero.type.shape.every((d) => d === 1) && zero.type.shape.length <= 1;
  const perRow = zero.type.shape.length === 1 && zero.type.shape[0] === v.type.shape[0] && v.type.shape[0] !== 1;
  return zero.type.dtype === bytes.value.type.dtype && (single || perRow) ? { value: bytes.value, zero } : undefined;
}

/** ConvInteger of centred bytes; padding counts as the zero point on both sides. */
function integerConv(e: Emitter, node: Node<"conv">): Ref | undefined {
  const [x, w] = node.operands.map(centredBytes);
  const { attrs } = node;
  if (!x || !w || attrs.layout !== "channelsFirst" || !statedPads([...attrs.padLow, ...attrs.padHigh]))
    return undefined;
  if (x.zero && x.zero.type.shape[0] !== undefined && x.zero.type.shape[0] !== 1) return undefined;
  const none = (b: Bytes) => e.scalar(b.value.type.dtype, 0);
  const zeros = x.zero || w.zero ? [x.zero ? e.ref(x.zero) : none(x), w.zero && e.ref(w.zero)] : [];
  return e.op("ConvInteger", [e.ref(x.value), e.ref(w.value), ...zeros], {
    ...windowAttrs(kernelOf(w.value.type.shape), attrs, [...attrs.padLow, ...attrs.padHigh] as number[]),
    group: int(attrs.groups),
  });
}

const conv: Row<"conv"> = (e, node) => {
  const [x, w] = node.operands as [Value, Value];
  const { attrs } = node;
  const whole = integerConv(e, node);
  if (whole) return whole;
  const rank = x.type.shape.length;
  const to = node.results[0]!.type.dtype;
  const bytes = isByte(x) && isByte(w) && to === "i32";
  const through = bytes ? x.type.dtype : productType(x.type.dtype, w.type.dtype, "convolution");
  const typed = (v: Value) =>
    channelsFirst(e, bytes ? e.ref(v) : e.cast(e.ref(v), v.type.dtype, through), rank, attrs.layout);
  const image = padded(e, typed(x), attrs, () => e.scalar(through, 0));
  const kernel = kernelOf(firstShape(w.type.shape, attrs.layout));
  const y = e.op(bytes ? "ConvInteger" : "Conv", [image.x, typed(w)], {
    ...windowAttrs(kernel, attrs, image.pads),
    group: int(attrs.groups),
  });
  return inLayout(e, bytes ? y : fromDoubles(e, y, through, to), rank, attrs.layout);
};

/**
 * Paddings and output paddings that make ConvTranspose give exactly `size`; undefined where its attributes can't, since they are
 * numbers and an output padding stays below the stride.
 */
function exactSize(
  full: readonly Dim[],
  size: readonly Dim[],
  padLow: readonly Dim[],
  strides: readonly number[],
): { readonly pads: readonly number[]; readonly extra: readonly number[] } | undefined {
  const high: number[] = [];
  const extra: number[] = [];
  for (const [a, low] of padLow.entries()) {
    const missing = dimSub(size[a]!, dimSub(full[a]!, low));
    if (typeof low !== "number" || low < 0 || typeof missing !== "number" || missing >= strides[a]!) return undefined;
    high.push(Math.max(0, -missing));
    extra.push(Math.max(0, missing));
  }
  return { pads: [...(padLow as readonly number[]), ...high], extra };
}

/** ConvTranspose of dy [N, O, …] with w [O, C/groups, …k], as large as `size`. */
export function transposedConv(
  e: Emitter,
  dy: Ref,
  w: Ref,
  how: {
    readonly kernel: readonly number[];
    readonly spatial: readonly Dim[];
    readonly size: readonly Dim[];
    readonly strides: readonly number[];
    readonly dilations: readonly number[];
    readonly padLow: readonly Dim[];
    readonly groups: number;
    readonly dtype: DType;
  },
): Ref {
  const { kernel, spatial, size, strides, dilations, padLow, groups } = how;
  const full = spatial.map((d, a) => dimAdd(dimMul(dimSub(d, 1), strides[a]!), dilations[a]! * (kernel[a]! - 1) + 1));
  const exact = exactSize(full, size, padLow, strides);
  const attrs = {
    kernel_shape: ints(kernel),
    strides: ints(strides),
    dilations: ints(dilations),
    group: int(groups),
  };
  if (exact)
    return e.op("ConvTranspose", [dy, w], {
      ...attrs,
      pads: ints(exact.pads),
      ...(exact.extra.some((p) => p > 0) ? { output_padding: ints(exact.extra) } : {}),
    });
  // Every tap of every position, cut and filled up with zeros.
  const whole = e.op("ConvTranspose", [dy, w], attrs);
  const low = padLow.map((p) => dimSub(0, p));
  const high = size.map((d, a) => dimSub(d, dimSub(full[a]!, padLow[a]!)));
  return e.op("Pad", [whole, e.sizes.shape([0, 0, ...low, 0, 0, ...high]), e.scalar(how.dtype, 0)]);
}

const convInputGrad: Row<"convInputGrad"> = (e, node) => {
  const [dy, w] = node.operands as [Value, Value];
  const { attrs } = node;
  const rank = dy.type.shape.length;
  const to = node.results[0]!.type.dtype;
  const through = productType(dy.type.dtype, w.type.dtype, "transposed convolution");
  const typed = (v: Value) => channelsFirst(e, e.cast(e.ref(v), v.type.dtype, through), rank, attrs.layout);
  const y = transposedConv(e, typed(dy), typed(w), {
    ...attrs,
    kernel: kernelOf(firstShape(w.type.shape, attrs.layout)),
    spatial: spatialOf(dy.type.shape, attrs.layout),
    size: attrs.inputSize,
    dtype: through,
  });
  return inLayout(e, fromDoubles(e, y, through, to), rank, attrs.layout);
};

/**
 * Σ over batch and positions is a convolution with batch and channels exchanged, strides and dilations as well: x as
 * [C/groups, groups·N, …], dy as the kernel [O, N, …].
 */
const convWeightGrad: Row<"convWeightGrad"> = (e, node) => {
  const [x, dy] = node.operands as [Value, Value];
  const { layout, groups, strides, dilations, kernelSize } = node.attrs;
  const rank = x.type.shape.length;
  const to = node.results[0]!.type.dtype;
  const through = productType(x.type.dtype, dy.type.dtype, "convolution");
  const typed = (v: Value) => channelsFirst(e, e.cast(e.ref(v), v.type.dtype, through), rank, layout);
  const [n, c, ...spatial] = firstShape(x.type.shape, layout) as [Dim, Dim, ...Dim[]];
  const each = dimFloorDiv(c, groups);
  const tail = spatial.map((_, a) => a + 3);
  const apart = e.transpose(e.reshape(typed(x), [n, groups, each, ...spatial]), [2, 1, 0, ...tail]);
  const image = padded(e, e.reshape(apart, [each, dimMul(n, groups), ...spatial]), node.attrs, () =>
    e.scalar(through, 0),
  );
  const kernel = e.transpose(typed(dy), [1, 0, ...spatial.map((_, a) => a + 2)]);
  const y = e.op("Conv", [image.x, kernel], {
    strides: ints(dilations),
    dilations: ints(strides),
    pads: ints(image.pads),
    group: int(groups),
  });
  // Positions that the stride never reached give taps beyond the kernel.
  const axes = kernelSize.map((_, a) => a + 2);
  const cut = e.op("Slice", [y, e.ints(axes.map(() => 0)), e.ints(kernelSize), e.ints(axes)]);
  const swapped = e.transpose(cut, [1, 0, ...axes]);
  return inLayout(e, fromDoubles(e, swapped, through, to), rank, layout);
};

export const convolution = { conv, convInputGrad, convWeightGrad } satisfies SomeRows;
