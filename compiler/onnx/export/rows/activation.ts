/** Activations, where ONNX has the same one. */

import type { Value } from "../../../../ir/graph.js";
import { seluConstants } from "../../../../ir/ops/activation.js";
import { type AttrDrafts, float, type Ref, string } from "../draft.js";
import type { Emitter } from "../emitter.js";
import { exactAttrs } from "./normalize.js";
import type { Row, SomeRows } from "./row.js";

const isWide = (v: Value): boolean => v.type.dtype === "f32" || v.type.dtype === "f64";

/** An ONNX op with attributes in f32, or the definition where these are not exact or the type is narrow. */
function withAttrs<A>(op: string, attrs: (a: A) => Readonly<Record<string, number>>) {
  return (e: Emitter, node: { readonly operands: readonly Value[]; readonly attrs: A }): Ref | readonly Ref[] => {
    const x = node.operands[0]!;
    const values = attrs(node.attrs);
    if (!isWide(x) || !exactAttrs(x.type.dtype, ...Object.values(values))) return e.decompose(node as never);
    const drafts: AttrDrafts = Object.fromEntries(Object.entries(values).map(([k, v]) => [k, float(v)]));
    return e.op(op, [e.ref(x)], drafts);
  };
}

const plain = (op: string) => withAttrs(op, () => ({}));

/** ONNX defines Celu for f32 only before opset 28. */
const celu: Row<"celu"> = (e, node) =>
  node.operands[0]!.type.dtype === "f32"
    ? e.op("Celu", [e.ref(node.operands[0]!)], { alpha: float(node.attrs.alpha) })
    : e.decompose(node);

const gelu: Row<"gelu"> = (e, node) =>
  e.model.allows(20) && isWide(node.operands[0]!)
    ? e.op("Gelu", [e.ref(node.operands[0]!)], { approximate: string(node.attrs.approximate) })
    : e.decompose(node);

const hardTanh: Row<"hardTanh"> = (e, node) => {
  const x = node.operands[0]!;
  const { low, high } = node.attrs;
  return e.op("Clip", [e.ref(x), e.scalar(x.type.dtype, low), e.scalar(x.type.dtype, high)]);
};

const prelu: Row<"prelu"> = (e, node) => {
  const [x, slope] = node.operands as [Value, Value];
  return e.op("PRelu", [e.ref(x), e.ref(slope)]);
};

const softplus: Row<"softplus"> = (e, node) =>
  node.attrs.beta === 1 && isWide(node.operands[0]!) ? e.op("Softplus", [e.ref(node.operands[0]!)]) : e.decompose(node);

/** The usual constants are ONNX's defaults, which have more digits than an attribute. */
const selu = withAttrs("Selu", (a: { readonly alpha: number; readonly gamma: number }) =>
  a.alpha === seluConstants.alpha && a.gamma === seluConstants.gamma ? {} : { alpha: a.alpha, gamma: a.gamma },
);

export const activation = {
  celu,
  elu: withAttrs("Elu", ({ alpha }: { readonly alpha: number }) => ({ alpha })),
  gelu,
  glu: "decompose",
  hardSigmoid: withAttrs("HardSigmoid", ({ alpha, beta }: { readonly alpha: number; readonly beta: number }) => ({
    alpha,
    beta,
  })),
  hardSwish: plain("HardSwish"),
  hardTanh,
  leakyRelu: withAttrs("LeakyRelu", ({ slope }: { readonly slope: number }) => ({ alpha: slope })),
  logSigmoid: "decompose",
  mish: plain("Mish"),
  prelu,
  relu: (e, node) => e.op("Relu", [e.ref(node.operands[0]!)]),
  selu,
  shrink: withAttrs("Shrink", ({ lambda, bias }: { readonly lambda: number; readonly bias: number }) => ({
    lambd: lambda,
    bias,
  })),
  silu: "decompose",
  softplus,
  softsign: plain("Softsign"),
  thresholdedRelu: withAttrs("ThresholdedRelu", ({ threshold }: { readonly threshold: number }) => ({
    alpha: threshold,
  })),
} satisfies SomeRows;
