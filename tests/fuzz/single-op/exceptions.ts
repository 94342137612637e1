/** Where ONNX Runtime is not what ONNX defines: what it gives there is not compared. */
import type { SingleOp } from "./draw.js";

interface Exception {
  readonly op: string;
  readonly when: (single: SingleOp) => boolean;
  readonly why: string;
}

/** Sizes of the result along the axes that a Resize names, where its scales or sizes are constants. */
function resizedAxes({ inputs, attrs }: SingleOp): readonly { readonly from: number; readonly to: number }[] {
  const shape = inputs[0]!.tensor.shape;
  const axes = (attrs.axes as readonly number[] | undefined) ?? shape.map((_, i) => i);
  const scales = inputs[2] ?? (inputs.length === 2 ? inputs[1] : undefined);
  return axes.map((axis, i) => {
    const from = shape.at(axis)!;
    const to = scales
      ? Math.floor(Math.fround(from * Number(scales.tensor.data[i])))
      : Number(inputs[3]!.tensor.data[i]);
    return { from, to };
  });
}

export const EXCEPTIONS: readonly Exception[] = [
  {
    op: "ConvTranspose",
    when: ({ attrs }) => String(attrs.auto_pad).startsWith("SAME"),
    why: "the result of SAME has stride times the input's size; where windows leave gaps, ONNX Runtime gives what they reach",
  },
  ...["MaxPool", "AveragePool", "LpPool"].map((op) => ({
    op,
    when: ({ attrs }: SingleOp) =>
      String(attrs.auto_pad).startsWith("SAME") &&
      ((attrs.dilations as readonly number[] | undefined) ?? []).some((d) => d > 1),
    why: "the result of SAME has the input's size over the stride, rounded up; ONNX Runtime pads as if the window were not dilated",
  })),
  {
    op: "Gemm",
    when: ({ inputs, attrs }) => inputs[0]!.tensor.shape[attrs.transA === 1 ? 0 : 1] === 0,
    why: "without inner elements the product is 0 and β·C remains; ONNX Runtime then leaves out β",
  },
  {
    op: "LSTM",
    when: ({ attrs }) => attrs.clip !== undefined,
    why: "clip bounds what goes into each activation; ONNX Runtime does not bound the cell before the last one",
  },
  {
    op: "Slice",
    when: ({ inputs: [, , ends, , steps] }) =>
      [...(steps?.tensor.data ?? [])].some(
        (step, i) => Number(step) < 0 && Number(ends!.tensor.data[i]) >= 2 ** 31 - 1,
      ),
    why: "an end of 2³¹ − 1 is behind every element, so that steps backwards reach none; ONNX Runtime takes it as before the first",
  },
  {
    op: "Squeeze",
    when: ({ inputs, attrs }) =>
      inputs[1]?.tensor.data.length === 0 || (attrs.axes as readonly number[] | undefined)?.length === 0,
    why: "axes that are there and empty name none, in ONNX's shape inference and in NumPy; ONNX Runtime then squeezes all axes of size 1",
  },
  {
    op: "Resize",
    when: (single) => {
      const stays = resizedAxes(single).map(({ from, to }) => from === to);
      // With antialiasing it does so axis by axis.
      return single.attrs.antialias === 1 ? stays.includes(true) : !stays.includes(false);
    },
    why: "a scale that leaves the size as it is still moves the samples; ONNX Runtime copies the input",
  },
  {
    op: "Resize",
    when: (single) =>
      single.attrs.coordinate_transformation_mode === "tf_crop_and_resize" &&
      resizedAxes(single).some(({ from, to }) => from === to),
    why: "a region is cut out along each axis; ONNX Runtime leaves an axis whole whose size stays the same",
  },
  {
    op: "Resize",
    when: ({ attrs }) =>
      attrs.keep_aspect_ratio_policy !== undefined &&
      attrs.keep_aspect_ratio_policy !== "stretch" &&
      (attrs.axes as readonly number[]).some((axis) => axis < 0),
    why: "negative axes count from the end; ONNX Runtime forgets that where it keeps the aspect ratio, and copies the input",
  },
];

/** The reason why ONNX Runtime's result does not count, if there is one. */
export const excused = (single: SingleOp): string | undefined =>
  EXCEPTIONS.find(({ op, when }) => op === single.op && when(single))?.why;
