/**
 * An ONNX model as the importer sees it: decoded, normalised and checked, but still ONNX.
 *
 * Normalised: the domain "ai.onnx" is ""; an absent optional input or output is ""; trailing absent ones are dropped; node
 * lists are in topological order; every node knows the opset version that its place imports. Initializers that are also
 * graph inputs (the rule before IR version 4) are initializers only, unless the caller asks to keep them as inputs.
 */
import { ModelError, type Problem } from "../../ir/errors.js";
import { describeNode, type OnnxAttribute } from "./attributes.js";
import { checkGraph } from "./check.js";
import { describeCode, dtypeOfCode, type OnnxDType } from "./dtype.js";
import { type ExternalData, type ExternalDataOptions, externalReader } from "./external-data.js";
import { type FileBytes, fileBytes } from "./file-bytes.js";
import type * as proto from "./proto-types.js";
import { DEFAULT_DECODE_LIMITS, type DecodeLimits, decodeModel } from "./protobuf.js";
import { decodeSparseTensor, decodeTensor, type OnnxTensor, type TensorSource } from "./tensor.js";

/** A size, a name (equal names mean equal sizes), or null: unknown. */
export type OnnxDim = number | string | null;

export type OnnxType =
  | { readonly kind: "tensor"; readonly dtype: OnnxDType | undefined; readonly shape: readonly OnnxDim[] | undefined }
  | { readonly kind: "sequence"; readonly element: OnnxType }
  | { readonly kind: "optional"; readonly element: OnnxType }
  | { readonly kind: "unsupported"; readonly what: string };

export interface OnnxValueInfo {
  readonly name: string;
  readonly type: OnnxType | undefined;
}

export interface OnnxNode {
  readonly name: string;
  /** "" for ONNX's own ops. */
  readonly domain: string;
  readonly opType: string;
  readonly overload: string;
  /** Opset version of `domain` that holds where the node stands; undefined if it is not imported. */
  readonly version: number | undefined;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
}

export interface OnnxGraph {
  readonly name: string;
  readonly inputs: readonly OnnxValueInfo[];
  readonly outputs: readonly OnnxValueInfo[];
  /** Types that the file states for inner values. */
  readonly valueInfo: ReadonlyMap<string, OnnxType>;
  readonly initializers: ReadonlyMap<string, OnnxTensor>;
  /** Initializers that are listed as inputs too: their tensors hold unless a caller gives others. Only of the main graph. */
  readonly overridable?: readonly OnnxValueInfo[];
  readonly nodes: readonly OnnxNode[];
}

export interface OnnxFunction {
  readonly domain: string;
  readonly name: string;
  readonly overload: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: readonly string[];
  readonly attributeDefaults: ReadonlyMap<string, OnnxAttribute>;
  readonly opsets: ReadonlyMap<string, number>;
  readonly nodes: readonly OnnxNode[];
}

/** Key of the metadata in which exportOnnx keeps the ranges of named sizes, which ONNX has no place for. */
export const DIMS_KEY = "wasmith.dims";

export interface OnnxModel {
  readonly irVersion: number;
  /** Domain → version. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly graph: OnnxGraph;
  readonly functions: readonly OnnxFunction[];
  /** Producer, documentation and the file's own metadata_props. */
  readonly metadata: ReadonlyMap<string, string>;
}

export interface ReadModelOptions extends ExternalDataOptions {
  readonly limits?: DecodeLimits;
  /** Keep initializers that are also listed as graph inputs as inputs. */
  readonly initializersAreInputs?: boolean;
  /** Largest dense form of a sparse initializer, in bytes. */
  readonly maxSparseBytes?: number;
  /**
   * Hands the file's bytes over: whoever passes them does not use them any more, and weights are moved in them by the few bytes that
   * typed arrays are off, where they would be copied otherwise.
   */
  readonly transfer?: boolean;
}

/** Subgraphs in subgraphs. */
const MAX_GRAPH_DEPTH = 32;
const OLDEST_IR = 3;
const utf8 = new TextDecoder();

export const normaliseDomain = (domain: string | undefined): string => (domain === "ai.onnx" ? "" : (domain ?? ""));

interface Context {
  readonly options: ReadModelOptions;
  /** Reads weights that are stored in other files. */
  readonly external: ExternalData | undefined;
  readonly irVersion: number;
  readonly problems: Problem[];
}

/** Runs `read`, turning its ModelError into problems of the list. */
function collect<T>(context: Context, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    context.problems.push(...error.problems);
    return undefined;
  }
}

function readDim(dim: proto.DimensionProto): OnnxDim {
  if (dim.dimValue !== null && dim.dimValue !== undefined) {
    const size = Number(dim.dimValue);
    // Some exporters write -1 for an unknown size.
    return Number.isSafeInteger(size) && size >= 0 ? size : null;
  }
  return dim.dimParam ? dim.dimParam : null;
}

function readType(type: proto.TypeProto | null | undefined, depth = 0): OnnxType | undefined {
  if (!type) return undefined;
  if (depth > MAX_GRAPH_DEPTH) return { kind: "unsupported", what: "a deeply nested type" };
  const element = (inner: proto.ElementTypeProto): OnnxType =>
    readType(inner.elemType, depth + 1) ?? { kind: "tensor", dtype: undefined, shape: undefined };
  if (type.tensorType) {
    const code = type.tensorType.elemType ?? 0;
    const dtype = dtypeOfCode(code);
    if (!dtype && code !== 0) return { kind: "unsupported", what: `a tensor of ${describeCode(code)}` };
    const shape = type.tensorType.shape;
    return { kind: "tensor", dtype, shape: shape ? (shape.dim ?? []).map(readDim) : undefined };
  }
  if (type.sequenceType) return { kind: "sequence", element: element(type.sequenceType) };
  if (type.optionalType) return { kind: "optional", element: element(type.optionalType) };
  if (type.mapType) return { kind: "unsupported", what: "a map" };
  if (type.sparseTensorType) return { kind: "unsupported", what: "a sparse tensor" };
  if (type.opaqueType) return { kind: "unsupported", what: "an opaque type" };
  return undefined;
}

/** AttributeProto.AttributeType, and the field that each kind is stored in, for files that leave the type out. */
const ATTRIBUTE_KINDS = [
  { code: 1, kind: "float", field: "f" },
  { code: 2, kind: "int", field: "i" },
  { code: 3, kind: "string", field: "s" },
  { code: 4, kind: "tensor", field: "t" },
  { code: 5, kind: "graph", field: "g" },
  { code: 6, kind: "floats", field: "floats" },
  { code: 7, kind: "ints", field: "ints" },
  { code: 8, kind: "strings", field: "strings" },
  { code: 9, kind: "tensors", field: "tensors" },
  { code: 10, kind: "graphs", field: "graphs" },
  { code: 11, kind: "sparse", field: "sparseTensor" },
  { code: 13, kind: "type", field: "tp" },
  { code: 14, kind: "types", field: "typeProtos" },
] as const satisfies readonly { code: number; kind: string; field: keyof proto.AttributeProto }[];

function readAttribute(
  attribute: proto.AttributeProto,
  where: string,
  opsets: ReadonlyMap<string, number>,
  depth: number,
  context: Context,
): OnnxAttribute {
  if (attribute.refAttrName) return { kind: "reference", name: attribute.refAttrName };
  const row =
    ATTRIBUTE_KINDS.find((k) => k.code === attribute.type) ??
    ATTRIBUTE_KINDS.find((k) => !attribute.type && Object.hasOwn(attribute, k.field));
  const place = `${where}, attribute "${attribute.name ?? ""}"`;
  if (!row)
    throw new ModelError({ where: place, message: `the attribute has an unknown type (${attribute.type ?? 0})` });
  const tensor = (t: proto.TensorProto | null | undefined) => decodeTensor(t ?? {}, place, sourceOf(context));
  const graph = (g: proto.GraphProto | null | undefined) => readGraph(g ?? {}, opsets, depth + 1, context);
  const type = (t: proto.TypeProto | null | undefined): OnnxType =>
    readType(t) ?? { kind: "unsupported", what: "an empty type" };
  switch (row.kind) {
    case "float":
      return { kind: "float", value: attribute.f ?? 0 };
    case "int":
      return { kind: "int", value: BigInt(attribute.i ?? 0) };
    case "string":
      return { kind: "string", value: utf8.decode(attribute.s) };
    case "tensor":
      return { kind: "tensor", value: tensor(attribute.t) };
    case "graph":
      return { kind: "graph", value: graph(attribute.g) };
    case "sparse":
      return { kind: "tensor", value: readSparse(attribute.sparseTensor ?? {}, place, context) };
    case "type":
      return { kind: "type", value: type(attribute.tp) };
    case "floats":
      return { kind: "floats", value: attribute.floats ?? [] };
    case "ints":
      return { kind: "ints", value: (attribute.ints ?? []).map(BigInt) };
    case "strings":
      return { kind: "strings", value: (attribute.strings ?? []).map((s) => utf8.decode(s)) };
    case "tensors":
      return { kind: "tensors", value: (attribute.tensors ?? []).map(tensor) };
    case "graphs":
      return { kind: "graphs", value: (attribute.graphs ?? []).map(graph) };
    case "types":
      return { kind: "types", value: (attribute.typeProtos ?? []).map(type) };
  }
}

function readSparse(sparse: proto.SparseTensorProto, where: string, context: Context): OnnxTensor {
  return decodeSparseTensor(sparse, where, context.options.maxSparseBytes ?? 2 ** 30, sourceOf(context));
}

const sourceOf = ({ external, options }: Context): TensorSource => ({ external, transfer: options.transfer ?? false });

function withoutTrailingAbsent(names: readonly string[]): readonly string[] {
  let length = names.length;
  while (length > 0 && names[length - 1] === "") length--;
  return names.slice(0, length);
}

function readNode(
  node: proto.NodeProto,
  opsets: ReadonlyMap<string, number>,
  depth: number,
  context: Context,
): OnnxNode {
  const domain = normaliseDomain(node.domain);
  const attributes = new Map<string, OnnxAttribute>();
  const read: OnnxNode = {
    name: node.name ?? "",
    domain,
    opType: node.opType ?? "",
    overload: node.overload ?? "",
    version: opsets.get(domain),
    inputs: withoutTrailingAbsent(node.input ?? []),
    outputs: withoutTrailingAbsent(node.output ?? []),
    attributes,
  };
  const where = describeNode(read);
  for (const attribute of node.attribute ?? []) {
    const name = attribute.name ?? "";
    if (attributes.has(name)) context.problems.push({ where, message: `the attribute "${name}" is given twice` });
    const value = collect(context, () => readAttribute(attribute, where, opsets, depth, context));
    if (value) attributes.set(name, value);
  }
  return read;
}

function readValueInfo(info: proto.ValueInfoProto): OnnxValueInfo {
  return { name: info.name ?? "", type: readType(info.type) };
}

function readGraph(
  graph: proto.GraphProto,
  opsets: ReadonlyMap<string, number>,
  depth: number,
  context: Context,
): OnnxGraph {
  if (depth > MAX_GRAPH_DEPTH)
    throw new ModelError({ where: graph.name, message: `subgraphs are nested deeper than ${MAX_GRAPH_DEPTH}` });
  const { options, problems } = context;
  const initializers = new Map<string, OnnxTensor>();
  const addInitializer = (name: string, read: (where: string) => OnnxTensor) => {
    const where = `initializer "${name}"`;
    if (initializers.has(name)) problems.push({ where, message: "the name is given to two initializers" });
    const tensor = collect(context, () => read(where));
    if (tensor) initializers.set(name, tensor);
  };
  for (const proto of graph.initializer ?? [])
    addInitializer(proto.name ?? "", (where) => decodeTensor(proto, where, sourceOf(context)));
  for (const proto of graph.sparseInitializer ?? [])
    addInitializer(proto.values?.name ?? "", (where) => readSparse(proto, where, context));
  const inputs = (graph.input ?? []).map(readValueInfo);
  const kept = options.initializersAreInputs ? inputs : inputs.filter((input) => !initializers.has(input.name));
  const valueInfo = new Map<string, OnnxType>();
  for (const info of (graph.valueInfo ?? []).map(readValueInfo)) if (info.type) valueInfo.set(info.name, info.type);
  return {
    name: graph.name ?? "",
    inputs: kept,
    outputs: (graph.output ?? []).map(readValueInfo),
    valueInfo,
    initializers,
    overridable: inputs.filter((input) => !kept.includes(input)),
    nodes: (graph.node ?? []).map((node) => readNode(node, opsets, depth, context)),
  };
}

function readOpsets(imports: readonly proto.OperatorSetIdProto[] | undefined): Map<string, number> {
  return new Map((imports ?? []).map((o) => [normaliseDomain(o.domain), Number(o.version ?? 0)]));
}

function readFunction(
  fn: proto.FunctionProto,
  modelOpsets: ReadonlyMap<string, number>,
  context: Context,
): OnnxFunction {
  // A function that imports nothing of a domain sees what the model imports.
  const opsets = new Map([...modelOpsets, ...readOpsets(fn.opsetImport)]);
  const where = `function "${fn.name ?? ""}"`;
  const attributeDefaults = new Map<string, OnnxAttribute>();
  for (const attribute of fn.attributeProto ?? []) {
    const value = collect(context, () => readAttribute(attribute, where, opsets, 1, context));
    if (value) attributeDefaults.set(attribute.name ?? "", value);
  }
  return {
    domain: normaliseDomain(fn.domain),
    name: fn.name ?? "",
    overload: fn.overload ?? "",
    inputs: fn.input ?? [],
    outputs: fn.output ?? [],
    attributes: [...(fn.attribute ?? []), ...attributeDefaults.keys()],
    attributeDefaults,
    opsets,
    nodes: (fn.node ?? []).map((node) => readNode(node, opsets, 1, context)),
  };
}

function readMetadata(model: proto.ModelProto): Map<string, string> {
  const metadata = new Map<string, string>();
  const set = (key: string, value: string | undefined) => {
    if (value) metadata.set(key, value);
  };
  set("producer_name", model.producerName);
  set("producer_version", model.producerVersion);
  set("domain", model.domain);
  set("doc_string", model.docString);
  if (model.modelVersion) set("model_version", String(model.modelVersion));
  for (const { key, value } of model.metadataProps ?? []) set(key ?? "", value);
  return metadata;
}

/**
 * Reads a decoded model.
 * @throws ModelError with everything that is wrong with it.
 */
export function readModel(model: proto.ModelProto, options: ReadModelOptions = {}): OnnxModel {
  const irVersion = Number(model.irVersion ?? 0);
  const problems: Problem[] = [];
  const context: Context = { options, external: externalReader(options), irVersion, problems };
  if (irVersion < OLDEST_IR)
    problems.push({
      message: `the file has IR version ${irVersion}; versions ${OLDEST_IR} and later are supported`,
      hint: "convert it with onnx.version_converter",
    });
  const opsets = readOpsets(model.opsetImport);
  const graph = collect(context, () => readGraph(model.graph ?? {}, opsets, 0, context));
  const functions = (model.functions ?? []).flatMap(
    (fn) => collect(context, () => readFunction(fn, opsets, context)) ?? [],
  );
  if (!graph) throw new ModelError(problems);
  const sorted = checkGraph(graph, problems);
  const sortedFunctions = functions.map((fn) => {
    const inputs = fn.inputs.map((name) => ({ name, type: undefined }));
    const outputs = fn.outputs.map((name) => ({ name, type: undefined }));
    const body = { name: fn.name, inputs, outputs, valueInfo: new Map(), initializers: new Map(), nodes: fn.nodes };
    return { ...fn, nodes: checkGraph(body, problems).nodes };
  });
  if (problems.length > 0) throw new ModelError(problems);
  return { irVersion, opsets, graph: sorted, functions: sortedFunctions, metadata: readMetadata(model) };
}

/**
 * Decodes and reads a `.onnx` file.
 * @throws ModelError with everything that is wrong with it.
 */
export function readOnnx(file: FileBytes, options: ReadModelOptions = {}): OnnxModel {
  return readModel(decodeModel(fileBytes(file), options.limits ?? DEFAULT_DECODE_LIMITS), options);
}
