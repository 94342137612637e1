/** What is known of a model from outside, without its nodes and weights: plain data, which is kept and sent as JSON. */

import type { Terms } from "../compiler/late/binding.js";
import type { OnnxValueInfo } from "../compiler/onnx/model.js";
import type { Specialization } from "../runtime/format.js";
import type { Session, Signature } from "../runtime/index.js";
import { type TensorType, typeOfDType } from "./types.js";

export interface ModelFace {
  readonly inputs: readonly OnnxValueInfo[];
  readonly outputs: readonly OnnxValueInfo[];
  /** Initializers that may be fed. */
  readonly overridable: readonly OnnxValueInfo[];
}

export interface CompiledModel {
  readonly face: ModelFace;
  /** Files beside the model whose weights are in the artefact. */
  readonly files: readonly string[];
  /** Undefined where the model is no program until feeds are known. */
  readonly artifact: CompiledArtifact | undefined;
}

export interface CompiledArtifact {
  /** All in one file. */
  readonly bytes: Uint8Array;
  /** Feeds that it serves. */
  readonly terms: Terms;
  /** What the model's outputs are made of. */
  readonly outputs: Specialization["outputs"];
}

/** What onnxruntime tells of an input or output. */
export type ValueMetadata =
  | { readonly name: string; readonly isTensor: false }
  | {
      readonly name: string;
      readonly isTensor: true;
      readonly type: TensorType;
      /** Sizes, and names of those that are open; "" for one without a name. */
      readonly shape: readonly (number | string)[];
    };

export function metadataOf({ name, type }: OnnxValueInfo): ValueMetadata {
  if (type?.kind !== "tensor" || type.dtype === undefined) return { name, isTensor: false };
  return { name, isTensor: true, type: typeOfDType(type.dtype), shape: (type.shape ?? []).map((d) => d ?? "") };
}

/** The face of an artefact that was compiled ahead of time. */
export function faceOfSession({ inputs, outputs }: Session): ModelFace {
  const info = ({ name, dtype, shape }: Signature): OnnxValueInfo => ({ name, type: { kind: "tensor", dtype, shape } });
  return { inputs: inputs.map(info), outputs: outputs.map(info), overridable: [] };
}
