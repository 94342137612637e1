/**
 * `wasmith/ort`: onnxruntime's API, by wasmith. In place of `onnxruntime-web` or `onnxruntime-node`:
 *
 *     import * as ort from "wasmith/ort";
 *     const session = await ort.InferenceSession.create("model.onnx");
 *     const { y } = await session.run({ x: new ort.Tensor("float32", data, [1, 3, 224, 224]) });
 *
 * Importing it makes it the one that transformers.js takes.
 */

import { createHandler } from "./create.js";
import { env } from "./env.js";
import { InferenceSession } from "./inference-session.js";
import type { SessionOptions } from "./options.js";
import { Tensor } from "./tensor.js";

export type { OnnxValue } from "./convert.js";
export type { Env, Progress, WasmithFlags } from "./env.js";
export type { ValueMetadata } from "./face.js";
export type { ExternalFile, ModelFile, RunOptions, SessionOptions, WasmithOptions } from "./options.js";
export type { TensorLocation, TypedTensor } from "./tensor.js";
export type { TensorData, TensorDataOf, TensorType } from "./types.js";
export { env, InferenceSession, Tensor };

/** For onnxruntime-common's registry: `registerBackend("wasmith", backend, 10)`, then `executionProviders: ["wasmith"]`. */
export const backend = {
  async init(_name: string): Promise<void> {},
  createInferenceSessionHandler: (model: string | Uint8Array, options?: SessionOptions) =>
    createHandler(model, options && { ...options }),
};

/** The name under which hosts offer a runtime of their own: transformers.js takes what is there before it is loaded. */
(globalThis as Record<symbol, unknown>)[Symbol.for("onnxruntime")] = { env, InferenceSession, Tensor };
