/** Changes of what a model says that keep the file decodable. */
import type { DimensionProto, GraphProto, ModelProto, NodeProto } from "../../compiler/onnx/proto-types.js";
import { onnxOpNames } from "../../compiler/onnx/schema.js";

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

const ATTRIBUTES = [
  "axis",
  "axes",
  "keepdims",
  "pads",
  "perm",
  "k",
  "strides",
  "group",
  "dilations",
  "mode",
  "to",
  "steps",
  "sorted",
];

type Pick = (n: number) => number;
const any = <T>(list: readonly T[] | undefined, pick: Pick): T | undefined => list?.[pick(list.length)];

/** All graphs of a model, subgraphs too. */
export function graphsOf(model: ModelProto): GraphProto[] {
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
export const damages: readonly ((graph: GraphProto, pick: Pick, model: ModelProto) => void)[] = [
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
  // Edges of control flow: what a region gives back, what it takes, and a node that moves in or out of it.
  (g, pick, model) => {
    const other = any(graphsOf(model), pick);
    const name = any(any(other?.node, pick)?.output, pick);
    const node = any(g.node, pick);
    if (name !== undefined && node?.input?.length) node.input[pick(node.input.length)] = name;
  },
  (g, pick, model) => {
    const other = any(graphsOf(model), pick);
    const node = any(g.node, pick);
    // A copy, for the other graph may be inside of this very node.
    if (node && other?.node) other.node.splice(pick(other.node.length + 1), 0, structuredClone(node));
  },
  (g, pick) => {
    any([g.input, g.output], pick)?.splice(pick(3), pick(2));
  },
  (g, pick) => {
    const list = any([g.input, g.output], pick);
    const info = any(list, pick);
    if (info) list!.push({ ...info, name: any([info.name ?? "", `${info.name}_again`], pick)! });
  },
  // A node among the others, of any op, on values of its graph.
  (g, pick) => {
    const values = [...(g.input ?? []).map((i) => i.name ?? ""), ...(g.node ?? []).flatMap((n) => n.output ?? [])];
    const output = `new_${pick(1e6)}`;
    const node: NodeProto = {
      opType: any(onnxOpNames, pick)!,
      input: Array.from({ length: 1 + pick(3) }, () => any(values, pick) ?? ""),
      output: [output],
      attribute: any(g.node, pick)?.attribute?.slice(0, 2) ?? [],
    };
    const at = pick((g.node?.length ?? 0) + 1);
    g.node?.splice(at, 0, node);
    const user = any(g.node?.slice(at + 1), pick);
    if (user?.input?.length) user.input[pick(user.input.length)] = output;
  },
  // An attribute of another kind, another name, one more.
  (g, pick) => {
    const attribute = any(any(g.node, pick)?.attribute, pick);
    if (attribute) attribute.type = pick(15);
  },
  (g, pick) => {
    const attribute = any(any(g.node, pick)?.attribute, pick);
    if (attribute) attribute.name = any(ATTRIBUTES, pick)!;
  },
  (g, pick) => {
    const node = any(g.node, pick);
    if (node)
      node.attribute = [...(node.attribute ?? []), { name: any(ATTRIBUTES, pick)!, type: 2, i: any(INTEGERS, pick)! }];
  },
  (g, pick) => {
    const node = any(g.node, pick);
    const ints = Array.from({ length: pick(5) }, () => any(INTEGERS, pick)!);
    if (node) node.attribute = [...(node.attribute ?? []), { name: any(ATTRIBUTES, pick)!, type: 7, ints }];
  },
  // What was known when compiling comes with the feeds; what had a size gets a name, the same for several or not.
  (g, pick) => {
    const tensor = any(g.initializer, pick);
    if (!tensor || !g.input) return;
    g.initializer!.splice(g.initializer!.indexOf(tensor), 1);
    const dim = (tensor.dims ?? []).map((dimValue) => ({ dimValue }));
    const type = { tensorType: { elemType: tensor.dataType ?? 1, shape: { dim } } };
    if (!g.input.some((i) => i.name === tensor.name)) g.input.push({ name: tensor.name ?? "", type });
  },
  ...Array.from({ length: 4 }, () => (g: GraphProto, pick: Pick) => {
    const dims = any(g.input, pick)?.type?.tensorType?.shape?.dim;
    if (dims?.length) dims[pick(dims.length)] = { dimParam: any(["n", "m", "n", "", "?"], pick)! };
  }),
  // What the file says of values inside and of results.
  (g, pick) => {
    const name = any(any(g.node, pick)?.output, pick);
    const dim = Array.from({ length: pick(4) }, () => any([{ dimValue: pick(5) }, { dimParam: "n" }, {}], pick)!);
    const elemType = pick(20);
    if (name) g.valueInfo = [...(g.valueInfo ?? []), { name, type: { tensorType: { elemType, shape: { dim } } } }];
  },
  (g, pick) => {
    const type = any(g.output, pick)?.type?.tensorType;
    if (type) type.shape = { dim: Array.from({ length: pick(4) }, () => ({ dimValue: pick(5) })) };
  },
  (g, pick) => {
    const info = any([...(g.input ?? []), ...(g.output ?? [])], pick);
    if (info?.type?.tensorType)
      info.type = any(
        [{ sequenceType: { elemType: info.type } }, { optionalType: { elemType: info.type } }, {}],
        pick,
      )!;
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
