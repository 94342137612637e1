/** TensorProto ⇄ dense host tensors, for every element type and every place where ONNX stores elements. */
import { type DType, dtypeInfo, type TensorData } from "../../ir/dtype.js";
import { InternalError, ModelError } from "../../ir/errors.js";
import { codeOfDType, DTYPES, describeCode, dtypeOfCode, type OnnxDType } from "./dtype.js";
import { type ExternalData, externalReference } from "./external-data.js";
import type { Int, SparseTensorProto, TensorProto } from "./proto-types.js";

/** The typed arrays that hold elements, as in the IR. */
export type NumericData = TensorData;

/**
 * A dense tensor, row-major. f16 and bf16 are Uint16Array bit patterns, float8 kinds and f4e2m1 Uint8Array bit patterns,
 * bool a Uint8Array of 0 and 1, 4- and 2-bit types one element a byte (i4 and i2 in an Int8Array, sign extended).
 */
export interface OnnxTensor {
  readonly dtype: OnnxDType;
  readonly shape: readonly number[];
  readonly data: NumericData | readonly string[];
}

/** A zeroed array of the kind that holds `length` elements of `dtype`. */
export function allocate(dtype: DType, length: number): NumericData {
  return new dtypeInfo[dtype].array(length);
}

const utf8 = new TextDecoder();

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

function toShape(dims: readonly Int[], where: string): number[] {
  const shape = dims.map(Number);
  if (shape.some((d) => !Number.isSafeInteger(d) || d < 0))
    throw new ModelError({
      where,
      message: `shape [${dims.join(", ")}] has a dimension that is negative or too large`,
    });
  if (!Number.isSafeInteger(elementCount(shape)))
    throw new ModelError({ where, message: `shape [${dims.join(", ")}] has too many elements` });
  return shape;
}

/** Elements of fewer than 8 bits, lowest bits first, to one a byte; signed kinds are sign extended. */
function unpackBits(raw: Uint8Array, bits: 2 | 4, signed: boolean, count: number): NumericData {
  const out = signed ? new Int8Array(count) : new Uint8Array(count);
  const perByte = 8 / bits;
  for (let i = 0; i < count; i++) {
    const field = (raw[Math.floor(i / perByte)]! >> ((i % perByte) * bits)) & ((1 << bits) - 1);
    out[i] = signed ? (field << (32 - bits)) >> (32 - bits) : field;
  }
  return out;
}

function packBits(data: NumericData, bits: 2 | 4): Uint8Array {
  const perByte = 8 / bits;
  const out = new Uint8Array(Math.ceil(data.length / perByte));
  for (let i = 0; i < data.length; i++)
    out[Math.floor(i / perByte)]! |= (Number(data[i]) & ((1 << bits) - 1)) << ((i % perByte) * bits);
  return out;
}

/** Where elements come from that are not numbers of the message. */
export interface TensorSource {
  /** Reads data that is stored in another file; without it such a tensor is an error. */
  readonly external?: ExternalData | undefined;
  /** Bytes of the file may be moved. */
  readonly transfer?: boolean;
}

/**
 * Moves the bytes of a field to the multiple of `unit` before them. That writes over the field's own tag and length, which have been
 * read; undefined where these are too short.
 */
function movedDown(raw: Uint8Array, unit: number): Uint8Array | undefined {
  const by = raw.byteOffset % unit;
  const lengthBytes = Math.max(1, Math.ceil(Math.log2(raw.length + 1) / 7));
  if (by > 1 + lengthBytes) return undefined;
  const moved = new Uint8Array(raw.buffer, raw.byteOffset - by, raw.length);
  moved.set(raw);
  return moved;
}

function fromRaw(dtype: DType, raw: Uint8Array, count: number, where: string): NumericData {
  const { bits } = DTYPES[dtype];
  const expected = Math.ceil((count * bits) / 8);
  if (raw.length !== expected)
    throw new ModelError({
      where,
      message: `${count} elements of ${DTYPES[dtype].onnx} take ${expected} bytes, but the file has ${raw.length}`,
      hint: "the file is damaged; export it again",
    });
  if (bits === 4 || bits === 2) return unpackBits(raw, bits, dtype === "i4" || dtype === "i2", count);
  const ArrayOfType = dtypeInfo[dtype].array;
  const aligned = raw.byteOffset % ArrayOfType.BYTES_PER_ELEMENT === 0 ? raw : raw.slice();
  const data = new ArrayOfType(aligned.buffer as ArrayBuffer, aligned.byteOffset, count);
  // Bytes other than 0 and 1 are true as well.
  if (dtype === "bool") return Uint8Array.from(data as Uint8Array, (byte) => (byte === 0 ? 0 : 1));
  return data;
}

/** The typed field that ONNX prescribes for each element type. */
function typedField(dtype: DType, tensor: TensorProto): readonly Int[] {
  switch (dtype) {
    case "f32":
      return tensor.floatData ?? [];
    case "f64":
      return tensor.doubleData ?? [];
    case "i64":
      return tensor.int64Data ?? [];
    case "u32":
    case "u64":
      return tensor.uint64Data ?? [];
    default:
      return tensor.int32Data ?? [];
  }
}

function fromTyped(dtype: DType, values: readonly Int[], count: number, where: string): NumericData {
  const { bits } = DTYPES[dtype];
  if (bits === 4 || bits === 2) {
    // Each entry of int32_data holds one byte of packed elements.
    return fromRaw(dtype, Uint8Array.from(values, Number), count, where);
  }
  if (values.length !== count)
    throw new ModelError({
      where,
      message: `the shape asks for ${count} elements of ${DTYPES[dtype].onnx}, but the file has ${values.length}`,
      hint: "the file is damaged; export it again",
    });
  const data = allocate(dtype, count);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array)
    for (let i = 0; i < count; i++) data[i] = BigInt(values[i]!);
  else if (dtype === "bool") for (let i = 0; i < count; i++) data[i] = values[i] ? 1 : 0;
  else for (let i = 0; i < count; i++) data[i] = Number(values[i]);
  return data;
}

/**
 * Decodes a tensor; its data is a view of the file where alignment allows.
 * @param where what the tensor is, for messages
 * @throws ModelError
 */
export function decodeTensor(
  tensor: TensorProto,
  where: string,
  { external, transfer = false }: TensorSource = {},
): OnnxTensor {
  const code = tensor.dataType ?? 0;
  const dtype = dtypeOfCode(code);
  if (!dtype)
    throw new ModelError({
      where,
      message: `the tensor has the element type ${describeCode(code)}, which wasmith has no representation for`,
      hint: "convert the model to float, integer, bool or string tensors",
    });
  const shape = toShape(tensor.dims ?? [], where);
  const count = elementCount(shape);
  if (tensor.segment)
    throw new ModelError({ where, message: "segmented tensors are not supported", hint: "store the tensor whole" });
  if (dtype === "string") {
    const strings = tensor.stringData ?? [];
    if (strings.length !== count)
      throw new ModelError({
        where,
        message: `the shape asks for ${count} strings, but the file has ${strings.length}`,
      });
    return { dtype, shape, data: strings.map((bytes) => utf8.decode(bytes)) };
  }
  if (tensor.dataLocation === 1) {
    const length = Math.ceil((count * DTYPES[dtype].bits) / 8);
    const reference = externalReference(tensor, length, where);
    if (!external)
      throw new ModelError({
        where,
        message: `the data is in the external file "${reference.location}", which was not given`,
        hint: "pass importOnnx the option `path` (of the .onnx file, in Node) or `externalData` (bytes by file name)",
      });
    return { dtype, shape, data: fromRaw(dtype, external(reference), count, where) };
  }
  if (Object.hasOwn(tensor, "rawData") && tensor.rawData) {
    const typed = typedField(dtype, tensor);
    // Some writers leave raw_data empty beside a filled typed field.
    if (tensor.rawData.length > 0 || typed.length === 0) {
      const moved = transfer ? movedDown(tensor.rawData, dtypeInfo[dtype].array.BYTES_PER_ELEMENT) : undefined;
      if (moved) tensor.rawData = moved;
      return { dtype, shape, data: fromRaw(dtype, tensor.rawData, count, where) };
    }
  }
  return { dtype, shape, data: fromTyped(dtype, typedField(dtype, tensor), count, where) };
}

/** Encodes a tensor with its data in raw_data (strings in string_data). */
export function encodeTensor(tensor: OnnxTensor, name: string): TensorProto {
  const proto: TensorProto = { dims: [...tensor.shape], dataType: codeOfDType(tensor.dtype), name };
  if (tensor.dtype === "string") {
    proto.stringData = (tensor.data as readonly string[]).map((s) => new TextEncoder().encode(s));
    return proto;
  }
  const data = tensor.data as NumericData;
  const { bits } = DTYPES[tensor.dtype];
  proto.rawData =
    bits === 4 || bits === 2
      ? packBits(data, bits)
      : new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  return proto;
}

/**
 * Decodes a sparse tensor (COO: linear or per-axis indices) to a dense one.
 * @param maxBytes refuses dense forms larger than this
 */
export function decodeSparseTensor(
  sparse: SparseTensorProto,
  where: string,
  maxBytes: number,
  source?: TensorSource,
): OnnxTensor {
  if (!sparse.values || !sparse.indices)
    throw new ModelError({ where, message: "the sparse tensor lacks its values or indices" });
  const values = decodeTensor(sparse.values, where, source);
  const indices = decodeTensor(sparse.indices, where, source);
  const shape = toShape(sparse.dims ?? [], where);
  const count = elementCount(shape);
  if (count * 8 > maxBytes)
    throw new ModelError({ where, message: `the dense form of the sparse tensor [${shape.join(", ")}] is too large` });
  if (values.dtype === "string" || !(indices.data instanceof BigInt64Array))
    throw new ModelError({ where, message: "a sparse tensor needs numeric values and int64 indices" });
  const nnz = values.data.length;
  const perAxis = indices.shape.length === 2;
  if (indices.data.length !== nnz * (perAxis ? shape.length : 1))
    throw new ModelError({
      where,
      message: `the sparse tensor has ${nnz} values but indices of shape [${indices.shape.join(", ")}]`,
    });
  const data = allocate(values.dtype, count);
  for (let i = 0; i < nnz; i++) {
    let at = 0;
    if (perAxis)
      for (const [axis, dim] of shape.entries()) {
        const index = Number(indices.data[i * shape.length + axis]);
        if (index < 0 || index >= dim)
          throw new ModelError({
            where,
            message: `index ${index} of the sparse tensor is outside axis ${axis} of size ${dim}`,
          });
        at = at * dim + index;
      }
    else at = Number(indices.data[i]);
    if (!(at >= 0 && at < count))
      throw new ModelError({ where, message: `index ${at} of the sparse tensor is outside its ${count} elements` });
    setElement(data, at, values.data as NumericData, i);
  }
  return { dtype: values.dtype, shape, data };
}

function setElement(to: NumericData, at: number, from: NumericData, index: number): void {
  if (to.constructor !== from.constructor) throw new InternalError("arrays of one dtype differ in kind");
  (to as Float64Array)[at] = (from as Float64Array)[index]!;
}
