/**
 * The models of ONNX files as TFLite, as far as `lowerings` goes. Images lie channels last there: such values, and inputs that convolutions or
 * pools read, are stored as [batch, H, W, channels]; everything else lies as in the graph. Biases and activations become part of what makes
 * their operand, as TensorFlow's converter leaves them.
 */

import { importOnnx } from "../../compiler/onnx/import.js";
import { ModelError } from "../../ir/errors.js";
import {
  type GraphNode,
  graphNodes,
  isStaticShape,
  paramName,
  staticShape,
  typeText,
  type Value,
} from "../../ir/graph.js";
import type { OpName } from "../../ir/ops/index.js";
import { type Tensor, tensor, zeros } from "../../ir/tensor.js";
import {
  activations,
  encodeTflite,
  type OperatorName,
  operatorTypes,
  paddings,
  type TfliteOperator,
  tensorTypes,
} from "./tflite-file.js";
import {
  imageShape,
  isConstant,
  lastShape,
  resultShape,
  type Stored,
  toLast,
  transposed,
  unsupported,
  Writer,
} from "./tflite-writer.js";

type Node<N extends OpName> = Extract<GraphNode, { readonly op: N }>;
type Lowering<N extends OpName> = (to: Writer, node: Node<N>) => Stored;

/** An elementwise operator; the node's result has the shape of its own. */
function elementwise(
  to: Writer,
  node: GraphNode,
  name: OperatorName,
  options: Readonly<Record<string, number>> = {},
  operands: readonly Value[] = node.operands,
): Stored {
  const channelsLast = to.liesLast(operands);
  const inputs = operands.map((value) => to.operand(value, channelsLast));
  return { tensor: to.add(name, inputs, lastShape(resultShape(node), channelsLast), options), channelsLast };
}

/** The producer of a value that may take a bias or an activation in: it has none yet, and nothing else reads its result. */
function open(to: Writer, value: Value, may: (producer: TfliteOperator) => boolean): TfliteOperator | undefined {
  if (isConstant(value) || value.def.op === "broadcast" || !to.onlyUse(value)) return undefined;
  const producer = to.producer(to.stored(value).tensor);
  return producer !== undefined && may(producer) ? producer : undefined;
}

const takesBias = ({ name, inputs, options }: TfliteOperator) =>
  ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"].includes(name) &&
  inputs.length === 2 &&
  options.activation === undefined;

/** The constant vector that a value holds or spreads along one axis, all other sizes being 1. */
function vectorAlong(to: Writer, value: Value, axis: number): Tensor | undefined {
  const from = value.def.op === "broadcast" ? value.def.operands[0]! : value;
  if (!isConstant(from)) return undefined;
  const sizes = staticShape(from.type.shape);
  const axes = value.def.op === "broadcast" ? value.def.attrs.axes : sizes.keys();
  if ([...axes].some((at, i) => at !== axis && sizes[i] !== 1)) return undefined;
  const { data } = to.host(from);
  return data.length === value.type.shape[axis] ? tensor("f32", [data.length], data) : undefined;
}

const add: Lowering<"add"> = (to, node) => {
  for (const [x, y] of [node.operands, [...node.operands].reverse()] as [Value, Value][]) {
    const producer = open(to, x, takesBias);
    const rank = x.type.shape.length;
    const bias = producer && vectorAlong(to, y, to.stored(x).channelsLast ? 1 : rank - 1);
    if (producer === undefined || bias === undefined) continue;
    producer.inputs.push(to.constant(bias));
    return to.stored(x);
  }
  return elementwise(to, node, "ADD");
};

function activated(
  to: Writer,
  node: GraphNode,
  kind: "relu" | "relu6",
  before: number | undefined,
): Stored | undefined {
  const x = node.operands[0]!;
  const producer = open(
    to,
    x,
    ({ name, options }) => "activation" in operatorTypes[name].fields && options.activation === before,
  );
  if (producer === undefined) return undefined;
  producer.options.activation = activations[kind];
  return to.stored(x);
}

/** Of the first operand: a maximum with zero has a second one. */
const relu = (to: Writer, node: GraphNode): Stored =>
  activated(to, node, "relu", undefined) ?? elementwise(to, node, "RELU", {}, node.operands.slice(0, 1));

/** Whether a value is one number everywhere. */
function isEverywhere(to: Writer, { def }: Value, number: number): boolean {
  if (def.op !== "broadcast" || !isConstant(def.operands[0]!)) return false;
  const { data } = to.host(def.operands[0]!);
  return data.length === 1 && Number(data[0]) === number;
}

/** Padding that TensorFlow calls SAME adds as little as keeps ⌈size / stride⌉ positions, more of it behind. */
function isSame(size: number, window: number, stride: number, low: number, high: number): boolean {
  const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + window - size);
  return low === total >> 1 && high === total - low;
}

/** The image of a window operator, padded where no padding of TFLite is this one. Pads hold zeros, or for maxima the lowest number. */
function windowed(to: Writer, node: Node<"conv" | "maxPool">, window: readonly number[]) {
  const { padLow, padHigh, strides, dilations, layout } = node.attrs;
  const x = node.operands[0]!;
  if (layout !== "channelsFirst" || x.type.shape.length !== 4) throw unsupported(node, "of this layout or rank");
  const [low, high] = [padLow, padHigh].map((pads) => staticShape(pads)) as [readonly number[], readonly number[]];
  const image = to.at(x, true);
  const sizes = to.shapeOf(image).slice(1, 3);
  const same = sizes.every((size, i) => isSame(size, window[i]!, strides[i]!, low[i]!, high[i]!));
  const sized = { strideH: strides[0]!, strideW: strides[1]! };
  const spread = { dilationH: dilations[0]!, dilationW: dilations[1]! };
  const padding = same ? paddings.same : paddings.valid;
  if (same || [...low, ...high].every((p) => p === 0)) return { image, sized, spread, padding };
  const pads = to.pairs([0, ...low, 0], [0, ...high, 0]);
  const shape = to.shapeOf(image).map((size, i) => size + [0, ...low, 0][i]! + [0, ...high, 0][i]!);
  const made = to.producer(image);
  // Zeros do no harm to maxima of what is never below zero.
  const mayZero = node.op === "conv" || (made?.options.activation ?? activations.none) !== activations.none;
  const padded = mayZero
    ? to.add("PAD", [image, pads], shape)
    : to.add("PADV2", [image, pads, to.scalar(-3.4028234663852886e38)], shape);
  return { image: padded, sized, spread, padding };
}

const conv: Lowering<"conv"> = (to, node) => {
  const [x, w] = node.operands as [Value, Value];
  if (!isConstant(w)) throw unsupported(node, "with weights that are no constant");
  const weight = to.host(w);
  const [outputs, , ...window] = weight.shape as [number, number, number, number];
  const extents = window.map((k, i) => (k - 1) * node.attrs.dilations[i]! + 1);
  const { image, sized, spread, padding } = windowed(to, node, extents);
  const channels = x.type.shape[1] as number;
  const depthwise = node.attrs.groups === channels && channels > 1;
  const options = { padding, ...sized, ...spread, ...(depthwise ? { multiplier: outputs / channels } : {}) };
  const filter = to.constant(transposed(weight, depthwise ? [1, 2, 3, 0] : [0, 2, 3, 1]));
  const name = depthwise ? "DEPTHWISE_CONV_2D" : "CONV_2D";
  return { tensor: to.add(name, [image, filter], imageShape(node), options), channelsLast: true };
};

const maxPool: Lowering<"maxPool"> = (to, node) => {
  const { window, dilations } = node.attrs;
  if (dilations.some((d) => d !== 1)) throw unsupported(node, "with dilation");
  const { image, sized, padding } = windowed(to, node, window);
  const options = { padding, ...sized, height: window[0]!, width: window[1]! };
  return { tensor: to.add("MAX_POOL_2D", [image], imageShape(node), options), channelsLast: true };
};

const plain = (at: number): Stored => ({ tensor: at, channelsLast: false });

const dotGeneral: Lowering<"dotGeneral"> = (to, node) => {
  const [a, b] = node.operands as [Value, Value];
  const { batchA, batchB, contractA, contractB } = node.attrs;
  const rank = a.type.shape.length;
  const along = b.type.shape.length - 1;
  const leading = batchA.every((axis, i) => axis === i) && batchB.every((axis, i) => axis === i);
  if (!leading || contractA.length !== 1 || contractA[0] !== rank - 1) throw unsupported(node, "of these axes");
  if (batchA.length === 0 && along === 1 && isConstant(b)) {
    const weight = to.host(b);
    const filter = to.constant(contractB[0] === 1 ? weight : transposed(weight, [1, 0]));
    return plain(to.add("FULLY_CONNECTED", [to.at(a), filter], resultShape(node), { keepDims: rank > 2 ? 1 : 0 }));
  }
  if (batchA.length !== along - 1 || rank !== along + 1) throw unsupported(node, "of these axes");
  // The operator transposes its second operand for nothing.
  const { def } = b;
  const perm = def.op === "transpose" ? def.attrs.perm : [];
  const swaps = perm.length > 1 && perm.every((from, i) => from === (i < along - 1 ? i : 2 * along - 1 - i));
  const across = contractB[0] === along;
  const read = swaps ? (def as GraphNode).operands[0]! : b;
  const options = { transposeA: 0, transposeB: across !== swaps ? 1 : 0 };
  return plain(to.add("BATCH_MATMUL", [to.at(a), to.at(read)], resultShape(node), options));
};

const layerNorm: Lowering<"layerNorm"> = (to, node) => {
  const [x, weight, bias] = node.operands.map((value) => to.at(value)) as [number, number, number];
  const shape = resultShape(node);
  if (node.attrs.axis !== shape.length - 1) throw unsupported(node, "over more than the last axis");
  const narrow = [...shape.slice(0, -1), 1];
  const last = to.ints(shape.length - 1);
  const mean = to.add("MEAN", [x, last], narrow, { keepDims: 1 });
  const squares = to.add("SQUARED_DIFFERENCE", [x, mean], shape);
  const variance = to.add("MEAN", [squares, last], narrow, { keepDims: 1 });
  const shifted = to.add("ADD", [variance, to.scalar(node.attrs.epsilon)], narrow);
  const scale = to.add("RSQRT", [shifted], narrow);
  const centred = to.add("SUB", [x, mean], shape);
  const scaled = to.add("MUL", [to.add("MUL", [centred, scale], shape), weight], shape);
  return plain(to.add("ADD", [scaled, bias], shape));
};

/** By op of the graph. A model with an op that is missing has no TFLite file. */
const lowerings: { readonly [N in OpName]?: Lowering<N> } = {
  add,
  conv,
  maxPool,
  dotGeneral,
  layerNorm,
  relu,
  sub: (to, node) => elementwise(to, node, "SUB"),
  mul: (to, node) => elementwise(to, node, "MUL"),
  max: (to, node) => (isEverywhere(to, node.operands[1]!, 0) ? relu(to, node) : elementwise(to, node, "MAXIMUM")),
  min: (to, node) =>
    (isEverywhere(to, node.operands[1]!, 6) ? activated(to, node, "relu6", activations.relu) : undefined) ??
    elementwise(to, node, "MINIMUM"),
  sigmoid: (to, node) => elementwise(to, node, "LOGISTIC"),
  tanh: (to, node) => elementwise(to, node, "TANH"),
  leakyRelu: (to, node) => elementwise(to, node, "LEAKY_RELU", { alpha: node.attrs.slope }),
  gelu: (to, node) => elementwise(to, node, "GELU", { approximate: node.attrs.approximate === "none" ? 0 : 1 }),
  softmax: (to, node) => {
    const shape = resultShape(node);
    if (node.attrs.axis !== shape.length - 1) throw unsupported(node, "along another axis than the last");
    return plain(to.add("SOFTMAX", [to.at(node.operands[0]!)], shape, { beta: 1 }));
  },
  globalAveragePool: (to, node) => {
    const image = to.at(node.operands[0]!, true);
    return { tensor: to.add("MEAN", [image, to.ints(1, 2)], imageShape(node), { keepDims: 1 }), channelsLast: true };
  },
  concat: (to, node) => {
    const channelsLast = to.liesLast(node.operands);
    const axis = channelsLast ? toLast.indexOf(node.attrs.axis) : node.attrs.axis;
    const inputs = node.operands.map((value) => to.at(value, channelsLast));
    return {
      tensor: to.add("CONCATENATION", inputs, lastShape(resultShape(node), channelsLast), { axis }),
      channelsLast,
    };
  },
  reshape: (to, node) => plain(to.reshape(to.at(node.operands[0]!), resultShape(node))),
  transpose: (to, node) =>
    plain(to.add("TRANSPOSE", [to.at(node.operands[0]!), to.ints(...node.attrs.perm)], resultShape(node))),
  slice: (to, node) => {
    const { starts, sizes, steps } = node.attrs;
    if (steps.some((step) => step !== 1)) throw unsupported(node, "with steps");
    const bounds = [starts, sizes].map((dims) => to.ints(...staticShape(dims)));
    return plain(to.add("SLICE", [to.at(node.operands[0]!), ...bounds], resultShape(node)));
  },
  gather: (to, node) =>
    plain(
      to.add(
        "GATHER",
        node.operands.map((value) => to.at(value)),
        resultShape(node),
        { axis: node.attrs.axis },
      ),
    ),
  cast: (to, node) => {
    const at = to.at(node.operands[0]!);
    const { type } = to.tensors[at]!;
    if (node.attrs.to !== "f32") throw unsupported(node, `to ${node.attrs.to}`);
    return plain(to.add("CAST", [at], resultShape(node), { from: tensorTypes[type], to: tensorTypes.f32 }));
  },
};

function lower(to: Writer, node: GraphNode): Stored {
  const row = lowerings[node.op] as Lowering<OpName> | undefined;
  if (row === undefined) throw unsupported(node, "yet");
  return row(to, node);
}

/** Zeros for the output channels of a filter. */
function noBias(to: Writer, name: OperatorName, filter: number): Tensor {
  const shape = to.shapeOf(filter);
  return zeros("f32", [name === "CONV_2D" ? shape[0]! : shape.at(-1)!]);
}

/** @throws ModelError where the model has an op, an attribute or a dtype that `lowerings` does not know */
export function tfliteOf(onnx: Uint8Array): Uint8Array {
  const graph = importOnnx(onnx);
  for (const value of graph.params)
    if (!isStaticShape(value.type.shape))
      throw new ModelError({ where: paramName(value), message: `no TFLite input of ${typeText(value.type)}` });
  const images = new Set(
    graphNodes(graph).flatMap((node) => (node.op === "conv" || node.op === "maxPool" ? [node.operands[0]!] : [])),
  );
  const to = new Writer(graph, lower);
  const inputs = graph.params.map((value) => to.input(value, images.has(value)));
  const outputs = graph.results.map((value, i) => {
    const at = to.at(value);
    to.tensors[at] = { ...to.tensors[at]!, name: graph.resultNames[i]! };
    return at;
  });
  // The runtime refuses convolutions without a bias.
  for (const { name, inputs } of to.operators)
    if (name.endsWith("CONV_2D") && inputs.length === 2) inputs.push(to.constant(noBias(to, name, inputs[1]!)));
  return encodeTflite({ tensors: to.tensors, operators: to.operators, inputs, outputs });
}
