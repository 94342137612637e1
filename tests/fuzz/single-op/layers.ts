/** Reductions, normalisations, recurrences, quantisation, sampling. */
import { tensorFrom } from "../../../ir/tensor.js";
import { constant, fed, float, type Generator, ints } from "./draw.js";

const reduce =
  (op: string): Generator =>
  (d) => {
    const positive = op.includes("Log");
    const shape = d.solid(1, 4, 5);
    const axes = d.axes(shape.length);
    const keepdims = d.int(0, 1);
    const x = fed(d.tensor("f32", shape, positive ? 0.1 : -2, 2));
    const since13 = op === "ReduceSum";
    if (since13 ? d.chance(0.3) : d.chance(0.5))
      return {
        op,
        opset: since13 ? 11 : d.pick([11, 13]),
        attrs: { keepdims, ...(axes.length > 0 ? { axes } : {}) },
        inputs: [x],
        outputs: 1,
      };
    const given = d.chance(0.8) ? [constant(ints(axes))] : [];
    return {
      op,
      opset: since13 ? d.pick([13, 18]) : 18,
      attrs: { keepdims, noop_with_empty_axes: d.int(0, 1) },
      inputs: [x, ...given],
      outputs: 1,
      tol: 1e-4,
    };
  };

const arg =
  (op: string): Generator =>
  (d) => {
    const shape = d.solid(1, 4);
    return {
      op,
      opset: d.pick([11, 12, 13]) === 11 ? 11 : 13,
      attrs: { axis: d.axis(shape.length), keepdims: d.int(0, 1) },
      inputs: [fed(d.tensor("i32", shape, -2, 2))],
      outputs: 1,
    };
  };

const along =
  (op: string, opsets: readonly number[]): Generator =>
  (d) => {
    const shape = d.solid(1, 4, 5);
    return {
      op,
      opset: d.pick(opsets),
      attrs: d.chance(0.8) ? { axis: d.axis(shape.length) } : {},
      inputs: [fed(d.tensor("f32", shape.length === 1 ? [shape[0]!, 2] : shape))],
      outputs: 1,
    };
  };

const layerNorm: Generator = (d) => {
  const shape = d.solid(1, 4, 5);
  const axis = d.axis(shape.length);
  const own = shape.slice(axis);
  return {
    op: "LayerNormalization",
    opset: 17,
    attrs: { axis, ...(d.chance(0.5) ? { epsilon: float(1e-3) } : {}) },
    inputs: [
      fed(d.tensor("f32", shape)),
      d.either(d.tensor("f32", own)),
      ...(d.chance(0.5) ? [d.either(d.tensor("f32", own))] : []),
    ],
    outputs: d.pick([1, 3]),
    tol: 1e-3,
  };
};

const channelNorm =
  (op: "InstanceNormalization" | "BatchNormalization"): Generator =>
  (d) => {
    const c = d.int(1, 4);
    const shape = [d.int(1, 3), c, ...Array.from({ length: d.int(1, 2) }, () => d.int(2, 5))];
    const vectors = (count: number) => Array.from({ length: count }, () => d.either(d.tensor("f32", [c], 0.2, 2)));
    const inputs = [fed(d.tensor("f32", shape)), ...vectors(op === "BatchNormalization" ? 4 : 2)];
    return {
      op,
      opset: op === "BatchNormalization" ? d.pick([9, 14, 15]) : 6,
      attrs: { epsilon: float(1e-3) },
      inputs,
      outputs: 1,
      tol: 1e-3,
    };
  };

const lrn: Generator = (d) => ({
  op: "LRN",
  opset: 13,
  attrs: { size: d.pick([1, 3, 5]), alpha: float(0.01), beta: float(0.6), bias: float(1.5) },
  inputs: [fed(d.tensor("f32", [d.int(1, 2), d.int(1, 6), d.int(1, 4), d.int(1, 4)]))],
  outputs: 1,
});

const lpNorm: Generator = (d) => {
  const shape = d.solid(1, 3);
  return {
    op: "LpNormalization",
    opset: 1,
    attrs: { axis: d.axis(shape.length), p: d.int(1, 2) },
    inputs: [fed(d.tensor("f32", shape, 0.1, 2))],
    outputs: 1,
  };
};

const quantizeLinear: Generator = (d) => {
  const shape = d.solid(2, 4);
  const axis = d.axis(shape.length);
  const perAxis = d.chance(0.5);
  const of = perAxis ? [shape.at(axis)!] : [];
  const dtype = d.pick(["u8", "i8"] as const);
  const scale = tensorFrom(
    "f32",
    of,
    Array.from({ length: perAxis ? of[0]! : 1 }, () => d.pick([0.25, 0.5, 0.125])),
  );
  return {
    op: "QuantizeLinear",
    opset: d.pick([13, 19]),
    attrs: { axis },
    inputs: [fed(d.tensor("f32", shape, -40, 40)), d.either(scale), d.either(d.tensor(dtype, of, -5, 5))],
    outputs: 1,
  };
};

const dequantizeLinear: Generator = (d) => {
  const shape = d.solid(2, 4);
  const axis = d.axis(shape.length);
  const of = d.chance(0.5) ? [shape.at(axis)!] : [];
  const dtype = d.pick(["u8", "i8", "i32"] as const);
  const zero = dtype === "i32" ? [] : [d.either(d.tensor(dtype, of, -5, 5))];
  return {
    op: "DequantizeLinear",
    opset: d.pick([13, 19]),
    attrs: { axis },
    inputs: [fed(d.tensor(dtype, shape, -100, 100)), d.either(d.tensor("f32", of, 0.1, 1)), ...zero],
    outputs: 1,
  };
};

const recurrent =
  (op: "LSTM" | "GRU" | "RNN"): Generator =>
  (d) => {
    const gates = { LSTM: 4, GRU: 3, RNN: 1 }[op];
    const direction = d.pick(["forward", "reverse", "bidirectional"]);
    const [dirs, S, B, I, H] = [
      direction === "bidirectional" ? 2 : 1,
      d.int(1, 4),
      d.int(1, 3),
      d.int(1, 4),
      d.int(1, 4),
    ];
    const maybe = (shape: readonly number[], p = 0.5) => (d.chance(p) ? fed(d.tensor("f32", shape, -1, 1)) : undefined);
    const lengths = d.chance(0.4) ? fed(d.tensor("i32", [B], 1, S)) : undefined;
    const state = maybe([dirs, B, H]);
    return {
      op,
      opset: d.pick([7, 14]),
      attrs: {
        hidden_size: H,
        direction,
        ...(op === "GRU" ? { linear_before_reset: d.int(0, 1) } : {}),
        ...(op === "LSTM" ? { input_forget: d.int(0, 1) } : {}),
        ...(d.chance(0.2) ? { clip: float(0.5) } : {}),
      },
      inputs: [
        fed(d.tensor("f32", [S, B, I])),
        d.either(d.tensor("f32", [dirs, gates * H, I], -1, 1)),
        d.either(d.tensor("f32", [dirs, gates * H, H], -1, 1)),
        maybe([dirs, 2 * gates * H]),
        lengths,
        state,
        ...(op === "LSTM" ? [state && fed(d.tensor("f32", [dirs, B, H], -1, 1)), maybe([dirs, 3 * H], 0.3)] : []),
      ],
      outputs: op === "LSTM" ? 3 : 2,
      tol: 1e-4,
    };
  };

const gridSample: Generator = (d) => ({
  op: "GridSample",
  opset: 16,
  attrs: {
    mode: d.pick(["bilinear", "nearest", "bicubic"]),
    padding_mode: d.pick(["zeros", "border", "reflection"]),
    align_corners: d.int(0, 1),
  },
  inputs: [
    fed(d.tensor("f32", [1, d.int(1, 2), d.int(2, 5), d.int(2, 5)])),
    fed(d.tensor("f32", [1, d.int(1, 3), d.int(1, 3), 2], -1.3, 1.3)),
  ],
  outputs: 1,
  tol: 1e-3,
});

const roiAlign: Generator = (d) => {
  const rois = d.int(0, 3);
  const corners = Array.from({ length: rois }, () => [d.next() * 10 - 4, d.next() * 10 - 4]).flatMap(([x, y]) => [
    x!,
    y!,
    x! + d.next() * 12,
    y! + d.next() * 12,
  ]);
  const opset = d.pick([10, 16]);
  return {
    op: "RoiAlign",
    opset,
    attrs: {
      output_height: d.int(1, 3),
      output_width: d.int(1, 3),
      sampling_ratio: d.pick([0, 0, 1, 2]),
      mode: d.pick(["avg", "max"]),
      ...(opset >= 16 ? { coordinate_transformation_mode: d.pick(["half_pixel", "output_half_pixel"]) } : {}),
    },
    inputs: [
      fed(d.tensor("f32", [2, d.int(1, 2), d.int(1, 6), d.int(1, 6)])),
      fed(tensorFrom("f32", [rois, 4], corners)),
      fed(d.tensor("i64", [rois], 0, 1)),
    ],
    outputs: 1,
    tol: 1e-4,
  };
};

const dft: Generator = (d) => {
  const complex = d.chance(0.5);
  const shape = [d.int(1, 3), d.int(2, 6), complex ? 2 : 1];
  return {
    op: "DFT",
    opset: 17,
    attrs: { axis: 1, inverse: complex ? d.int(0, 1) : 0, onesided: complex ? 0 : d.int(0, 1) },
    inputs: [fed(d.tensor("f32", shape))],
    outputs: 1,
    tol: 1e-4,
  };
};

export const layers: readonly Generator[] = [
  ...[
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSum",
    "ReduceLogSumExp",
  ].map(reduce),
  ...["ArgMax", "ArgMin"].map(arg),
  ...["Softmax", "LogSoftmax", "Hardmax"].map((op) => along(op, [11, 13])),
  layerNorm,
  channelNorm("InstanceNormalization"),
  channelNorm("BatchNormalization"),
  lrn,
  lpNorm,
  quantizeLinear,
  dequantizeLinear,
  recurrent("LSTM"),
  recurrent("GRU"),
  recurrent("RNN"),
  gridSample,
  roiAlign,
  dft,
];
