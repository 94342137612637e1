/**
 * Writes a training session's model as ONNX: the artefact's template with the weights of now as initializers. A file of its own,
 * which is loaded when someone exports. Protobuf's wire format is all it needs: fields are a tag, a length and bytes, in any order.
 */
import type { modelError } from "./errors.js";
import type { DType, Manifest, StateInfo } from "./format.js";
import { byteSize } from "./tensor.js";

/** TensorProto.DataType of what states are made of. */
const codes: { readonly [D in DType]?: number } = {
  f32: 1,
  u8: 2,
  i8: 3,
  u16: 4,
  i16: 5,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  f64: 11,
  u32: 12,
  u64: 13,
  bf16: 16,
};

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Uint8Array.of(...bytes, rest);
}

const sizeOf = (parts: readonly Uint8Array[]): number => parts.reduce((n, p) => n + p.length, 0);

/** A field whose value is bytes or a message. */
const field = (id: number, parts: readonly Uint8Array[]): Uint8Array[] => [
  varint(id * 8 + 2),
  varint(sizeOf(parts)),
  ...parts,
];

const number = (id: number, value: number): Uint8Array[] => [varint(id * 8), varint(value)];

/** TensorProto: dims = 1, data_type = 2, name = 8, raw_data = 9. */
const tensor = (code: number, { name, shape }: StateInfo, data: Uint8Array): Uint8Array[] => [
  ...shape.flatMap((d) => number(1, d)),
  ...number(2, code),
  ...field(8, [new TextEncoder().encode(name)]),
  ...field(9, [data]),
];

/** The whole file. @throws ModelError where the artefact holds no template. */
export function onnxFile(
  { bytes, manifest }: { readonly bytes: Uint8Array; readonly manifest: Manifest },
  error: typeof modelError,
): Uint8Array<ArrayBuffer> {
  const onnx = manifest.training?.onnx;
  if (!onnx) throw error("exportOnnx", "the artefact holds no ONNX model", "compile the training step again");
  if ("problems" in onnx)
    throw error("exportOnnx", `ONNX can't express the model: ${onnx.problems}`, "use exportSafetensors");
  const { offset, bytes: length, states } = onnx;
  const lies =
    [offset, length].every((n) => Number.isInteger(n) && n >= 0) && length >= 4 && offset + length <= bytes.length;
  if (!lies || !Array.isArray(states) || !states.every((i) => manifest.state[i]))
    throw error("artefact", "its ONNX model lies outside its memory", "compile the training step again");
  const template = bytes.subarray(onnx.offset, onnx.offset + onnx.bytes);
  const head = new DataView(bytes.buffer, onnx.offset).getUint32(0, true);
  const initializers = onnx.states.flatMap((index) => {
    const state = manifest.state[index]!;
    const code = codes[state.dtype];
    if (code === undefined) throw error("exportOnnx", `a weight of ${state.dtype} can't be written`);
    const end = state.offset + byteSize(state.dtype, state.shape);
    // GraphProto.initializer = 5
    return field(5, tensor(code, state, bytes.subarray(state.offset, end)));
  });
  // ModelProto.graph = 7
  const parts = [template.subarray(4, 4 + head), ...field(7, [template.subarray(4 + head), ...initializers])];
  const size = sizeOf(parts);
  if (size >= 2 ** 31) throw error("exportOnnx", `the file would have ${size} bytes; protobuf ends at 2 GiB`);
  const file = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}
