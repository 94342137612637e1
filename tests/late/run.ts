/** Small ONNX models compiled for feeds and run. */
import type { ModelValue } from "../../compiler/late/binding.js";
import type { LateBinding } from "../../compiler/late/compile-for.js";
import type { ModelFeeds } from "../../compiler/late/feeds.js";
import type { GraphProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import type { ArtifactParts } from "../../runtime/format.js";
import { load } from "../../runtime/index.js";
import { model } from "../onnx/build.js";

export const bytesOf = (graph: GraphProto, opset = 21): Uint8Array => encodeModel(model(graph, [], opset));

export const f32 = (shape: readonly number[], ...values: number[]): Tensor => tensorFrom("f32", shape, values);
export const i64 = (...values: number[]): Tensor => tensorFrom("i64", [values.length], values);
export const iota = (...shape: number[]): Tensor => {
  const count = shape.reduce((n, d) => n * d, 1);
  return f32(shape, ...Array.from({ length: count }, (_, i) => i));
};

export async function runFor(
  artifact: ArtifactParts & LateBinding,
  feeds: ModelFeeds,
): Promise<Readonly<Record<string, ModelValue>>> {
  const session = await load(artifact, { threads: 1 });
  try {
    return artifact.outputsOf((await session.run(artifact.inputsOf(feeds))) as Record<string, Tensor>);
  } finally {
    session.dispose();
  }
}

/** A tensor as its shape and numbers; a sequence as those of its items. */
export const plain = (value: ModelValue | undefined): unknown =>
  value === null || value === undefined
    ? value
    : "dtype" in value
      ? { shape: value.shape, data: toNumbers(value) }
      : value.map(plain);
