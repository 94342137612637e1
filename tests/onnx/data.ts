/** Reads the test data that stands beside the project; see /README of each folder of WASMITH_DATA. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import type { OnnxDType } from "../../compiler/onnx/dtype.js";
import type { OptionalProto, SequenceProto } from "../../compiler/onnx/proto-types.js";
import { decodeMessage } from "../../compiler/onnx/protobuf.js";
import { allocate, decodeTensor, type NumericData, type OnnxTensor } from "../../compiler/onnx/tensor.js";

export const DATA = resolve(process.env.WASMITH_DATA ?? "../shared");
export const hasConformance = existsSync(join(DATA, "onnx-conformance/tests.tar.gz"));
export const hasModels = existsSync(join(DATA, "models"));
export const hasExports = existsSync(join(DATA, "reference/onnx"));

/** Regular files of a (ustar) tar archive by path. */
export function untar(tar: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const text = (at: number, length: number) =>
    new TextDecoder("latin1").decode(tar.subarray(at, at + length)).replace(/\0.*$/s, "");
  let longName = "";
  for (let at = 0; at + 512 <= tar.length; ) {
    const name = text(at, 100);
    if (name === "") break;
    const size = Number.parseInt(text(at + 124, 12).trim() || "0", 8);
    const type = text(at + 156, 1);
    const prefix = text(at + 257, 5) === "ustar" ? text(at + 345, 155) : "";
    const body = tar.subarray(at + 512, at + 512 + size);
    if (type === "L") longName = text(at + 512, size);
    else {
      if (type === "0" || type === "") files.set(longName || (prefix ? `${prefix}/${name}` : name), body);
      longName = "";
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

/** A tensor, a sequence of values, or an absent optional. */
export type OnnxValue = OnnxTensor | readonly OnnxValue[] | null;

/** What an input_N.pb or output_N.pb holds: the graph says which; the file does not. */
export type ValueKind = "tensor" | "sequence" | "optional";

function sequenceValue(sequence: SequenceProto): OnnxValue {
  switch (sequence.elemType ?? 0) {
    case 1:
      return (sequence.tensorValues ?? []).map((t) => decodeTensor(t, "sequence"));
    case 3:
      return (sequence.sequenceValues ?? []).map(sequenceValue);
    case 5:
      return (sequence.optionalValues ?? []).map(optionalValue);
    case 0:
      return [];
    default:
      throw new Error(`sequence of kind ${sequence.elemType}`);
  }
}

function optionalValue(optional: OptionalProto): OnnxValue {
  if (optional.tensorValue) return decodeTensor(optional.tensorValue, "optional");
  if (optional.sequenceValue) return sequenceValue(optional.sequenceValue);
  if (optional.optionalValue) return optionalValue(optional.optionalValue);
  return null;
}

export function decodeValue(bytes: Uint8Array, kind: ValueKind, where: string): OnnxValue {
  if (kind === "tensor") return decodeTensor(decodeMessage("TensorProto", bytes), where);
  if (kind === "sequence") return sequenceValue(decodeMessage("SequenceProto", bytes));
  return optionalValue(decodeMessage("OptionalProto", bytes));
}

export interface ConformanceTest {
  readonly suite: string;
  readonly name: string;
  /** The op that the test is about; "" where a model has several. */
  readonly op: string;
  readonly notes: readonly string[];
  readonly model: Uint8Array;
  /** Serialised inputs and outputs, in order. */
  readonly inputs: readonly Uint8Array[];
  readonly outputs: readonly Uint8Array[];
}

function numbered(files: ReadonlyMap<string, Uint8Array>, folder: string, kind: string): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let i = 0; ; i++) {
    const file = files.get(`${folder}/test_data_set_0/${kind}_${i}.pb`);
    if (!file) return found;
    found.push(file);
  }
}

let tests: readonly ConformanceTest[] | undefined;

/** All conformance tests, in the order of index.tsv. */
export function conformanceTests(): readonly ConformanceTest[] {
  if (tests) return tests;
  const folder = join(DATA, "onnx-conformance");
  const files = untar(gunzipSync(readFileSync(join(folder, "tests.tar.gz"))));
  const rows = readFileSync(join(folder, "index.tsv"), "utf8").trimEnd().split("\n").slice(1);
  tests = rows.map((row) => {
    const [suite = "", name = "", op = "", , , , notes = ""] = row.split("\t");
    const at = `onnx-conformance/${suite}/${name}`;
    const model = files.get(`${at}/model.onnx`);
    if (!model) throw new Error(`${at} is not in the archive`);
    return {
      suite,
      name,
      op,
      notes: notes.split(/[ ,]+/).filter((n) => n !== ""),
      model,
      inputs: numbered(files, at, "input"),
      outputs: numbered(files, at, "output"),
    };
  });
  return tests;
}

/** Class of each op (A, B, C) of ops.tsv, by "domain:op" with "" for ONNX's own domain. */
export function opClasses(): Map<string, string> {
  const rows = readFileSync(join(DATA, "onnx-conformance/ops.tsv"), "utf8").trimEnd().split("\n").slice(1);
  return new Map(
    rows.map((row) => {
      const [cls = "", domain = "", op = ""] = row.split("\t");
      return [`${domain === "ai.onnx" ? "" : domain}:${op}`, cls];
    }),
  );
}

/** Names of the folders with a model.onnx, with its path. None without the data. */
export function modelsIn(folder: string): { name: string; path: string; folder: string }[] {
  if (!existsSync(join(DATA, folder))) return [];
  return readdirSync(join(DATA, folder))
    .sort()
    .map((name) => ({ name, path: join(DATA, folder, name, "model.onnx"), folder: join(DATA, folder, name) }))
    .filter(({ path }) => existsSync(path));
}

export const trainedModels = () => modelsIn("models");
export const pytorchExports = () => modelsIn("reference/onnx");

const SAFETENSORS_DTYPES: Readonly<Record<string, Exclude<OnnxDType, "string">>> = {
  F64: "f64",
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  I64: "i64",
  I32: "i32",
  I16: "i16",
  I8: "i8",
  U64: "u64",
  U32: "u32",
  U16: "u16",
  U8: "u8",
  BOOL: "bool",
};

/** Tensors of a safetensors file by name, and its metadata. */
export function readSafetensors(path: string): { tensors: Map<string, OnnxTensor>; metadata: Record<string, string> } {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerLength)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const metadata = (header.__metadata__ ?? {}) as unknown as Record<string, string>;
  delete header.__metadata__;
  const tensors = new Map<string, OnnxTensor>();
  for (const [
    name,
    {
      dtype,
      shape,
      data_offsets: [begin, end],
    },
  ] of Object.entries(header)) {
    const type = SAFETENSORS_DTYPES[dtype];
    if (!type) throw new Error(`${path}: ${name} has dtype ${dtype}`);
    const raw = bytes.subarray(8 + headerLength + begin, 8 + headerLength + end);
    const data: NumericData = allocate(
      type,
      shape.reduce((n, d) => n * d, 1),
    );
    new Uint8Array(data.buffer).set(raw);
    tensors.set(name, { dtype: type, shape, data });
  }
  return { tensors, metadata };
}
