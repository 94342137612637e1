/** Between onnxruntime's tensors and wasmith's. Arrays are shared where both hold elements alike. */

import type { ModelValue } from "../compiler/late/binding.js";
import type { ModelFeed } from "../compiler/late/feeds.js";
import { describe } from "../ir/describe.js";
import { ModelError } from "../ir/errors.js";
import { elementCount, type Tensor as PlainTensor, tensor } from "../ir/tensor.js";
import { Tensor } from "./tensor.js";
import { dtypeOfType, isPacked, typeOfDType } from "./types.js";

/** What a session takes and gives: a tensor; of models with such values also the items of a sequence, or null for an optional that is absent. */
export type OnnxValue = Tensor | readonly OnnxValue[] | null;

/** Any copy of onnxruntime-common's tensor. */
interface TensorLike {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
  readonly location?: string;
}

/** A value as the compiler takes it. @throws ModelError naming the input whose value is none */
export function feedOf(name: string, value: unknown): ModelFeed {
  const where = `input "${name}"`;
  if (value === null) return null;
  if (Array.isArray(value)) return value.map((item, i) => feedOf(`${name}.${i}`, item));
  if (!(value instanceof Tensor))
    throw new ModelError({
      where,
      message: `expected a Tensor, got ${describe(value)}`,
      hint: "make it with new ort.Tensor(type, data, dims)",
    });
  const { type, dims, location = "cpu" } = value as TensorLike;
  if (!location.startsWith("cpu"))
    throw new ModelError({
      where,
      message:
        location === "none"
          ? "the tensor is disposed"
          : `its elements are not in JavaScript's memory (location "${location}")`,
      hint: location === "none" ? "make a new one" : "get them with await tensor.getData()",
    });
  const dtype = dtypeOfType(type, where);
  const { data } = value as TensorLike;
  if (isPacked(value.type)) return tensor(dtype, dims, unpack(data as Uint8Array, dims, dtype === "i4"));
  // Halves are bits to wasmith, in whatever array.
  const bits = dtype === "f16" && ArrayBuffer.isView(data) && !(data instanceof Uint16Array);
  const elements = bits ? new Uint16Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength / 2) : data;
  return { dtype, shape: dims, data: elements as PlainTensor["data"] };
}

/** An output of a run as a tensor of onnxruntime. */
export function ortValueOf(value: ModelValue): OnnxValue {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map(ortValueOf);
  const { dtype, shape, data } = value as PlainTensor;
  const type = typeOfDType(dtype);
  return new Tensor(type, isPacked(type) ? pack(data as Int8Array | Uint8Array) : (data as Uint8Array), shape);
}

/** Copies a result into a tensor that the caller made for it. @throws ModelError where it does not fit */
export function fill(name: string, into: Tensor, value: OnnxValue): Tensor {
  const text = (t: Tensor): string => `${t.type}[${t.dims.join(", ")}]`;
  if (!(value instanceof Tensor) || value.type !== into.type || value.dims.join() !== into.dims.join())
    throw new ModelError({
      where: `output "${name}"`,
      message: `the result is ${value instanceof Tensor ? text(value) : "no tensor"}, the tensor given for it ${text(into)}`,
      hint: "give a tensor of the result's type and dims, or null",
    });
  if (into.type === "string")
    throw new ModelError({ where: `output "${name}"`, message: "tensors of strings are not supported" });
  (into.data as Uint8Array).set(value.data as Uint8Array);
  return into;
}

function unpack(bytes: Uint8Array, dims: readonly number[], signed: boolean): Int8Array | Uint8Array {
  const count = elementCount(dims);
  const elements = signed ? new Int8Array(count) : new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const nibble = (bytes[i >> 1]! >> ((i & 1) * 4)) & 15;
    elements[i] = signed && nibble > 7 ? nibble - 16 : nibble;
  }
  return elements;
}

function pack(elements: Int8Array | Uint8Array): Uint8Array {
  const bytes = new Uint8Array((elements.length + 1) >> 1);
  elements.forEach((x, i) => {
    bytes[i >> 1]! |= (x & 15) << ((i & 1) * 4);
  });
  return bytes;
}
