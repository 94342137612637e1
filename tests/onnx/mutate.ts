/** Damages ONNX files: their bytes, or what they say. */
import type { DimensionProto, GraphProto, ModelProto, NodeProto } from "../../compiler/onnx/proto-types.js";
import { decodeModel, encodeModel } from "../../compiler/onnx/protobuf.js";
import { onnxOpNames } from "../../compiler/onnx/schema.js";

export type Random = () => number;

/** mulberry32 */
export function random(seed: number): Random {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function mutateBytes(bytes: Uint8Array, next: Random): Uint8Array {
  const pick = (n: number) => Math.floor(next() * n);
  const copy = Uint8Array.from(bytes);
  switch (pick(5)) {
    case 0:
      return copy.subarray(0, pick(copy.length));
    case 1: {
      for (let i = 1 + pick(8); i > 0; i--) copy[pick(copy.length)]! ^= 1 << pick(8);
      return copy;
    }
    case 2: {
      for (let i = 1 + pick(4); i > 0; i--) copy[pick(copy.length)] = [0, 1, 0x7f, 0x80, 0xff][pick(5)]!;
      return copy;
    }
    case 3: {
      const from = pick(copy.length);
      const length = pick(Math.min(64, copy.length - from));
      copy.copyWithin(pick(copy.length - length), from, from + length);
      return copy;
    }
    default: {
      const at = pick(copy.length);
      const removed = pick(16);
      return Uint8Array.from([...copy.subarray(0, at), ...copy.subarray(at + removed)]);
    }
  }
}

/** Sizes that no exporter writes. */
const SIZES: readonly DimensionProto[] = [
  { dimValue: -1 },
  { dimValue: 2 ** 31 },
  { dimValue: 2 ** 53 },
  { dimValue: "9223372036854775807" as unknown as number },
  { dimParam: "__proto__" },
  { dimParam: "constructor" },
  { dimParam: "" },
  { dimParam: "\u0000 %x: f32" },
  {},
];
const NAMES = ["__proto__", "constructor", "toString", "hasOwnProperty", "", "\ud800", "a".repeat(5000), "../../x"];
const INTEGERS = [0, -1, 1, 2, 3, 7, 1e6, -100, 2 ** 31, -(2 ** 31), "9223372036854775807" as unknown as number];

type Pick = (n: number) => number;
const any = <T>(list: readonly T[] | undefined, pick: Pick): T | undefined => list?.[pick(list.length)];

/** All graphs of a model, subgraphs too. */
function graphsOf(model: ModelProto): GraphProto[] {
  const found: GraphProto[] = [];
  const visit = (g: GraphProto | null | undefined): void => {
    if (!g) return;
    found.push(g);
    for (const n of g.node ?? []) for (const a of n.attribute ?? []) [a.g, ...(a.graphs ?? [])].forEach(visit);
  };
  visit(model.graph);
  return found;
}

const renameIn = (node: NodeProto, from: string, to: string): void => {
  node.input = (node.input ?? []).map((n) => (n === from ? to : n));
  node.output = (node.output ?? []).map((n) => (n === from ? to : n));
};

/** Changes that keep the file decodable. */
const DAMAGES: readonly ((graph: GraphProto, pick: Pick, model: ModelProto) => void)[] = [
  // Another op.
  (g, pick) => {
    const node = any(g.node, pick);
    if (node) node.opType = any(onnxOpNames, pick)!;
  },
  // An input less, another input, an input that stands later (a cycle).
  (g, pick) => {
    const node = any(g.node, pick);
    node?.input?.splice(pick(node.input.length), 1);
  },
  (g, pick) => {
    const node = any(g.node, pick);
    if (node?.input?.length) node.input[pick(node.input.length)] = any(g.input, pick)?.name ?? "";
  },
  (g, pick) => {
    const node = any(g.node, pick);
    if (node?.input?.length) node.input[pick(node.input.length)] = any(any(g.node, pick)?.output, pick) ?? "";
  },
  // An attribute less, another value.
  (g, pick) => {
    const node = any(g.node, pick);
    node?.attribute?.splice(pick(node.attribute.length), 1);
  },
  (g, pick) => {
    const attribute = any(any(g.node, pick)?.attribute, pick);
    if (attribute?.type === 1) attribute.f = any([0, -1, 1e30, Number.NaN, Infinity], pick)!;
    if (attribute?.type === 2) attribute.i = any(INTEGERS, pick)!;
    if (attribute?.type === 3) attribute.s = Uint8Array.of(0xff, 0xfe, 0);
    if (attribute?.type === 7) attribute.ints = Array.from({ length: pick(5) }, () => any(INTEGERS, pick)!);
  },
  // Shapes of inputs: other ranks and small sizes, and sizes that can't be.
  (g, pick) => {
    const dims = any(g.input, pick)?.type?.tensorType?.shape?.dim;
    dims?.splice(pick(3), pick(2), ...[{ dimValue: pick(5) }, { dimParam: "k" }, {}].slice(pick(3)));
  },
  (g, pick) => {
    const dims = any(g.input, pick)?.type?.tensorType?.shape?.dim;
    if (dims?.length) dims[pick(dims.length)] = any(SIZES, pick)!;
  },
  // Types.
  (g, pick) => {
    const type = any(g.input, pick)?.type?.tensorType;
    if (type) type.elemType = pick(30);
  },
  // Initializers: sizes without data, other types, other integers.
  (g, pick) => {
    const tensor = any(g.initializer, pick);
    if (tensor) tensor.dims = Array.from({ length: pick(4) }, () => any(INTEGERS, pick)!);
  },
  (g, pick) => {
    const tensor = any(g.initializer, pick);
    if (tensor) tensor.dataType = pick(30);
  },
  (g, pick) => {
    const tensor = any(g.initializer, pick);
    if (tensor?.dataType === 7 && (tensor.dims ?? []).length <= 1) {
      const count = Number(tensor.dims?.[0] ?? 1);
      if (count <= 16) {
        tensor.rawData = new Uint8Array(0);
        tensor.int64Data = Array.from({ length: count }, () => any(INTEGERS, pick)!);
      }
    }
  },
  // Names: special ones, and one twice.
  (g, pick) => {
    const from = any([...(g.input ?? []).map((i) => i.name ?? ""), ...(any(g.node, pick)?.output ?? [])], pick);
    const to = any(NAMES, pick)!;
    if (from === undefined) return;
    for (const node of g.node ?? []) renameIn(node, from, to);
    for (const info of [...(g.input ?? []), ...(g.output ?? [])]) if (info.name === from) info.name = to;
  },
  (g, pick) => {
    const node = any(g.node, pick);
    if (node?.output?.length) node.output[pick(node.output.length)] = any(any(g.node, pick)?.output, pick) ?? "";
  },
  // A node twice, a node less, an output that is another value.
  (g, pick) => {
    const node = any(g.node, pick);
    if (node) g.node!.splice(pick(g.node!.length), pick(2), node);
  },
  (g, pick) => {
    const output = any(g.output, pick);
    if (output) output.name = any(any(g.node, pick)?.output, pick) ?? "";
  },
  // Opsets.
  (_, pick, model) => {
    const opset = any(model.opsetImport, pick);
    if (opset) opset.version = any([0, 1, 7, 9, 11, 13, 18, 28, 1000, -5], pick)!;
  },
];

/** One to three changes of what the model says, in any of its graphs. */
export function mutateModel(bytes: Uint8Array, next: Random): Uint8Array {
  const pick: Pick = (n) => Math.floor(next() * n);
  const damaged = decodeModel(bytes);
  const graphs = graphsOf(damaged);
  for (let i = 1 + pick(3); i > 0; i--) any(DAMAGES, pick)!(any(graphs, pick)!, pick, damaged);
  return encodeModel(damaged);
}
