/**
 * The model of a training artefact as ONNX without its weights, which the runtime puts in: `session.exportOnnx()`.
 *
 * Bytes: u32 (little-endian) length of the model's message without its graph, that message, the graph's message without the
 * initializers that are state. Protobuf takes fields in any order, so the runtime appends initializers to the graph, and the
 * graph to the model.
 */

import { ModelError } from "../../../ir/errors.js";
import type { OnnxTemplate, Program } from "../../program.js";
import { encodeMessage } from "../protobuf.js";
import { draft, modelProto } from "./export.js";

/** The template of the entry that predicts; or why ONNX can't express it. */
export function onnxTemplate(program: Program): OnnxTemplate | { readonly problems: string } {
  try {
    const drafted = draft(program, {});
    const { model, graph, states, serializer } = drafted;
    const proto = serializer.graph(graph);
    const initializer = [...model.initializers].map(([ref, tensor]) => serializer.initializer(ref, tensor));
    const { graph: _, ...rest } = modelProto(drafted, proto, {});
    const head = encodeMessage("ModelProto", rest);
    const body = encodeMessage("GraphProto", { ...proto, initializer });
    const bytes = new Uint8Array(4 + head.length + body.length);
    new DataView(bytes.buffer).setUint32(0, head.length, true);
    bytes.set(head, 4);
    bytes.set(body, 4 + head.length);
    return { bytes, states: [...states.keys()].map((ref) => ref.fixed!) };
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    return { problems: error.message };
  }
}
