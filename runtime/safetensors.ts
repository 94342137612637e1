/**
 * The safetensors format (https://github.com/huggingface/safetensors): u64 length of the header, a JSON header
 * `{name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {…}}`, then the data.
 */
import { describe, modelError } from "./errors.js";
import { arrayTypes, type DType } from "./format.js";
import { byteSize } from "./tensor.js";

/** A tensor in a safetensors file; `data` is its bytes. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface Safetensors {
  /** In the order of the header. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Everything after the header. */
  readonly data: Uint8Array;
}

/**
 * The name of a dtype in files: F32, BOOL, F8_E4M3 for f8e4m3fn. Kinds that the format has no name for (i4, u2 …) are stored
 * as bytes and read back as i8 or u8.
 */
export function fileName(dtype: DType): string {
  const upper = dtype.toUpperCase();
  if (upper.length === 2) return `${upper[0]}8`;
  return upper.replace(/^F8(.*?)(FN)?$/, "F8_$1");
}

/** The dtype as which a tensor comes back from a file. */
export function storedDtype(dtype: DType): DType {
  return dtypeOf(fileName(dtype))!;
}

function dtypeOf(name: unknown): DType | undefined {
  const all = Object.keys(arrayTypes) as DType[];
  return all.find((d) => d.toUpperCase() === name) ?? all.find((d) => fileName(d) === name);
}

const headerLimit = 100_000_000;
const padName = "__pad__.";

/** Where the data section of a file begins, by its first 8 bytes. */
export function dataStart(bytes: Uint8Array): number {
  return 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
}

/**
 * Reads a file; tensors are views into `bytes`. Padding written by `writeSafetensors` is left out.
 * @param what names the file in errors.
 * @param make makes them, of the caller's own class.
 * @throws ModelError where the file is cut short, or its header is not one.
 */
export function readSafetensors(bytes: Uint8Array, what = "safetensors file", make = modelError): Safetensors {
  const bad = (message: string): never => {
    throw make(what, message, "the file is damaged, incomplete, or not in the safetensors format");
  };
  if (bytes.length < 8) bad(`only ${bytes.length} bytes long`);
  const length = dataStart(bytes) - 8;
  if (length > Math.min(headerLimit, bytes.length - 8))
    bad(`the header's length is ${length}, the file's ${bytes.length}`);
  const header = parseHeader(bytes.subarray(8, 8 + length), bad);
  const data = bytes.subarray(8 + length);
  const tensors = new Map<string, StoredTensor>();
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") {
      metadata = Object.fromEntries(Object.entries(entry ?? {}).map(([k, v]) => [k, String(v)]));
      continue;
    }
    const { dtype: kind, shape, data_offsets: range } = (entry ?? {}) as Record<string, unknown>;
    const dtype = dtypeOf(kind) ?? bad(`tensor "${name}" has the unknown dtype ${describe(kind)}`);
    const sizes = integers(shape) ?? bad(`tensor "${name}" has no valid shape`);
    const [begin = -1, end = -1, more] = integers(range) ?? [];
    const size = byteSize(dtype, sizes);
    if (begin < 0 || end > data.length || end - begin !== size || more !== undefined) {
      bad(`tensor "${name}" ${dtype}[${sizes}] can't lie at bytes ${begin} to ${end} of ${data.length}`);
    }
    if (!name.startsWith(padName)) tensors.set(name, { name, dtype, shape: sizes, data: data.subarray(begin, end) });
  }
  return { tensors, metadata, data };
}

function parseHeader(bytes: Uint8Array, bad: (message: string) => never): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // The message below says it.
  }
  return bad("the header is not a JSON object");
}

function integers(value: unknown): number[] | undefined {
  return Array.isArray(value) && value.every((d) => Number.isSafeInteger(d) && d >= 0) ? value : undefined;
}

export interface WriteOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /**
   * Start the data section and each tensor at a multiple of this. The format allows no holes, so the space between becomes
   * u8 tensors named `__pad__.N`. Without it tensors lie dense (as other tools write and expect it); put wide dtypes first.
   */
  readonly align?: number;
}

/** The placement that `writeSafetensors` chooses: offsets in the data section, in the given order. */
export function placeTensors(
  sizes: readonly number[],
  align = 1,
): { readonly offsets: readonly number[]; readonly bytes: number } {
  let at = 0;
  const offsets = sizes.map((size) => {
    const begin = Math.ceil(at / align) * align;
    at = begin + size;
    return begin;
  });
  return { offsets, bytes: at };
}

/** Writes tensors in the given order. Equal input gives equal bytes. */
export function writeSafetensors(tensors: readonly StoredTensor[], options?: WriteOptions): Uint8Array<ArrayBuffer> {
  const sizes = tensors.map((t) => t.data.length);
  const { header, offsets, bytes } = layOut(tensors, sizes, options);
  const out = new Uint8Array(header.length + bytes);
  out.set(header);
  tensors.forEach((t, i) => {
    out.set(t.data, header.length + offsets[i]!);
  });
  return out;
}

/**
 * What comes before the data in a file of tensors of so many bytes, and where in the data they are. Between them, and only there, are
 * bytes of 0.
 */
export function layOut(
  tensors: readonly Omit<StoredTensor, "data">[],
  sizes: readonly number[],
  { metadata, align = 1 }: WriteOptions = {},
): { readonly header: Uint8Array; readonly offsets: readonly number[]; readonly bytes: number } {
  const { offsets, bytes } = placeTensors(sizes, align);
  const fields: string[] = [];
  const field = (name: string, dtype: string, shape: readonly number[], begin: number, end: number): void => {
    fields.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`);
  };
  if (metadata) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let end = 0;
  tensors.forEach(({ name, dtype, shape }, i) => {
    const begin = offsets[i]!;
    const size = sizes[i]!;
    if (byteSize(dtype, shape) !== size) {
      throw modelError(`tensor "${name}"`, `${dtype}[${shape}] does not have ${size} bytes`);
    }
    if (begin > end) field(`${padName}${i}`, "U8", [begin - end], end, begin);
    end = begin + size;
    field(name, fileName(dtype), shape, begin, end);
  });
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const unit = Math.max(align, 8);
  const start = Math.ceil((8 + json.length) / unit) * unit;
  const header = new Uint8Array(start);
  new DataView(header.buffer).setBigUint64(0, BigInt(start - 8), true);
  header.fill(0x20, 8);
  header.set(json, 8);
  return { header, offsets, bytes };
}
