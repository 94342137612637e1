/** Attributes and forms that exporters rarely write, of ops that every model has. */
import { tensorFrom } from "../../../ir/tensor.js";
import { constant, type Draw, fed, float, floats, type Generator, ints, type SingleOp } from "./draw.js";

const made = (
  op: string,
  opset: number,
  inputs: SingleOp["inputs"],
  attrs: SingleOp["attrs"],
  tol = 1e-4,
  outputs = 1,
): SingleOp => ({ op, opset, attrs, inputs, outputs, tol });

const COORDINATES = [
  "half_pixel",
  "pytorch_half_pixel",
  "align_corners",
  "asymmetric",
  "half_pixel_symmetric",
] as const;

const resizeSome: Generator = (d) => {
  const shape = [1, 1, d.int(2, 7), d.int(2, 7)];
  const axes = d.pick([[2, 3], [-2, -1], [3, 2], [3]] as const);
  const x = fed(d.tensor("f32", shape));
  const mode = d.pick(["nearest", "linear", "cubic"]);
  const common = { mode, coordinate_transformation_mode: d.pick(COORDINATES), axes: [...axes] };
  const p = d.next();
  if (p < 0.35) {
    const sizes = constant(ints(axes.map(() => d.int(1, 9))));
    return made("Resize", d.pick([18, 19]), [x, undefined, undefined, sizes], {
      ...common,
      keep_aspect_ratio_policy: d.pick(["stretch", "not_larger", "not_smaller"]),
    });
  }
  const scales = constant(
    tensorFrom(
      "f32",
      [axes.length],
      axes.map(() => d.pick([0.5, 0.7, 1.3, 2])),
    ),
  );
  if (p < 0.6 && mode !== "nearest")
    return made("Resize", 19, [x, undefined, scales], { ...common, antialias: 1 }, 1e-3);
  return made("Resize", 19, [x, undefined, scales], common);
};

const resizeCrop: Generator = (d) => {
  const shape = [1, 1, d.int(2, 6), d.int(2, 6)];
  const edge = () => d.next() * 0.6 - 0.2;
  const [y, x] = [edge(), edge()];
  const roi = constant(tensorFrom("f32", [8], [0, 0, y, x, 1, 1, y + 0.7, x + 0.7]));
  const attrs = {
    mode: d.pick(["nearest", "linear"]),
    coordinate_transformation_mode: "tf_crop_and_resize",
    extrapolation_value: float(-2),
  };
  return made(
    "Resize",
    d.pick([11, 13, 19]),
    [fed(d.tensor("f32", shape)), roi, undefined, constant(ints([1, 1, d.int(1, 6), d.int(1, 6)]))],
    attrs,
  );
};

const dft20: Generator = (d) => {
  const complex = d.chance(0.5);
  const shape = [d.int(1, 3), d.int(2, 6), d.int(2, 5), complex ? 2 : 1];
  const axis = d.pick([0, 1, 2, -2, -3]);
  const size = shape[axis < 0 ? axis + 4 : axis]!;
  const length = d.chance(0.5) ? constant(tensorFrom("i64", [], [Math.max(1, size + d.int(-2, 3))])) : undefined;
  return made("DFT", 20, [fed(d.tensor("f32", shape)), length, constant(tensorFrom("i64", [], [axis]))], {
    inverse: complex ? d.int(0, 1) : 0,
    onesided: complex ? 0 : d.int(0, 1),
  });
};

const padSome: Generator = (d) => {
  const shape = d.solid(2, 3, 6);
  const axes = d.chance(0.5) ? [0, -1] : [1];
  const mode = d.pick(["constant", "edge", "reflect"]);
  const size = (a: number) => shape.at(a)!;
  const amounts = [0, 1].flatMap(() =>
    axes.map((a) => (mode === "reflect" ? d.int(0, Math.min(2, size(a) - 1)) : d.int(mode === "constant" ? -1 : 0, 2))),
  );
  const dtype = d.pick(["f32", "i64", "i32", "u8", "f64"] as const);
  const solid = shape.map((s) => Math.max(s, 3));
  return made(
    "Pad",
    d.pick([18, 19, 21]),
    [fed(d.tensor(dtype, solid, 0, 9)), constant(ints(amounts)), undefined, constant(ints(axes))],
    { mode },
  );
};

const argTies =
  (op: string): Generator =>
  (d) => {
    const shape = d.solid(1, 3);
    return made(op, d.pick([12, 13]), [fed(d.tensor(d.pick(["f32", "i32", "u8"]), shape, 0, 2))], {
      axis: d.axis(shape.length),
      keepdims: d.int(0, 1),
      select_last_index: d.int(0, 1),
    });
  };

const topKTies: Generator = (d) => {
  const shape = d.solid(1, 3, 9);
  const axis = d.axis(shape.length);
  return made(
    "TopK",
    11,
    [fed(d.tensor(d.pick(["f32", "i64", "i32", "f64"]), shape, -3, 3)), constant(ints([d.int(1, shape.at(axis)!)]))],
    { axis, largest: d.int(0, 1) },
    1e-4,
    2,
  );
};

const signed: Generator = (d) => {
  const dtype = d.pick(["i32", "i64", "i8"] as const);
  const shape = d.shape(0, 3);
  const by = d.tensor(dtype, d.beside(shape), 1, 5);
  const flipped = {
    ...by,
    data: by.data.map(((v: number | bigint) => (d.chance(0.5) ? -v : v)) as never),
  } as typeof by;
  const op = dtype === "i8" ? "Mod" : d.pick(["Div", "Mod"]);
  return made(
    op,
    13,
    [fed(d.tensor(dtype, shape, -20, 20)), d.either(flipped)],
    op === "Mod" ? { fmod: d.int(0, 1) } : {},
  );
};

const intMath: Generator = (d) => {
  const op = d.pick([
    "Abs",
    "Neg",
    "Sign",
    "Relu",
    "Max",
    "Min",
    "ReduceMax",
    "ReduceMin",
    "ReduceSum",
    "ReduceProd",
    "CumSum",
  ]);
  const dtype = d.pick(["i32", "i64", "f64"] as const);
  const shape = d.solid(1, 3, 4);
  const x = fed(d.tensor(dtype, shape, -3, 3));
  if (op === "Max" || op === "Min") return made(op, 13, [x, d.either(d.tensor(dtype, d.beside(shape), -3, 3))], {});
  if (op === "CumSum")
    return made(op, 14, [x, constant(tensorFrom("i32", [], [d.axis(shape.length)]))], {
      exclusive: d.int(0, 1),
      reverse: d.int(0, 1),
    });
  if (op.startsWith("Reduce"))
    return made(op, op === "ReduceSum" ? 13 : 18, [x, constant(ints(d.axes(shape.length)))], { keepdims: d.int(0, 1) });
  return made(op, op === "Relu" ? 14 : 13, [x], {});
};

const special: Generator = (d) => {
  const x = d.tensor("f32", d.solid(1, 2, 6));
  const odd = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0.5, -0.5, 1.5, 2.5, 1e-40, 3e38];
  for (let i = 0; i < x.data.length; i++) if (d.chance(0.5)) (x.data as Float32Array)[i] = d.pick(odd);
  const op = d.pick([
    "Abs",
    "Ceil",
    "Floor",
    "Round",
    "Exp",
    "Sqrt",
    "Sigmoid",
    "Tanh",
    "Erf",
    "Reciprocal",
    "Softplus",
    "Softsign",
    "Neg",
    "Log",
    "Elu",
    "HardSigmoid",
    "LeakyRelu",
  ]);
  return made(
    op,
    op === "Round"
      ? 11
      : op === "Elu" || op === "HardSigmoid" || op === "Softplus" || op === "Softsign"
        ? 6
        : op === "LeakyRelu"
          ? 16
          : 13,
    [fed(x)],
    {},
  );
};

const quantizeTies: Generator = (d) => {
  const values = Array.from({ length: 12 }, () => d.int(-40, 40) / 2);
  const dtype = d.pick(["u8", "i8"] as const);
  return made(
    "QuantizeLinear",
    d.pick([10, 13]),
    [
      fed(tensorFrom("f32", [3, 4], values)),
      constant(tensorFrom("f32", [], [d.pick([1, 0.5, 0.25])])),
      constant(d.tensor(dtype, [], 0, 9)),
    ],
    {},
  );
};

const recurrentForms: Generator = (d) => {
  const op = d.pick(["LSTM", "GRU", "RNN"]);
  const gates = { LSTM: 4, GRU: 3, RNN: 1 }[op];
  const names = { LSTM: 3, GRU: 2, RNN: 1 }[op];
  const [dirs, S, B, I, H] = [d.int(1, 2), d.int(1, 3), d.int(1, 2), d.int(1, 3), d.int(1, 3)];
  const all = ["Sigmoid", "Tanh", "Relu", "HardSigmoid", "Softsign", "Elu", "LeakyRelu", "ScaledTanh"] as const;
  const activations = Array.from({ length: names * dirs }, () => d.pick(all));
  const takesAlpha = activations.filter((a) => ["HardSigmoid", "Elu", "LeakyRelu", "ScaledTanh"].includes(a)).length;
  const takesBeta = activations.filter((a) => ["HardSigmoid", "ScaledTanh"].includes(a)).length;
  const attrs = {
    hidden_size: H,
    direction: dirs === 2 ? "bidirectional" : d.pick(["forward", "reverse"]),
    activations: { type: 8, strings: activations.map((a) => new TextEncoder().encode(a)) },
    activation_alpha: floats(Array.from({ length: takesAlpha }, () => 0.5)),
    activation_beta: floats(Array.from({ length: takesBeta }, () => 0.5)),
  };
  const weights = [
    fed(d.tensor("f32", [S, B, I])),
    fed(d.tensor("f32", [dirs, gates * H, I], -1, 1)),
    fed(d.tensor("f32", [dirs, gates * H, H], -1, 1)),
  ];
  return made(op, 14, weights, attrs, 1e-4, op === "LSTM" ? 3 : 2);
};

const conv3: Generator = (d) => {
  const kernel = [d.int(1, 2), d.int(1, 3), d.int(1, 2)];
  const attrs = { auto_pad: d.pick(["SAME_UPPER", "SAME_LOWER", "VALID"]), strides: kernel.map(() => d.int(1, 2)) };
  return made(
    "Conv",
    11,
    [fed(d.tensor("f32", [1, 2, ...kernel.map((k) => k + d.int(0, 3))])), d.either(d.tensor("f32", [2, 2, ...kernel]))],
    attrs,
  );
};

const gridVolume: Generator = (d) => {
  const inputs = [
    fed(d.tensor("f32", [1, 1, d.int(2, 3), d.int(2, 4), d.int(2, 3)])),
    fed(d.tensor("f32", [1, 2, 2, d.int(1, 2), 3], -1.3, 1.3)),
  ];
  return made(
    "GridSample",
    20,
    inputs,
    {
      mode: d.pick(["linear", "nearest"]),
      padding_mode: d.pick(["zeros", "border", "reflection"]),
      align_corners: d.int(0, 1),
    },
    1e-3,
  );
};

const splitUneven: Generator = (d) => {
  const size = d.int(3, 9);
  const count = d.int(2, 3);
  return made(
    "Split",
    18,
    [fed(d.tensor(d.pick(["f32", "i64", "u8"]), [size, 2], 0, 9))],
    { axis: d.pick([0, -2]), num_outputs: count },
    1e-4,
    count,
  );
};

const blockwise: Generator = (d) => {
  const [rows, blocks, size] = [d.int(1, 3), d.int(1, 3), 2];
  const x = d.tensor(d.pick(["u8", "i8"]), [rows, blocks * size], 0, 100);
  return made(
    "DequantizeLinear",
    21,
    [
      fed(x),
      d.either(d.tensor("f32", [rows, blocks], 0.1, 1)),
      ...(d.chance(0.5) ? [d.either(d.tensor(x.dtype, [rows, blocks], 0, 9))] : []),
    ],
    { axis: 1, block_size: size },
  );
};

const batchTraining: Generator = (d) => {
  const c = d.int(1, 3);
  const vectors = Array.from({ length: 4 }, () => fed(d.tensor("f32", [c], 0.2, 2)));
  return made(
    "BatchNormalization",
    d.pick([14, 15]),
    [fed(d.tensor("f32", [2, c, d.int(2, 4), 2])), ...vectors],
    { training_mode: 1, momentum: float(0.7), epsilon: float(1e-3) },
    1e-3,
    3,
  );
};

const lengthsOfRows: Generator = (d: Draw) => {
  const shape = d.shape(1, 3, 4);
  return made("ReduceSum", 13, [fed(d.tensor("f32", shape))], {
    keepdims: d.int(0, 1),
    noop_with_empty_axes: d.int(0, 1),
  });
};

export const attributes: readonly Generator[] = [
  resizeSome,
  resizeSome,
  resizeCrop,
  dft20,
  padSome,
  argTies("ArgMax"),
  argTies("ArgMin"),
  topKTies,
  signed,
  intMath,
  special,
  quantizeTies,
  recurrentForms,
  conv3,
  gridVolume,
  splitUneven,
  blockwise,
  batchTraining,
  lengthsOfRows,
];
