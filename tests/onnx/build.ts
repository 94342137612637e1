/** Small ONNX models, written as data. */
import type {
  AttributeProto,
  FunctionProto,
  GraphProto,
  ModelProto,
  NodeProto,
  ValueInfoProto,
} from "../../compiler/onnx/proto-types.js";

export function tensorInfo(name: string, dims: readonly (number | string)[] | undefined, elemType = 1): ValueInfoProto {
  const shape = dims && { dim: dims.map((d) => (typeof d === "number" ? { dimValue: d } : { dimParam: d })) };
  return { name, type: { tensorType: { elemType, ...(shape ? { shape } : {}) } } };
}

type AttributeValue = number | string | readonly number[] | AttributeProto;

export function attr(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === "number")
    return Number.isInteger(value) ? { name, type: 2, i: value } : { name, type: 1, f: value };
  if (typeof value === "string") return { name, type: 3, s: new TextEncoder().encode(value) };
  if (Array.isArray(value)) return { name, type: 7, ints: [...(value as readonly number[])] };
  return { name, ...(value as AttributeProto) };
}

export function node(
  opType: string,
  input: string[],
  output: string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
  rest: NodeProto = {},
): NodeProto {
  return { opType, input, output, attribute: Object.entries(attributes).map(([n, v]) => attr(n, v)), ...rest };
}

export function model(graph: GraphProto, functions: FunctionProto[] = [], opset = 21): ModelProto {
  const domains = new Set(functions.map((f) => f.domain ?? ""));
  const opsetImport = [{ domain: "", version: opset }, ...[...domains].map((domain) => ({ domain, version: 1 }))];
  return { irVersion: 10, opsetImport, graph: { name: "g", ...graph }, functions };
}
