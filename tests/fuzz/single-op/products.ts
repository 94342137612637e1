import { constant, type Draw, fed, float, type Generator } from "./draw.js";

const matmul: Generator = (d) => {
  const [m, k, n] = [d.dim(), d.dim(), d.dim()];
  const batch = d.shape(0, 2, 3);
  const dtype = d.pick(["f32", "f32", "f64", "i32"] as const);
  const a = d.chance(0.1) ? [k] : [...batch, m, k];
  const b = d.chance(0.1) ? [k] : [...d.beside(batch), k, n];
  return {
    op: "MatMul",
    opset: d.pick([9, 13]),
    attrs: {},
    inputs: [fed(d.tensor(dtype, a)), d.either(d.tensor(dtype, b))],
    outputs: 1,
  };
};

const gemm: Generator = (d) => {
  // Some long enough for the forms that large products take.
  const most = d.chance(0.2) ? 150 : 6;
  const [m, k, n] = [d.dim(most), d.dim(most), d.dim(most)];
  const [ta, tb] = [d.int(0, 1), d.int(0, 1)];
  const bias = d.chance(0.7) ? [d.either(d.tensor("f32", d.pick([[m, n], [n], [1, n], [m, 1], [1], []])))] : [];
  return {
    op: "Gemm",
    opset: d.pick([7, 9, 11, 13]),
    attrs: { transA: ta, transB: tb, alpha: float(d.pick([1, 0.5])), beta: float(d.pick([1, 0.25, 0])) },
    inputs: [
      fed(d.tensor("f32", ta ? [k, m] : [m, k])),
      d.either(d.tensor("f32", tb ? [n, k] : [k, n])),
      ...(bias.length > 0 ? bias : [constant(d.tensor("f32", [n]))]),
    ],
    outputs: 1,
  };
};

const matmulInteger: Generator = (d) => {
  const [m, k, n] = [d.int(1, 6), d.int(1, 20), d.int(1, 20)];
  const [ta, tb] = [d.pick(["u8", "i8"] as const), d.pick(["u8", "i8"] as const)];
  const zero = (t: "u8" | "i8") => d.tensor(t, [], -5, 5);
  const zeros = d.chance(0.7) ? [d.either(zero(ta)), d.either(zero(tb))] : [];
  return {
    op: "MatMulInteger",
    opset: 10,
    attrs: {},
    inputs: [fed(d.tensor(ta, [m, k], -100, 100)), d.either(d.tensor(tb, [k, n], -100, 100)), ...zeros],
    outputs: 1,
  };
};

interface Windowed {
  readonly kernel: readonly number[];
  readonly attrs: Record<string, number | string | readonly number[]>;
  readonly spatial: readonly number[];
}

function windowed(d: Draw, dilated: boolean): Windowed {
  const axes = d.int(1, 2);
  const kernel = Array.from({ length: axes }, () => d.int(1, 3));
  const spatial = kernel.map((k) => k + d.int(2, 6));
  const attrs: Windowed["attrs"] = {};
  if (d.chance(0.6)) attrs.strides = kernel.map(() => d.int(1, 3));
  if (dilated && d.chance(0.4)) attrs.dilations = kernel.map(() => d.int(1, 2));
  const p = d.next();
  if (p < 0.4) attrs.pads = [...kernel, ...kernel].map((k) => d.int(0, k - 1));
  else if (p < 0.6) attrs.auto_pad = d.pick(["SAME_UPPER", "SAME_LOWER", "VALID"]);
  return { kernel, attrs, spatial };
}

const conv: Generator = (d) => {
  const { kernel, attrs, spatial } = windowed(d, true);
  const group = d.int(1, 3);
  const [c, o] = [group * d.int(1, 2), group * d.int(1, 3)];
  const bias = d.chance(0.5) ? [d.either(d.tensor("f32", [o]))] : [];
  return {
    op: "Conv",
    opset: d.pick([1, 11, 22]),
    attrs: { ...attrs, group, ...(d.chance(0.5) ? { kernel_shape: kernel } : {}) },
    inputs: [
      fed(d.tensor("f32", [d.int(1, 2), c, ...spatial])),
      d.either(d.tensor("f32", [o, c / group, ...kernel])),
      ...bias,
    ],
    outputs: 1,
    tol: 1e-4,
  };
};

const convTranspose: Generator = (d) => {
  const { kernel, attrs, spatial } = windowed(d, true);
  const group = d.int(1, 2);
  const [c, o] = [group * d.int(1, 2), d.int(1, 3)];
  const strides = (attrs.strides as number[] | undefined) ?? kernel.map(() => 1);
  const extra = d.chance(0.3) && !attrs.auto_pad ? { output_padding: strides.map((s) => d.int(0, s - 1)) } : {};
  return {
    op: "ConvTranspose",
    opset: d.pick([1, 11, 22]),
    attrs: { ...attrs, ...extra, group },
    inputs: [fed(d.tensor("f32", [d.int(1, 2), c, ...spatial])), d.either(d.tensor("f32", [c, o, ...kernel]))],
    outputs: 1,
    tol: 1e-4,
  };
};

const pool =
  (op: "MaxPool" | "AveragePool" | "LpPool"): Generator =>
  (d) => {
    const opset = op === "LpPool" ? d.pick([11, 18]) : op === "MaxPool" ? d.pick([10, 11, 12]) : d.pick([10, 11, 19]);
    const { kernel, attrs, spatial } = windowed(
      d,
      op === "MaxPool" || (op === "AveragePool" && opset >= 19) || (op === "LpPool" && opset >= 18),
    );
    const ceil = op !== "LpPool" && !attrs.auto_pad && d.chance(0.4) ? { ceil_mode: 1 } : {};
    const own =
      op === "AveragePool" && d.chance(0.5) ? { count_include_pad: 1 } : op === "LpPool" ? { p: d.int(1, 3) } : {};
    return {
      op,
      opset,
      attrs: { ...attrs, kernel_shape: kernel, ...ceil, ...own },
      inputs: [fed(d.tensor("f32", [d.int(1, 2), d.int(1, 3), ...spatial]))],
      outputs: op === "MaxPool" && d.chance(0.4) ? 2 : 1,
      tol: 1e-4,
    };
  };

const globalPool =
  (op: string): Generator =>
  (d) => ({
    op,
    opset: 1,
    attrs: {},
    inputs: [fed(d.tensor("f32", [d.int(1, 2), d.int(1, 3), d.int(1, 5), d.int(1, 5)]))],
    outputs: 1,
  });

const EQUATIONS = [
  "ij,jk->ik",
  "bij,bjk->bik",
  "ij->ji",
  "ii->i",
  "ij,ij->",
  "i,j->ij",
  "...ij,...jk->...ik",
  "bij->b",
  "ij,jk",
  "abc->cb",
] as const;

const einsum: Generator = (d) => {
  const equation = d.pick(EQUATIONS);
  const sizes = new Map<string, number>();
  const size = (l: string) => sizes.get(l) ?? sizes.set(l, d.int(1, 4)).get(l)!;
  const inputs = equation
    .split("->")[0]!
    .split(",")
    .map((t) => [...(t.includes(".") ? ["e"] : []), ...t.replace("...", "")].map(size));
  return {
    op: "Einsum",
    opset: 12,
    attrs: { equation },
    inputs: inputs.map((s) => fed(d.tensor("f32", s))),
    outputs: 1,
  };
};

export const products: readonly Generator[] = [
  matmul,
  gemm,
  matmulInteger,
  conv,
  conv,
  convTranspose,
  einsum,
  pool("MaxPool"),
  pool("AveragePool"),
  pool("LpPool"),
  globalPool("GlobalAveragePool"),
  globalPool("GlobalMaxPool"),
];
