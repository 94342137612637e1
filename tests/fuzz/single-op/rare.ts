/** Ops that few models have: losses, windows, quantised products, selections, positions. */
import { elementCount, tensorFrom } from "../../../ir/tensor.js";
import { constant, type Draw, fed, float, type Generator, ints, type SingleOp } from "./draw.js";

const plain = (
  op: string,
  opset: number,
  inputs: SingleOp["inputs"],
  attrs: SingleOp["attrs"] = {},
  outputs = 1,
  tol = 1e-4,
): SingleOp => ({
  op,
  opset,
  attrs,
  inputs,
  outputs,
  tol,
});

const loss: Generator = (d) => {
  const [n, c] = [d.int(1, 4), d.int(1, 5)];
  const rest = d.chance(0.5) ? [] : [d.int(1, 3)];
  const cross = d.chance(0.5);
  const targets = d.tensor("i64", [n, ...rest], 0, c - 1);
  const weights = d.chance(0.5) ? [fed(d.tensor("f32", [c], 0.1, 1))] : [];
  const attrs = {
    reduction: d.pick(["none", "sum", "mean"]),
    ...(d.chance(0.4) ? { ignore_index: d.int(0, c - 1) } : {}),
  };
  const op = cross ? "SoftmaxCrossEntropyLoss" : "NegativeLogLikelihoodLoss";
  return plain(
    op,
    d.pick([12, 13]),
    [fed(d.tensor("f32", [n, c, ...rest])), fed(targets), ...weights],
    attrs,
    cross && d.chance(0.3) ? 2 : 1,
  );
};

const window =
  (op: string): Generator =>
  (d) =>
    plain(op, 17, [constant(tensorFrom("i64", [], [d.int(2, 12)]))], { periodic: d.int(0, 1) });

const stft: Generator = (d) => {
  const frame = d.int(2, 6);
  const signal = fed(d.tensor("f32", [d.int(1, 2), frame + d.int(0, 12), 1]));
  const step = constant(tensorFrom("i64", [], [d.int(1, 4)]));
  const shape = d.chance(0.6)
    ? [d.either(d.tensor("f32", [frame]))]
    : [undefined, constant(tensorFrom("i64", [], [frame]))];
  return plain("STFT", 17, [signal, step, ...shape], { onesided: d.int(0, 1) });
};

const mel: Generator = (d) => {
  const scalars = [d.int(2, 6), 2 * d.int(4, 16), 8000].map((v) => constant(tensorFrom("i64", [], [v])));
  const edges = [100, 3500].map((v) => constant(tensorFrom("f32", [], [v])));
  return plain("MelWeightMatrix", 17, [...scalars, ...edges]);
};

const groupNorm: Generator = (d) => {
  const groups = d.int(1, 3);
  const c = groups * d.int(1, 3);
  return plain(
    "GroupNormalization",
    21,
    [
      fed(d.tensor("f32", [d.int(1, 2), c, d.int(1, 4), d.int(1, 4)])),
      ...[0, 1].map(() => d.either(d.tensor("f32", [c]))),
    ],
    { num_groups: groups },
    1,
    1e-3,
  );
};

const rmsNorm: Generator = (d) => {
  const shape = d.solid(1, 4, 5);
  const axis = d.axis(shape.length);
  return plain("RMSNormalization", 23, [fed(d.tensor("f32", shape)), d.either(d.tensor("f32", shape.slice(axis)))], {
    axis,
  });
};

const meanVariance: Generator = (d) =>
  plain(
    "MeanVarianceNormalization",
    d.pick([9, 13]),
    [fed(d.tensor("f32", [2, d.int(1, 3), d.int(2, 4), d.int(2, 4)]))],
    d.chance(0.5) ? { axes: [0, 2, 3] } : { axes: [1, 2, 3] },
    1,
    1e-3,
  );

const byte = (d: Draw, dtype: "u8" | "i8", shape: readonly number[]) =>
  d.tensor(dtype, shape, dtype === "u8" ? 0 : -128, dtype === "u8" ? 255 : 127);
const scale = (d: Draw, shape: readonly number[] = []) => d.either(d.tensor("f32", shape, 0.01, 0.03));

/** Rounding may fall one step to either side. */
const STEP = 1.01;

const qLinearConv: Generator = (d) => {
  const kernel = [d.int(1, 3), d.int(1, 3)];
  const group = d.int(1, 2);
  const [c, o] = [group * d.int(1, 2), group * d.int(1, 3)];
  const [tx, tw] = [d.pick(["u8", "i8"] as const), "i8" as const];
  const zero = (t: "u8" | "i8") => d.either(d.tensor(t, [], 0, 9));
  const inputs = [
    fed(byte(d, tx, [1, c, kernel[0]! + 3, kernel[1]! + 2])),
    scale(d),
    zero(tx),
    d.either(byte(d, tw, [o, c / group, ...kernel])),
    scale(d, d.chance(0.5) ? [o] : []),
    constant(tensorFrom(tw, [], [0])),
    d.either(d.tensor("f32", [], 0.2, 0.6)),
    zero(tx),
  ];
  const bias = d.chance(0.5) ? [constant(d.tensor("i32", [o], -900, 900))] : [];
  return plain(
    "QLinearConv",
    10,
    [...inputs, ...bias],
    { group, pads: [...kernel, ...kernel].map((k) => d.int(0, k - 1)) },
    1,
    STEP,
  );
};

const qLinearMatMul: Generator = (d) => {
  const [m, k, n] = [d.int(1, 5), d.int(1, 20), d.int(1, 9)];
  const t = d.pick(["u8", "i8"] as const);
  const zero = () => d.either(d.tensor(t, [], 0, 9));
  return plain(
    "QLinearMatMul",
    d.pick([10, 21]),
    [
      fed(byte(d, t, [m, k])),
      scale(d),
      zero(),
      d.either(byte(d, t, [k, n])),
      scale(d),
      zero(),
      d.either(d.tensor("f32", [], 0.2, 0.6)),
      zero(),
    ],
    {},
    1,
    STEP,
  );
};

const convInteger: Generator = (d) => {
  const kernel = [d.int(1, 3), d.int(1, 3)];
  const zeros = d.chance(0.6)
    ? [d.either(d.tensor("u8", [], 0, 9)), ...(d.chance(0.5) ? [d.either(d.tensor("u8", [], 0, 9))] : [])]
    : [];
  return plain(
    "ConvInteger",
    10,
    [fed(byte(d, "u8", [1, 2, kernel[0]! + 2, kernel[1]! + 3])), d.either(byte(d, "u8", [3, 2, ...kernel])), ...zeros],
    { pads: [...kernel, ...kernel].map((k) => d.int(0, k - 1)) },
  );
};

const dynamicQuantize: Generator = (d) =>
  plain("DynamicQuantizeLinear", 11, [fed(d.tensor("f32", d.solid(1, 3)))], {}, 3, STEP);

const det: Generator = (d) => {
  const n = d.int(1, 5);
  return plain("Det", d.pick([11, 22]), [fed(d.tensor("f32", [...d.shape(0, 2, 3), n, n]))], {}, 1, 1e-3);
};

const col2im: Generator = (d) => {
  const block = [d.int(1, 3), d.int(1, 3)];
  const image = block.map((b) => b + d.int(0, 4));
  const strides = [d.int(1, 2), d.int(1, 2)];
  const positions = image.reduce((p, s, a) => p * (Math.floor((s - block[a]!) / strides[a]!) + 1), 1);
  const x = d.tensor("f32", [d.int(1, 2), d.int(1, 2) * block[0]! * block[1]!, positions]);
  return plain("Col2Im", 18, [fed(x), constant(ints(image)), constant(ints(block))], { strides });
};

const affineGrid: Generator = (d) => {
  const spatial = Array.from({ length: d.int(2, 3) }, () => d.int(2, 4));
  const n = d.int(1, 2);
  return plain(
    "AffineGrid",
    20,
    [fed(d.tensor("f32", [n, spatial.length, spatial.length + 1])), constant(ints([n, 1, ...spatial]))],
    { align_corners: d.int(0, 1) },
  );
};

const maxUnpool: Generator = (d) => {
  const [h, w] = [d.int(1, 3), d.int(1, 3)];
  const indices = Array.from(
    { length: h * w },
    (_, i) => (2 * Math.floor(i / w) + d.int(0, 1)) * 2 * w + 2 * (i % w) + d.int(0, 1),
  );
  return plain(
    "MaxUnpool",
    d.pick([9, 11]),
    [fed(d.tensor("f32", [1, 1, h, w])), fed(tensorFrom("i64", [1, 1, h, w], indices))],
    { kernel_shape: [2, 2], strides: [2, 2] },
  );
};

const centerCropPad: Generator = (d) => {
  const shape = d.solid(1, 3);
  return plain("CenterCropPad", 18, [fed(d.tensor("f32", shape)), constant(ints(shape.map(() => d.int(1, 7))))]);
};

const castLike: Generator = (d) =>
  plain("CastLike", d.pick([15, 19]), [
    fed(d.tensor(d.pick(["f32", "i32", "i64", "u8"]), d.shape(0, 3), 0, 9)),
    d.either(d.tensor(d.pick(["f32", "i32", "i64", "u8", "f64"]), [1], 0, 9)),
  ]);

const constantOfShape: Generator = (d) => {
  const value = { type: 4, t: { dims: [1], dataType: 7, int64Data: [BigInt(d.int(-5, 5))] } };
  return plain("ConstantOfShape", d.pick([9, 20]), [d.either(ints(d.shape(0, 3)))], d.chance(0.6) ? { value } : {});
};

const nonMaxSuppression: Generator = (d) => {
  const [batches, classes, boxes] = [d.int(1, 2), d.int(1, 2), d.int(1, 6)];
  const corners = Array.from({ length: batches * boxes }, () => [d.next() * 4, d.next() * 4]).flatMap(([y, x]) => [
    y!,
    x!,
    y! + 0.5 + d.next() * 3,
    x! + 0.5 + d.next() * 3,
  ]);
  const limits = [
    d.either(tensorFrom("i64", [1], [d.int(1, 4)])),
    d.either(d.tensor("f32", [1], 0.2, 0.8)),
    ...(d.chance(0.6) ? [d.either(d.tensor("f32", [1], 0, 0.5))] : []),
  ];
  return plain(
    "NonMaxSuppression",
    d.pick([10, 11]),
    [
      fed(tensorFrom("f32", [batches, boxes, 4], corners)),
      fed(d.tensor("f32", [batches, classes, boxes], 0, 1)),
      ...limits,
    ],
    { center_point_box: d.int(0, 1) },
  );
};

const upsample: Generator = (d) =>
  plain(
    "Upsample",
    9,
    [
      fed(d.tensor("f32", [1, d.int(1, 2), d.int(1, 5), d.int(1, 5)])),
      constant(tensorFrom("f32", [4], [1, 1, d.pick([1, 2, 1.5, 2.3]), d.pick([1, 2, 1.3, 3])])),
    ],
    { mode: d.pick(["nearest", "linear"]) },
  );

const unaryInts: Generator = (d) =>
  d.chance(0.5)
    ? plain("BitwiseNot", 18, [fed(d.tensor(d.pick(["i32", "u8", "i64"]), d.shape(0, 3), -9, 9))])
    : plain("Not", 1, [fed(d.tensor("bool", d.shape(0, 3)))]);

const attention: Generator = (d) => {
  const [batch, heads, kv] = [d.int(1, 2), d.pick([2, 4]), d.pick([1, 2])];
  const [rows, keys, size, width] = [d.int(1, 4), d.int(1, 5), d.int(1, 4), d.int(1, 4)];
  const causal = d.int(0, 1);
  const mask = d.chance(0.4) ? [d.either(d.tensor(d.pick(["bool", "f32"]), [rows, keys]))] : [];
  const first = mask[0]?.tensor;
  // A row without any key has no softmax.
  if (first?.dtype === "bool") for (let r = 0; r < rows; r++) (first.data as Uint8Array)[r * keys] = 1;
  const attrs = {
    is_causal: causal,
    ...(d.chance(0.3) ? { softcap: float(1.5) } : {}),
    ...(d.chance(0.3) ? { scale: float(0.3) } : {}),
  };
  return plain(
    "Attention",
    23,
    [
      fed(d.tensor("f32", [batch, heads, rows, size])),
      fed(d.tensor("f32", [batch, kv, keys, size])),
      fed(d.tensor("f32", [batch, kv, keys, width])),
      ...mask,
    ],
    attrs,
  );
};

const rotary: Generator = (d) => {
  const [batch, heads, rows, size] = [d.int(1, 2), d.int(1, 3), d.int(1, 4), 2 * d.int(1, 4)];
  const cache = () => fed(d.tensor("f32", [8, size / 2]));
  const positions = fed(d.tensor("i64", [batch, rows], 0, 7));
  return plain("RotaryEmbedding", 23, [fed(d.tensor("f32", [batch, heads, rows, size])), cache(), cache(), positions], {
    interleaved: d.int(0, 1),
  });
};

const deformConv: Generator = (d) => {
  const kernel = [d.int(1, 2), d.int(1, 3)];
  const [h, w] = [kernel[0]! + 2, kernel[1]! + 1];
  const [rows, columns] = [h - kernel[0]! + 1, w - kernel[1]! + 1];
  const taps = kernel[0]! * kernel[1]!;
  const mask = d.chance(0.5) ? [undefined, fed(d.tensor("f32", [1, taps, rows, columns], 0, 1))] : [];
  return plain(
    "DeformConv",
    19,
    [
      fed(d.tensor("f32", [1, 2, h, w])),
      d.either(d.tensor("f32", [2, 2, ...kernel])),
      fed(d.tensor("f32", [1, 2 * taps, rows, columns], -1, 1)),
      ...mask,
    ],
    { pads: [0, 0, 0, 0] },
    1,
    1e-3,
  );
};

const identity: Generator = (d) => {
  const shape = d.shape(0, 3);
  const op = d.pick(["Identity", "Size", "Dropout"]);
  return plain(op, 13, [
    fed(d.tensor(op === "Dropout" ? "f32" : d.pick(["f32", "i64", "bool"]), shape, 0, Math.max(1, elementCount([2])))),
  ]);
};

export const rare: readonly Generator[] = [
  loss,
  window("HannWindow"),
  window("HammingWindow"),
  window("BlackmanWindow"),
  stft,
  mel,
  groupNorm,
  rmsNorm,
  meanVariance,
  qLinearConv,
  qLinearMatMul,
  convInteger,
  dynamicQuantize,
  det,
  col2im,
  affineGrid,
  maxUnpool,
  centerCropPad,
  castLike,
  constantOfShape,
  nonMaxSuppression,
  upsample,
  unaryInts,
  attention,
  rotary,
  deformConv,
  identity,
];
