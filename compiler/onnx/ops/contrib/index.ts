/** com.microsoft: the ops that ONNX Runtime's optimiser and quantisers, Olive and the model builders write. */
import type { OpRow } from "../../context.js";
import { attentionRows } from "./attention.js";
import { blockRows } from "./blocks.js";
import { decoderMaskedRows } from "./decoder-masked.js";
import { fusedRows } from "./fused.js";
import { groupQueryAttention } from "./grouped-query.js";
import { miscRows } from "./misc.js";
import { moeRows } from "./moe.js";
import { normalizeRows } from "./normalize.js";
import { quantizedRows } from "./quantized.js";
import { sparseRows } from "./sparse.js";

export const contrib: Readonly<Record<string, OpRow>> = {
  ...attentionRows,
  ...blockRows,
  ...decoderMaskedRows,
  ...fusedRows,
  ...miscRows,
  ...moeRows,
  ...normalizeRows,
  ...quantizedRows,
  ...sparseRows,
  GroupQueryAttention: groupQueryAttention,
};

/** Ops that ONNX Runtime's optimiser puts into ONNX's own domain, whatever the opset is. */
export const OPTIMIZER_OPS: ReadonlySet<string> = new Set(["LayerNormalization", "SimplifiedLayerNormalization"]);
