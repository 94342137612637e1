/** Small models of the tests of wasmith/ort. */

import { bytesOf } from "../late/run.js";
import { attr, node, tensorInfo } from "../onnx/build.js";

const I64 = 7;
const floats = (name: string, dims: readonly number[], values: readonly number[]) => ({
  name,
  dims: [...dims],
  dataType: 1,
  rawData: new Uint8Array(Float32Array.from(values).buffer),
});

/** The model of onnxruntime's quick start: c = a · b, of f32[3, 4] and f32[4, 3]. */
export const product = (): Uint8Array =>
  bytesOf({
    input: [tensorInfo("a", [3, 4]), tensorInfo("b", [4, 3])],
    output: [tensorInfo("c", [3, 3])],
    node: [node("MatMul", ["a", "b"], ["c"], {}, { name: "product" })],
  });

/** double = 2x and sum = Σx over the last axis, of f32[batch, 3]. */
export const twoOutputs = (): Uint8Array =>
  bytesOf({
    input: [tensorInfo("x", ["batch", 3])],
    output: [tensorInfo("double", ["batch", 3]), tensorInfo("sum", ["batch"])],
    node: [node("Add", ["x", "x"], ["double"]), node("ReduceSum", ["x", "axis"], ["sum"], { keepdims: 0 })],
    initializer: [{ name: "axis", dims: [1], dataType: I64, rawData: new Uint8Array(BigInt64Array.of(1n).buffer) }],
  });

/** y = x reshaped to what the input `shape` says: no program until feeds are known. */
export const reshape = (): Uint8Array =>
  bytesOf({
    input: [tensorInfo("x", ["n"]), tensorInfo("shape", ["rank"], I64)],
    output: [tensorInfo("y", undefined)],
    node: [node("Reshape", ["x", "shape"], ["y"])],
  });

/** y = -x, of any of onnxruntime's types. */
export const negated = (elemType: number): Uint8Array =>
  bytesOf({
    input: [tensorInfo("x", ["n"], elemType)],
    output: [tensorInfo("y", ["n"], elemType)],
    node: [node("Neg", ["x"], ["y"])],
  });

/** y = x + w, whose weights may be fed, or are in the file "w.bin". */
export function weighted(where: "inside" | "input" | "outside"): Uint8Array {
  const w = floats("w", [3], [1, 2, 3]);
  const outside = {
    name: "w",
    dims: [3],
    dataType: 1,
    dataLocation: 1,
    externalData: [{ key: "location", value: "w.bin" }],
  };
  return bytesOf({
    input: [tensorInfo("x", ["n", 3]), ...(where === "input" ? [tensorInfo("w", [3])] : [])],
    output: [tensorInfo("y", ["n", 3])],
    node: [node("Add", ["x", "w"], ["y"])],
    initializer: [where === "outside" ? outside : w],
  });
}

/** The number of items and the concatenation of a sequence, or of what an optional holds. */
export const ofSequence = (): Uint8Array =>
  bytesOf({
    input: [{ name: "xs", type: { sequenceType: { elemType: tensorInfo("", ["n"]).type! } } }],
    output: [tensorInfo("y", ["m"])],
    node: [node("ConcatFromSequence", ["xs"], ["y"], { axis: 0 })],
  });

/** An op that there is none of. */
export const unknownOp = (): Uint8Array =>
  bytesOf({
    input: [tensorInfo("x", [3])],
    output: [tensorInfo("y", [3])],
    node: [node("Frobnicate", ["x"], ["y"], { by: attr("by", 2) }, { name: "the node" })],
  });
