/** Readers of files of numbers: npy, npz, IDX, safetensors. */
import { arrayTypes, type DType } from "../../format.js";
import type { BinarySource } from "../../read.js";
import { readSafetensors as parseSafetensors } from "../../safetensors.js";
import { byteSize, sizeOf, type Tensor, type TensorData } from "../../tensor.js";
import { type Bad, badFile, open, type ReadOptions, readChecks } from "./bytes.js";
import { membersOf } from "./zip.js";

/** The elements at a place, in the machine's (little-endian) order. */
function elements(dtype: DType, bytes: Uint8Array, at: number, count: number, bigEndian: boolean): TensorData {
  const width = arrayTypes[dtype].BYTES_PER_ELEMENT;
  const copy = bytes.slice(at, at + count * width);
  if (bigEndian && width > 1) for (let i = 0; i < copy.length; i += width) copy.subarray(i, i + width).reverse();
  return new arrayTypes[dtype](copy.buffer as ArrayBuffer, 0, count);
}

/** @throws unless exactly this many bytes remain */
function checkRest(bad: Bad, dtype: DType, shape: readonly number[], rest: number, hint?: string): void {
  const want = byteSize(dtype, shape);
  if (rest === want) return;
  const what = `${dtype}[${shape.join(", ")}] takes ${want} bytes, but ${rest} follow the header`;
  bad(what, rest < want ? "the file is cut short: copy it anew" : hint);
}

const numpyTypes: Readonly<Record<string, DType>> = {
  f2: "f16",
  f4: "f32",
  f8: "f64",
  i1: "i8",
  i2: "i16",
  i4: "i32",
  i8: "i64",
  u1: "u8",
  u2: "u16",
  u4: "u32",
  u8: "u64",
  b1: "bool",
};
const numpyKinds: Readonly<Record<string, string>> = {
  c: "complex numbers: save real and imaginary parts",
  O: "Python objects: save arrays of numbers",
  U: "text: save numbers, or JSON lines",
  S: "text: save numbers, or JSON lines",
  M: "dates: save numbers",
  m: "durations: save numbers",
  V: "records or raw bytes: save a plain array for each field",
};

/** https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
function parseNpy(bytes: Uint8Array, name: string): Tensor {
  const bad = badFile(name);
  const magic = String.fromCharCode(...bytes.subarray(0, 6));
  if (magic !== "\x93NUMPY") bad("not an npy file", "np.save writes one");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = bytes[6] ?? 0;
  if (version < 1 || version > 3) bad(`version ${version} of the npy format is not known`);
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) bad(`cut short at byte ${bytes.length}`);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (start + length > bytes.length) bad(`the header ends at byte ${start + length}, the file at ${bytes.length}`);
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  const descr = /'descr':\s*'([<>|=])([a-zA-Z])(\d*)[^']*'/.exec(header);
  const order = /'fortran_order':\s*(True|False)/.exec(header);
  const sizes = /'shape':\s*\(([\d,\sL]*)\)/.exec(header);
  if (!order || !sizes || (!descr && !/'descr':\s*\[/.test(header)))
    return bad(`the header ${JSON.stringify(header.trim())} is not one of npy`);
  const kind = descr?.[2] ?? "V";
  const dtype = numpyTypes[kind + (descr?.[3] ?? "")];
  if (dtype === undefined) return bad(`its elements are ${numpyKinds[kind] ?? `of the unknown type "${descr?.[0]}"`}`);
  const shape = sizes[1]!.split(",").flatMap((s) => (s.trim() === "" ? [] : [Number.parseInt(s, 10)]));
  if (!Number.isSafeInteger(sizeOf(shape))) bad(`the shape [${shape}] is too large`);
  const at = start + length;
  checkRest(bad, dtype, shape, bytes.length - at, "the file holds more than one array: write an npz");
  const data = elements(dtype, bytes, at, sizeOf(shape), descr![1] === ">");
  return { dtype, shape, data: order[1] === "True" ? toRowMajor(dtype, shape, data) : data } as Tensor;
}

/** From column-major order, where the first axis runs fastest. */
function toRowMajor(dtype: DType, shape: readonly number[], data: TensorData): TensorData {
  const out = new arrayTypes[dtype](data.length);
  const strides = shape.map((_, i) => sizeOf(shape.slice(0, i)));
  const index = shape.map(() => 0);
  let from = 0;
  for (let i = 0; i < data.length; i++) {
    out[i] = data[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}

/** An array of numpy (`np.save`): numbers and booleans of any size, both byte orders, both memory orders. */
export async function readNpy(source: BinarySource, options: ReadOptions = {}): Promise<Tensor> {
  const { bytes, name } = await open("npy file", source, options, readChecks);
  return parseNpy(bytes, name);
}

/** Arrays of numpy by name (`np.savez`, `np.savez_compressed`). Checksums are compared. */
export async function readNpz(source: BinarySource, options: ReadOptions = {}): Promise<Record<string, Tensor>> {
  const file = await open("npz file", source, options, readChecks);
  const arrays: Record<string, Tensor> = {};
  for await (const [name, bytes] of membersOf(file)) {
    if (name.endsWith(".npy")) arrays[name.slice(0, -4)] = parseNpy(bytes, `${file.name}, ${name}`);
  }
  return arrays;
}

const idxTypes: Readonly<Record<number, DType>> = { 8: "u8", 9: "i8", 11: "i16", 12: "i32", 13: "f32", 14: "f64" };

/** The format of the MNIST files (http://yann.lecun.com/exdb/mnist): type, sizes, elements, all big-endian. */
export async function readIdx(source: BinarySource, options: ReadOptions = {}): Promise<Tensor> {
  const { bytes, name } = await open("IDX file", source, options, readChecks);
  const bad = badFile(name);
  const dtype = bytes[0] === 0 && bytes[1] === 0 ? idxTypes[bytes[2] ?? 0] : undefined;
  if (dtype === undefined)
    return bad("not an IDX file", "they begin with two zeros and a type: 8, 9, 11, 12, 13 or 14");
  const rank = bytes[3] ?? 0;
  const start = 4 + 4 * rank;
  if (bytes.length < start) bad(`cut short at byte ${bytes.length}, in the header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  checkRest(bad, dtype, shape, bytes.length - start);
  return { dtype, shape, data: elements(dtype, bytes, start, sizeOf(shape), true) } as Tensor;
}

/** All tensors of a safetensors file by name. */
export async function readSafetensors(
  source: BinarySource,
  options: ReadOptions = {},
): Promise<Record<string, Tensor>> {
  const { bytes, name } = await open("safetensors file", source, options, readChecks);
  const { tensors } = parseSafetensors(bytes, name);
  return Object.fromEntries(
    [...tensors.values()].map(({ name: key, dtype, shape, data }) => [
      key,
      { dtype, shape, data: elements(dtype, data, 0, sizeOf(shape), false) } as Tensor,
    ]),
  );
}
