/** Drafts → messages: every value gets its name, every node a name of its own. */

import type { Dim } from "../../../ir/dim.js";
import { dimText } from "../../../ir/dim.js";
import type { TensorType } from "../../../ir/graph.js";
import type { Tensor } from "../../../ir/tensor.js";
import { codeOfDType } from "../dtype.js";
import type {
  AttributeProto,
  DimensionProto,
  GraphProto,
  NodeProto,
  TensorProto,
  ValueInfoProto,
} from "../proto-types.js";
import { encodeTensor } from "../tensor.js";
import type { AttrDraft, GraphDraft, NodeDraft, Ref, TypedRef } from "./draft.js";

/** AttributeProto.AttributeType */
const ATTRIBUTE_TYPES = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, ints: 7, strings: 8 } as const;

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Gives out names that nothing else has. */
class Names {
  readonly #used = new Set<string>();
  readonly #next = new Map<string, number>();

  reserve(name: string): void {
    this.#used.add(name);
  }

  unique(hint: string): string {
    if (!this.#used.has(hint)) {
      this.#used.add(hint);
      return hint;
    }
    for (let i = this.#next.get(hint) ?? 1; ; i++) {
      const name = `${hint}_${i}`;
      if (this.#used.has(name)) continue;
      this.#next.set(hint, i + 1);
      this.#used.add(name);
      return name;
    }
  }
}

export class Serializer {
  readonly #values = new Names();
  readonly #nodes = new Names();
  readonly #names = new Map<Ref, string>();

  /** `fixed`: the names that are spoken for. */
  constructor(fixed: Iterable<string>) {
    for (const name of fixed) this.#values.reserve(name);
  }

  name(ref: Ref): string {
    if (ref.fixed !== undefined) return ref.fixed;
    const known = this.#names.get(ref);
    if (known !== undefined) return known;
    const name = this.#values.unique(ref.hint);
    this.#names.set(ref, name);
    return name;
  }

  graph(draft: GraphDraft): GraphProto {
    return {
      node: draft.nodes.map((n) => this.#node(n)),
      name: draft.name,
      input: draft.inputs.map((v) => this.#valueInfo(v)),
      output: draft.outputs.map((v) => this.#valueInfo(v)),
    };
  }

  initializer(ref: Ref, tensor: Tensor): TensorProto {
    return encodeTensor(tensor, this.name(ref));
  }

  #node({ op, inputs, outputs, attrs, loc }: NodeDraft): NodeProto {
    const attribute = Object.entries(attrs).map(([name, a]) => this.#attribute(name, a));
    return {
      input: inputs.map((r) => (r === undefined ? "" : this.name(r))),
      output: outputs.map((r) => this.name(r)),
      name: this.#nodes.unique(loc ?? op),
      opType: op,
      ...(attribute.length > 0 ? { attribute } : {}),
    };
  }

  #attribute(name: string, a: AttrDraft): AttributeProto {
    const base = { name, type: ATTRIBUTE_TYPES[a.kind] };
    switch (a.kind) {
      case "int":
        return { ...base, i: a.value };
      case "float":
        return { ...base, f: a.value };
      case "string":
        return { ...base, s: utf8(a.value) };
      case "ints":
        return { ...base, ints: [...a.value] };
      case "strings":
        return { ...base, strings: a.value.map(utf8) };
      case "tensor":
        return { ...base, t: encodeTensor(a.value, "") };
      case "graph":
        return { ...base, g: this.graph(a.value) };
    }
  }

  #valueInfo({ ref, type }: TypedRef): ValueInfoProto {
    return { name: this.name(ref), type: { tensorType: tensorType(type) } };
  }
}

const tensorType = ({ dtype, shape }: TensorType) => ({
  elemType: codeOfDType(dtype),
  shape: { dim: shape.map(dimension) },
});

const dimension = (d: Dim): DimensionProto => (typeof d === "number" ? { dimValue: d } : { dimParam: dimText(d) });
