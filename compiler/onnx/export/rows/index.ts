/** How each op is written in ONNX: total over all ops. */

import { asType, broadcastTo, sliceAxis } from "../../../../ir/build.js";
import { InternalError } from "../../../../ir/errors.js";
import type { GraphNode, Value } from "../../../../ir/graph.js";
import { makeNode } from "../../../../ir/op.js";
import * as attentions from "../../../../ir/ops/attention.js";
import { dotGeneral } from "../../../../ir/ops/contraction.js";
import type { OpName } from "../../../../ir/ops/index.js";
import { dequantize } from "../../../../ir/ops/quantized.js";
import { flag, float, type Ref } from "../draft.js";
import type { EmitNode, Emitter } from "../emitter.js";
import { activation } from "./activation.js";
import { contraction } from "./contraction.js";
import { control } from "./control.js";
import { convolution } from "./conv.js";
import { dynamic } from "./dynamic.js";
import { elementwise } from "./elementwise.js";
import { indexing } from "./indexing.js";
import { movement } from "./movement.js";
import { normalize } from "./normalize.js";
import { pool } from "./pool.js";
import { random } from "./random.js";
import { recurrent } from "./recurrent.js";
import { reduce } from "./reduce.js";
import type { Row, Rows } from "./row.js";

const attention: Row<"attention"> = (e, node) => {
  const [query, key, value, mask] = node.operands as [Value, Value, Value, Value?];
  const { dtype, shape } = query.type;
  if (!e.model.allows(23) || shape.length !== 4 || dtype !== "f32") return e.decompose(node);
  return e.op("Attention", e.refs([query, key, value, ...(mask ? [mask] : [])]), {
    scale: float(node.attrs.scale),
    is_causal: flag(node.attrs.causal),
  });
};

/** Kernels' forms stand for what they are made of. */
const tiledAttention: Row<"tiledAttention"> = (e, node) => {
  const [query, key, value, ...mask] = node.operands as readonly [Value, Value, Value, ...Value[]];
  const { keys, ...attrs } = node.attrs;
  const there = [key, value].map((v) => (keys === undefined ? v : sliceAxis(v, -2, 0, keys)));
  return e.decompose(makeNode(attentions.attention, [query, ...there, ...mask], attrs) as GraphNode);
};

const tiledAttentionGrad: Row<"tiledAttentionGrad"> = (e, node) => {
  const batch = node.operands[0]!.type.shape.slice(0, -2);
  const whole = node.operands.map((v) => broadcastTo(v, [...batch, ...v.type.shape.slice(-2)]));
  return e.decompose(makeNode(attentions.attentionGrad, whole, node.attrs) as GraphNode);
};

/** As a product with weights that are widened. */
const weightProduct: Row<"weightProduct"> = (e, node) => {
  const [a, rows, scale, zero] = node.operands as [Value, Value, Value?, Value?];
  const wide = scale ? dequantize([rows, scale, ...(zero ? [zero] : [])], node.attrs) : asType(rows, "f32");
  const weights = sliceAxis(wide, 1, 0, a.type.shape.at(-1)!);
  const axis = a.type.shape.length - 1;
  const product = dotGeneral([a, weights], { batchA: [], batchB: [], contractA: [axis], contractB: [1] });
  return e.emitValues([product]);
};

export const rows = {
  ...activation,
  attention,
  attentionGrad: "decompose",
  dequantize: "decompose",
  weightProduct,
  tiledAttention,
  tiledAttentionGrad,
  rotary: "decompose",
  ...contraction,
  ...control,
  ...convolution,
  ...dynamic,
  ...elementwise,
  ...indexing,
  bceLoss: "decompose",
  bceWithLogitsLoss: "decompose",
  crossEntropy: "decompose",
  ctcLoss: "decompose",
  huberLoss: "decompose",
  klDivLoss: "decompose",
  l1Loss: "decompose",
  mseLoss: "decompose",
  nllLoss: "decompose",
  smoothL1Loss: "decompose",
  ...movement,
  ...normalize,
  ...pool,
  ...random,
  ...recurrent,
  ...reduce,
  scaleGradient: "decompose",
  customVjp: "decompose",
  stopGradient: "decompose",
  after: (e, node) => e.op("Identity", [e.ref(node.operands[0]!)]),
  checkpoint: "decompose",
} satisfies Rows<OpName>;

export const emitNode: EmitNode = (e, node) => {
  const row = (
    rows as { readonly [op: string]: "decompose" | ((e: Emitter, node: GraphNode) => Ref | readonly Ref[]) }
  )[node.op];
  if (row === undefined) throw new InternalError(`no row exports ${node.op}`);
  const made = row === "decompose" ? e.decompose(node) : row(e, node);
  return Array.isArray(made) ? (made as readonly Ref[]) : [made as Ref];
};
