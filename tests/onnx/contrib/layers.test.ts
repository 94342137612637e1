/** Normalisations, joined layers, mixtures of experts and small ops. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../compiler/onnx/import.js";
import { encodeModel } from "../../../compiler/onnx/protobuf.js";
import type { Tensor } from "../../../ir/tensor.js";
import { model, node, tensorInfo } from "../build.js";
import { at, byIndex, checkOp, draws, f32, float, i32, i64 } from "./check.js";
import { fastGelu, gelu, sigmoid, softmax, sum } from "./formulas.js";

const d = draws(21);
const map = (x: Tensor, f: (v: number) => number) => byIndex(x.shape, (...i) => f(at(x)(...i)));

/** Of rows of [batch, rows, size]. */
function normalized(x: Tensor, epsilon: number, centre: boolean) {
  const [b, s, n] = x.shape as [number, number, number];
  const X = at(x);
  const mean = byIndex([b, s, 1], (p, q) => sum(n, (i) => X(p, q, i)) / n);
  const from = (p: number, q: number) => (centre ? at(mean)(p, q, 0) : 0);
  const inverse = byIndex(
    [b, s, 1],
    (p, q) => 1 / Math.sqrt(sum(n, (i) => (X(p, q, i) - from(p, q)) ** 2) / n + epsilon),
  );
  const y = byIndex(x.shape, (p, q, i) => (X(p, q, i) - from(p, q)) * at(inverse)(p, q, 0));
  return { y, mean, inverse };
}

describe("normalisations", () => {
  const [x, skip, gamma, beta, bias] = [
    d.floats([2, 3, 8]),
    d.floats([2, 3, 8]),
    d.floats([8]),
    d.floats([8]),
    d.floats([8]),
  ];
  const total = byIndex(x.shape, (b, s, i) => at(x)(b, s, i) + at(skip)(b, s, i) + at(bias)(i));
  const scaled = (y: Tensor, shift = true) =>
    byIndex(y.shape, (b, s, i) => at(y)(b, s, i) * at(gamma)(i) + (shift ? at(beta)(i) : 0));
  const epsilon = 1e-5;

  it("of residual sums", async () => {
    const full = normalized(total, epsilon, true);
    const attrs = { epsilon: float(epsilon) };
    const want = [scaled(full.y), undefined, undefined, total];
    await checkOp({
      op: "SkipLayerNormalization",
      inputs: [x, skip, gamma, beta, bias],
      attrs,
      want,
      onnxruntime: false,
    });
    const root = normalized(total, epsilon, false);
    await checkOp({
      op: "SkipSimplifiedLayerNormalization",
      inputs: [x, skip, gamma, bias],
      attrs,
      want: [scaled(root.y, false), undefined, undefined, total],
      onnxruntime: false,
    });
  });

  it.each([9, 13, 17])(
    "LayerNormalization stands in files of opset %d, where ONNX Runtime's optimiser has put it",
    async (opset) => {
      const { y, mean, inverse } = normalized(x, epsilon, true);
      await checkOp({
        op: "LayerNormalization",
        domain: "",
        opset,
        inputs: [x, gamma, beta],
        attrs: { epsilon: float(epsilon) },
        want: [scaled(y), mean, inverse],
      });
      const root = normalized(x, epsilon, false);
      await checkOp({
        op: "SimplifiedLayerNormalization",
        domain: "",
        opset,
        inputs: [x, gamma],
        attrs: { epsilon: float(epsilon) },
        want: [scaled(root.y, false), root.inverse],
      });
    },
  );

  it("of embeddings", async () => {
    const [ids, segments] = [i32([2, 3], [0, 1, 2, 3, 4, 0]), i32([2, 3], [0, 1, 0, 1, 1, 0])];
    const [words, positions, kinds] = [d.floats([5, 8]), d.floats([4, 8]), d.floats([2, 8])];
    const mask = i32([2, 3], [1, 1, 0, 1, 1, 1]);
    const embedded = byIndex(
      [2, 3, 8],
      (b, s, i) => at(words)(at(ids)(b, s), i) + at(positions)(s, i) + at(kinds)(at(segments)(b, s), i),
    );
    await checkOp({
      op: "EmbedLayerNormalization",
      inputs: [ids, segments, words, positions, kinds, gamma, beta, mask],
      attrs: { epsilon: float(epsilon) },
      want: [scaled(normalized(embedded, epsilon, true).y), i32([2], [2, 3])],
    });
  });

  it("of groups of channels that come last", async () => {
    const [image, add] = [d.floats([2, 3, 4, 8]), d.floats([2, 8])];
    const summed = byIndex(image.shape, (n, h, w, c) => at(image)(n, h, w, c) + at(add)(n, c));
    const grouped = (v: Tensor, active: boolean) =>
      byIndex(v.shape, (n, h, w, c) => {
        const first = c - (c % 4);
        const over = (f: (x: number) => number) =>
          sum(48, (k) => f(at(v)(n, Math.floor(k / 16), Math.floor(k / 4) % 4, first + (k % 4)))) / 48;
        const mean = over((t) => t);
        const deviation = Math.sqrt(over((t) => (t - mean) ** 2) + epsilon);
        const y = ((at(v)(n, h, w, c) - mean) / deviation) * at(gamma)(c) + at(beta)(c);
        return active ? y * sigmoid(y) : y;
      });
    const attrs = { groups: 2, epsilon: float(epsilon), channels_last: 1 };
    const none = { onnxruntime: false } as const;
    await checkOp({
      op: "GroupNorm",
      inputs: [image, gamma, beta],
      attrs: { ...attrs, activation: 1 },
      want: [grouped(image, true)],
      ...none,
    });
    await checkOp({
      op: "SkipGroupNorm",
      inputs: [image, gamma, beta, add],
      attrs: { ...attrs, activation: 0 },
      want: [grouped(summed, false), summed],
      ...none,
    });
  });
});

describe("joined layers", () => {
  const [x, bias] = [d.floats([2, 3, 8]), d.floats([8])];
  const biased = byIndex(x.shape, (b, s, i) => at(x)(b, s, i) + at(bias)(i));

  it("activations with a bias", async () => {
    await checkOp({ op: "BiasGelu", inputs: [x, bias], want: [map(biased, gelu)] });
    await checkOp({ op: "FastGelu", inputs: [x, bias], want: [map(biased, fastGelu)] });
    await checkOp({
      op: "QuickGelu",
      inputs: [x],
      attrs: { alpha: float(1.2) },
      want: [map(x, (v) => v * sigmoid(Math.fround(1.2) * v))],
    });
    const half = byIndex([2, 3, 4], (b, s, i) => at(biased)(b, s, i) * gelu(at(biased)(b, s, i + 4)));
    await checkOp({ op: "BiasSplitGelu", inputs: [x, bias], want: [half], onnxruntime: false });
    const other = d.floats([2, 1, 8]);
    const shares = byIndex(
      x.shape,
      (b, s, i) => softmax(Array.from({ length: 8 }, (_, k) => at(x)(b, s, k) + at(other)(b, 0, k)))[i]!,
    );
    await checkOp({
      op: "BiasSoftmax",
      inputs: [x, other],
      attrs: { axis: 2, is_inner_broadcast: 0 },
      want: [shares],
      onnxruntime: false,
    });
    const skip = d.floats([2, 3, 8]);
    const all = byIndex(x.shape, (b, s, i) => at(biased)(b, s, i) + at(skip)(b, s, i));
    await checkOp({ op: "BiasAdd", inputs: [x, bias, skip], want: [all], onnxruntime: false });
    await checkOp({ op: "BiasDropout", inputs: [x, bias, skip], want: [all], onnxruntime: false });
  });

  it("products with an activation", async () => {
    const [a, b, c] = [d.floats([3, 4]), d.floats([4, 5]), d.floats([5])];
    const gemm = byIndex([3, 5], (i, j) => 0.5 * sum(4, (k) => at(a)(i, k) * at(b)(k, j)) + 2 * at(c)(j));
    await checkOp({
      op: "FusedGemm",
      inputs: [a, b, c],
      attrs: { activation: "LeakyRelu", activation_alpha: float(0.25), alpha: float(0.5), beta: float(2) },
      want: [map(gemm, (v) => (v < 0 ? 0.25 * v : v))],
    });
    const [p, q] = [d.floats([2, 4, 3]), d.floats([2, 4, 5])];
    const product = byIndex([2, 3, 5], (n, i, j) => 0.5 * sum(4, (k) => at(p)(n, k, i) * at(q)(n, k, j)));
    const attrs = { transA: 1, alpha: float(0.5) };
    await checkOp({ op: "FusedMatMul", inputs: [p, q], attrs, want: [product] });
    await checkOp({
      op: "FusedMatMulActivation",
      inputs: [p, q],
      attrs: { ...attrs, activation: "Relu" },
      want: [map(product, (v) => Math.max(v, 0))],
      onnxruntime: false,
    });
  });

  it("convolutions with an activation, with channels second or last", async () => {
    const [image, w, b, skip] = [d.floats([1, 5, 5, 2]), d.floats([3, 3, 3, 2]), d.floats([3]), d.floats([1, 3, 3, 3])];
    const last = byIndex(
      [1, 3, 3, 3],
      (n, y, z, o) =>
        at(b)(o) +
        sum(18, (k) => {
          const [i, j, c] = [Math.floor(k / 6), Math.floor(k / 2) % 3, k % 2];
          return at(image)(n, y + i, z + j, c) * at(w)(o, i, j, c);
        }),
    );
    await checkOp({
      op: "NhwcConv",
      inputs: [image, w, b],
      attrs: { kernel_shape: [3, 3] },
      want: [last],
      onnxruntime: false,
    });
    const second = (t: Tensor) =>
      byIndex([t.shape[0]!, t.shape[3]!, t.shape[1]!, t.shape[2]!], (n, c, h, v) => at(t)(n, h, v, c));
    await checkOp({
      op: "FusedConv",
      inputs: [second(image), second(w), b, skip],
      attrs: { activation: "Relu" },
      want: [byIndex([1, 3, 3, 3], (n, c, h, v) => Math.max(0, at(last)(n, h, v, c) + at(skip)(n, c, h, v)))],
    });
  });
});

describe("mixtures of experts", () => {
  const [tokens, experts, hidden, inner] = [5, 4, 8, 6];
  const [x, scores] = [d.floats([tokens, hidden]), d.floats([tokens, experts])];

  /** Weight of an expert for a token. */
  function routed(t: number, k: number, normalize: boolean): readonly number[] {
    const own = Array.from({ length: experts }, (_, e) => at(scores)(t, e));
    const chosen = own
      .map((_, e) => e)
      .sort((a, b) => own[b]! - own[a]!)
      .slice(0, k);
    const shares = normalize ? softmax(chosen.map((e) => own[e]!)) : chosen.map((e) => softmax(own)[e]!);
    return own.map((_, e) => (chosen.includes(e) ? shares[chosen.indexOf(e)]! : 0));
  }
  const mixed = (k: number, normalize: boolean, expert: (t: number, e: number, i: number) => number) =>
    byIndex([tokens, hidden], (t, i) => {
      const weights = routed(t, k, normalize);
      return sum(experts, (e) => (weights[e] === 0 ? 0 : weights[e]! * expert(t, e, i)));
    });

  it.each([
    [1, false],
    [2, false],
    [2, true],
  ])("of %d experts a token, with shares among themselves: %s", async (k, normalize) => {
    const [w1, b1, w2, b2] = [
      d.floats([experts, inner, hidden]),
      d.floats([experts, inner]),
      d.floats([experts, hidden, inner]),
      d.floats([experts, hidden]),
    ];
    const first = (t: number, e: number, j: number) => sum(hidden, (i) => at(x)(t, i) * at(w1)(e, j, i)) + at(b1)(e, j);
    for (const [name, f] of [
      ["relu", (v: number) => Math.max(v, 0)],
      ["gelu", fastGelu],
      ["silu", (v: number) => v * sigmoid(v)],
    ] as const)
      await checkOp({
        op: "MoE",
        inputs: [x, scores, w1, b1, w2, b2],
        attrs: { k, activation_type: name, normalize_routing_weights: normalize ? 1 : 0 },
        want: [mixed(k, normalize, (t, e, i) => sum(inner, (j) => f(first(t, e, j)) * at(w2)(e, i, j)) + at(b2)(e, i))],
        onnxruntime: false,
      });
  });

  it.each([4, 8])("with weights of %d bits and gates that alternate with values", async (bits) => {
    const per = 8 / bits;
    const [w1, s1, b1] = [
      d.bytes([experts, 2 * inner, hidden / per]),
      d.positive([experts, 2 * inner], 0.02),
      d.floats([experts, 2 * inner]),
    ];
    const [w2, s2, b2] = [
      d.bytes([experts, hidden, inner / per]),
      d.positive([experts, hidden], 0.02),
      d.floats([experts, hidden]),
    ];
    const field = (w: Tensor, s: Tensor, e: number, o: number, i: number) => {
      const byte = at(w)(e, o, Math.floor(i / per));
      return (((byte >> ((i % per) * bits)) & (2 ** bits - 1)) - 2 ** (bits - 1)) * at(s)(e, o);
    };
    const first = (t: number, e: number, j: number) =>
      sum(hidden, (i) => at(x)(t, i) * field(w1, s1, e, j, i)) + at(b1)(e, j);
    const gated = (t: number, e: number, j: number) => {
      const [gate, value] = [Math.min(first(t, e, 2 * j), 1.5), Math.max(-1.5, Math.min(first(t, e, 2 * j + 1), 1.5))];
      return gate * sigmoid(1.75 * gate) * (value + 1);
    };
    await checkOp({
      op: "QMoE",
      inputs: [x, scores, w1, s1, b1, w2, s2, b2],
      attrs: {
        k: 2,
        activation_type: "swiglu",
        swiglu_fusion: 1,
        swiglu_limit: float(1.5),
        activation_alpha: float(1.75),
        activation_beta: float(1),
        expert_weight_bits: bits,
      },
      want: [mixed(2, true, (t, e, i) => sum(inner, (j) => gated(t, e, j) * field(w2, s2, e, i, j)) + at(b2)(e, i))],
      onnxruntime: false,
    });
  });
});

describe("small ops", () => {
  it("distances, inverses, distinct elements", async () => {
    const [a, b] = [d.floats([3, 4]), d.floats([5, 4])];
    const squares = byIndex([3, 5], (i, j) => sum(4, (k) => (at(a)(i, k) - at(b)(j, k)) ** 2));
    await checkOp({ op: "CDist", inputs: [a, b], attrs: { metric: "sqeuclidean" }, want: [squares] });
    await checkOp({ op: "CDist", inputs: [a, b], attrs: { metric: "euclidean" }, want: [map(squares, Math.sqrt)] });
    // The inverse of a product of elementary steps is the product of their inverses.
    const [p, q] = [1.5, -0.25];
    await checkOp({
      op: "Inverse",
      inputs: [f32([2, 2, 2], [0, 2, 4, 0, 1, p, q, 1 + p * q])],
      want: [f32([2, 2, 2], [0, 0.25, 0.5, 0, 1 + p * q, -p, -q, 1])],
    });
    await checkOp({
      op: "Unique",
      inputs: [f32([6], [2, 1, 1, 3, 4, 3])],
      want: [f32([4], [2, 1, 3, 4]), i64([6], [0, 1, 1, 2, 3, 2]), i64([4], [1, 2, 2, 1])],
    });
  });

  it("older definitions of what ONNX has", async () => {
    const x = f32([2, 3], [1, 2, 3, 4, 5, 6]);
    await checkOp({
      op: "Trilu",
      inputs: [x, i64([], [1])],
      attrs: { upper: 0 },
      want: [f32([2, 3], [1, 2, 0, 4, 5, 6])],
    });
    await checkOp({
      op: "ExpandDims",
      inputs: [x, i32([], [-1])],
      constants: [1],
      want: [f32([2, 3, 1], [1, 2, 3, 4, 5, 6])],
    });
    await checkOp({
      op: "Pad",
      inputs: [x, i64([4], [0, 1, 0, 1]), f32([], [9])],
      constants: [1],
      attrs: { mode: "constant" },
      want: [f32([2, 5], [9, 1, 2, 3, 9, 9, 4, 5, 6, 9])],
    });
    await checkOp({
      op: "Range",
      inputs: [f32([], [1]), f32([], [4])],
      constants: [0, 1],
      want: [f32([3], [1, 2, 3])],
    });
    await checkOp({ op: "GatherND", inputs: [x, i64([2, 2], [1, 0, 0, 2])], want: [f32([2], [4, 3])] });
  });
});

describe("ops that there are not", () => {
  it.each([
    ["com.microsoft", /optimiser of ONNX Runtime or Olive/],
    ["com.microsoft.nchwc", /optimised for one processor/],
    ["ai.onnx.contrib", /in the application/],
    ["org.pytorch.aten", /newer PyTorch/],
    ["acme.tools", /model-local function/],
  ])("of %s are refused with what to do", (domain, hint) => {
    const made = model({
      input: [tensorInfo("x", [1])],
      output: [tensorInfo("y", [1])],
      node: [node("Nonesuch", ["x"], ["y"], {}, { domain })],
    });
    made.opsetImport!.push({ domain, version: 1 });
    const hints = () => {
      try {
        importOnnx(encodeModel(made));
      } catch (error) {
        return (error as { problems: { hint?: string }[] }).problems.map((p) => p.hint).join();
      }
    };
    expect(hints()).toMatch(hint);
  });
});

it("inputs that an op came to have later are refused, not left out", () => {
  const inputs = ["x", "w", "", "", "more"];
  const made = model({
    input: inputs.filter((name) => name !== "").map((name) => tensorInfo(name, [2, 2])),
    output: [tensorInfo("y", undefined)],
    node: [node("FastGelu", inputs, ["y"], {}, { domain: "com.microsoft" })],
  });
  made.opsetImport!.push({ domain: "com.microsoft", version: 1 });
  expect(() => importOnnx(encodeModel(made))).toThrow(
    /com\.microsoft\.FastGelu node of "y": its input 4 \("more"\) is not supported/,
  );
});
