/** Attributes of ONNX nodes, decoded, and getters that check kinds and name the node in their errors. */
import { ModelError } from "../../ir/errors.js";
import type { OnnxGraph, OnnxNode, OnnxType } from "./model.js";
import type { OnnxTensor } from "./tensor.js";

export type OnnxAttribute =
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "int"; readonly value: bigint }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "tensor"; readonly value: OnnxTensor }
  | { readonly kind: "graph"; readonly value: OnnxGraph }
  | { readonly kind: "type"; readonly value: OnnxType }
  | { readonly kind: "floats"; readonly value: readonly number[] }
  | { readonly kind: "ints"; readonly value: readonly bigint[] }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "tensors"; readonly value: readonly OnnxTensor[] }
  | { readonly kind: "graphs"; readonly value: readonly OnnxGraph[] }
  | { readonly kind: "types"; readonly value: readonly OnnxType[] }
  /** Inside a function: the value of the caller's attribute `name`. */
  | { readonly kind: "reference"; readonly name: string };

export type AttributeKind = OnnxAttribute["kind"];
type ValueOf<K extends AttributeKind> = Extract<OnnxAttribute, { kind: K }> extends { value: infer V } ? V : never;

/** How a message names a node: its own name, or its op and first output. */
export function describeNode(node: OnnxNode): string {
  const op = node.domain === "" ? node.opType : `${node.domain}.${node.opType}`;
  const output = node.outputs.find((name) => name !== "");
  return node.name !== "" ? `${op} node "${node.name}"` : `${op} node${output ? ` of "${output}"` : ""}`;
}

function read<K extends AttributeKind>(node: OnnxNode, name: string, kind: K): ValueOf<K> | undefined {
  const attribute = node.attributes.get(name);
  if (attribute === undefined) return undefined;
  if (attribute.kind === kind) return (attribute as unknown as { value: ValueOf<K> }).value;
  // An empty list carries no type of its own in old files.
  if ("value" in attribute && Array.isArray(attribute.value) && attribute.value.length === 0 && kind.endsWith("s"))
    return [] as unknown as ValueOf<K>;
  throw new ModelError({
    where: describeNode(node),
    message: `attribute "${name}" should be of kind ${kind}, but is ${attribute.kind}`,
  });
}

function required<T>(node: OnnxNode, name: string, kind: AttributeKind, value: T | undefined): T {
  if (value !== undefined) return value;
  throw new ModelError({ where: describeNode(node), message: `the required attribute "${name}" (${kind}) is missing` });
}

/** Typed access to a node's attributes. The getters with a fallback return it where the attribute is absent. */
export class Attributes {
  readonly node: OnnxNode;

  constructor(node: OnnxNode) {
    this.node = node;
  }

  has(name: string): boolean {
    return this.node.attributes.has(name);
  }

  float<D extends number | undefined>(name: string, fallback: D): number | D {
    return read(this.node, name, "float") ?? fallback;
  }

  /** As a number; values beyond ±2^53 are rounded, which keeps their meaning as "no limit". */
  int<D extends number | undefined>(name: string, fallback: D): number | D {
    const value = read(this.node, name, "int");
    return value === undefined ? fallback : Number(value);
  }

  bigint<D extends bigint | undefined>(name: string, fallback: D): bigint | D {
    return read(this.node, name, "int") ?? fallback;
  }

  /** An int attribute that is a flag. */
  flag(name: string, fallback: boolean): boolean {
    const value = read(this.node, name, "int");
    return value === undefined ? fallback : value !== 0n;
  }

  string<D extends string | undefined>(name: string, fallback: D): string | D {
    return read(this.node, name, "string") ?? fallback;
  }

  /** A string attribute that has a fixed set of values. */
  oneOf<const T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    const value = this.string(name, fallback);
    const found = allowed.find((a) => a === value);
    if (found !== undefined) return found;
    throw new ModelError({
      where: describeNode(this.node),
      message: `attribute "${name}" is "${value}"; expected one of ${allowed.join(", ")}`,
    });
  }

  ints<D extends readonly number[] | undefined>(name: string, fallback: D): readonly number[] | D {
    return read(this.node, name, "ints")?.map(Number) ?? fallback;
  }

  bigints<D extends readonly bigint[] | undefined>(name: string, fallback: D): readonly bigint[] | D {
    return read(this.node, name, "ints") ?? fallback;
  }

  floats<D extends readonly number[] | undefined>(name: string, fallback: D): readonly number[] | D {
    return read(this.node, name, "floats") ?? fallback;
  }

  strings<D extends readonly string[] | undefined>(name: string, fallback: D): readonly string[] | D {
    return read(this.node, name, "strings") ?? fallback;
  }

  tensor(name: string): OnnxTensor | undefined {
    return read(this.node, name, "tensor");
  }

  type(name: string): OnnxType | undefined {
    return read(this.node, name, "type");
  }

  graph(name: string): OnnxGraph {
    return required(this.node, name, "graph", read(this.node, name, "graph"));
  }

  requiredInt(name: string): number {
    return Number(required(this.node, name, "int", read(this.node, name, "int")));
  }

  requiredInts(name: string): readonly number[] {
    return required(this.node, name, "ints", read(this.node, name, "ints")).map(Number);
  }

  requiredFloat(name: string): number {
    return required(this.node, name, "float", read(this.node, name, "float"));
  }

  requiredString(name: string): string {
    return required(this.node, name, "string", read(this.node, name, "string"));
  }
}
