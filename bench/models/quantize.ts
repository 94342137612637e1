/**
 * Quantisation of ONNX files to 8 bits, in the two forms that onnxruntime's quantiser writes: QDQ (static: QuantizeLinear and
 * DequantizeLinear around ops, scales of activations from a calibration run) and dynamic (DynamicQuantizeLinear, then integer products).
 */

import { compile, importOnnx, type Tensor } from "wasmith";
import { type Feeds, load } from "wasmith/runtime";
import type { GraphProto, NodeProto, TensorProto } from "../../compiler/onnx/proto-types.js";
import { decodeModel, encodeModel } from "../../compiler/onnx/protobuf.js";
import { node } from "../../tests/onnx/build.js";
import { floatsOf, initializersOf, readersOf, shapeOf, stored, transposedMatrix } from "./onnx-edit.js";

const F32 = 1;
type Activations = "u8" | "i8";
const least: Readonly<Record<Activations, number>> = { u8: 0, i8: -128 };

/** Least and largest element of each value while the model runs once. */
async function calibrate(
  file: Uint8Array,
  names: readonly string[],
  feeds: Readonly<Record<string, Tensor>>,
): Promise<ReadonlyMap<string, readonly [low: number, high: number]>> {
  const graph = importOnnx(file, { outputs: names });
  const artifact = await compile(graph, { variants: ["simd128"], weights: "small" });
  const session = await load(await artifact.toBytes());
  try {
    const values = await session.run(feeds as Feeds);
    return new Map(
      names.map((name) => {
        const data = values[name]!.data as Float32Array;
        return [name, [data.reduce((a, b) => Math.min(a, b)), data.reduce((a, b) => Math.max(a, b))]] as const;
      }),
    );
  } finally {
    await session.dispose();
  }
}

/** Symmetric levels of −127 … 127 with a scale for each slice along `axis`, or one for all. */
function symmetric(weight: TensorProto, axis: number | undefined): { levels: Int8Array; scales: Float32Array } {
  const data = floatsOf(weight);
  const shape = shapeOf(weight);
  const count = axis === undefined ? 1 : shape[axis]!;
  const inner = axis === undefined ? data.length : shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const slice = (i: number) => Math.floor(i / inner) % count;
  const scales = new Float32Array(count);
  data.forEach((x, i) => {
    scales[slice(i)] = Math.max(scales[slice(i)]!, Math.abs(x));
  });
  scales.forEach((largest, i) => {
    scales[i] = largest === 0 ? 1 : largest / 127;
  });
  return { levels: Int8Array.from(data, (x, i) => Math.round(x / scales[slice(i)]!)), scales };
}

const scalar = (name: string, dtype: Activations, value: number): TensorProto =>
  stored(name, { dtype, shape: [], data: dtype === "u8" ? Uint8Array.of(value) : Int8Array.of(value) });
const scalarF32 = (name: string, value: number): TensorProto =>
  stored(name, { dtype: "f32", shape: [], data: Float32Array.of(value) });

/** Which axis of a Gemm's weights counts outputs. */
function outputAxis({ attribute = [] }: NodeProto): 0 | 1 {
  const plain = attribute.every(({ name, f, i }) => (name === "transB" ? true : name === "transA" ? i === 0 : f === 1));
  if (!plain) throw new Error("a Gemm is quantised where it is x · W + b");
  return Number(attribute.find(({ name }) => name === "transB")?.i ?? 0) === 1 ? 0 : 1;
}

/** Limits that quantising does anyway, since the calibrated range ends there. */
const limits = new Set(["Relu", "Clip"]);

export interface StaticOptions {
  readonly activations: Activations;
  /** Which ops get quantised operands and results. */
  readonly ops: readonly string[];
}

/** One graph that is being rewritten. */
class Rewriting {
  readonly weights: Map<string, TensorProto>;
  readonly nodes: NodeProto[] = [];
  readonly added = new Map<string, TensorProto>();
  readonly #graph: GraphProto;

  constructor(graph: GraphProto) {
    this.#graph = graph;
    this.weights = initializersOf(graph);
  }

  add(tensor: TensorProto): string {
    this.added.set(tensor.name!, tensor);
    return tensor.name!;
  }

  /** Puts the new nodes, in order of what they read, and the initializers that are still read. */
  finish(): void {
    const known = new Set([
      ...(this.#graph.input ?? []).map((i) => i.name!),
      ...this.weights.keys(),
      ...this.added.keys(),
      "",
    ]);
    const left = new Set(this.nodes);
    const ordered: NodeProto[] = [];
    while (left.size > 0) {
      const ready = [...left].filter((n) => (n.input ?? []).every((name) => known.has(name)));
      if (ready.length === 0) throw new Error("the rewritten graph has a circle");
      for (const n of ready) {
        left.delete(n);
        ordered.push(n);
        for (const name of n.output ?? []) known.add(name);
      }
    }
    this.#graph.node = ordered;
    const read = new Set(ordered.flatMap((n) => n.input ?? []));
    this.#graph.initializer = [...this.weights.values(), ...this.added.values()].filter((t) => read.has(t.name!));
  }
}

/** The file in QDQ form: weights i8 with a scale for each output channel, biases i32, activations by calibrated ranges. */
export async function quantizeStatic(
  file: Uint8Array,
  feeds: Readonly<Record<string, Tensor>>,
  { activations, ops }: StaticOptions,
): Promise<Uint8Array> {
  const model = decodeModel(file);
  const graph = model.graph!;
  const rewriting = new Rewriting(graph);
  const { weights } = rewriting;
  const constants = new Set([
    ...weights.keys(),
    ...(graph.node ?? []).filter((n) => n.opType === "Constant").map((n) => n.output![0]!),
  ]);
  const chosen = (graph.node ?? []).filter((n) => ops.includes(n.opType!));
  const operands = ({ opType, input = [] }: NodeProto) =>
    (opType === "Reshape"
      ? input.slice(0, 1)
      : input.slice(0, opType === "Conv" || opType === "Gemm" ? 2 : undefined)
    ).filter((name) => !constants.has(name));
  const candidates = [...new Set(chosen.flatMap((n) => [...operands(n), n.output![0]!]))];
  const readers = readersOf(graph);
  // A limit's result is quantised in the place of its operand.
  const limited = new Map<string, NodeProto>();
  for (const n of chosen) {
    const [reader, ...others] = readers.get(n.output![0]!) ?? [];
    if (reader && others.length === 0 && limits.has(reader.opType!)) limited.set(n.output![0]!, reader);
  }
  const names = [...new Set(candidates.map((name) => limited.get(name)?.output?.[0] ?? name))];
  const ranges = await calibrate(file, names, feeds);
  // Of a value that is the same everywhere the run says no scale.
  const quantized = new Set(names.filter((name) => ranges.get(name)![0] < ranges.get(name)![1]));

  const scaleOf = new Map<string, number>();
  const outputs = new Set((graph.output ?? []).map((o) => o.name!));
  for (const name of quantized) {
    const [low, high] = [Math.min(0, ranges.get(name)![0]), Math.max(0, ranges.get(name)![1])];
    const scale = Math.fround((high - low) / 255);
    const zero = Math.round(least[activations] - low / scale);
    scaleOf.set(name, scale);
    const by = [
      rewriting.add(scalarF32(`${name}_scale`, scale)),
      rewriting.add(scalar(`${name}_zero`, activations, zero)),
    ];
    const from = outputs.has(name) ? `${name}_float` : name;
    rewriting.nodes.push(
      node("QuantizeLinear", [from, ...by], [`${name}_quantized`]),
      node("DequantizeLinear", [`${name}_quantized`, ...by], [outputs.has(name) ? name : `${name}_dequantized`]),
    );
  }
  const dequantized = (name: string) => (quantized.has(name) && !outputs.has(name) ? `${name}_dequantized` : name);
  const weightOf = (name: string, axis: number | undefined): string => {
    const made = `${name}_dequantized`;
    if (rewriting.added.has(`${name}_levels`)) return made;
    const weight = weights.get(name)!;
    const { levels, scales } = symmetric(weight, axis);
    rewriting.add(stored(`${name}_levels`, { dtype: "i8", shape: shapeOf(weight), data: levels }));
    rewriting.add(
      stored(`${name}_scale`, { dtype: "f32", shape: axis === undefined ? [] : [scales.length], data: scales }),
    );
    const attributes = axis === undefined ? {} : { axis };
    rewriting.nodes.push(node("DequantizeLinear", [`${name}_levels`, `${name}_scale`], [made], attributes));
    return made;
  };
  const biasOf = (name: string, x: string, weight: string): string => {
    const scales = floatsOf(rewriting.added.get(`${weight}_scale`)!).map((s) => s * scaleOf.get(x)!);
    const levels = Int32Array.from(floatsOf(weights.get(name)!), (b, i) => Math.round(b / scales[i % scales.length]!));
    rewriting.add(stored(`${name}_levels`, { dtype: "i32", shape: [levels.length], data: levels }));
    rewriting.add(stored(`${name}_scale`, { dtype: "f32", shape: [scales.length], data: scales }));
    rewriting.nodes.push(
      node("DequantizeLinear", [`${name}_levels`, `${name}_scale`], [`${name}_dequantized`], { axis: 0 }),
    );
    return `${name}_dequantized`;
  };
  const gone = new Set([...limited].filter(([, limit]) => quantized.has(limit.output![0]!)).map(([, limit]) => limit));
  for (const n of graph.node ?? []) {
    if (gone.has(n)) continue;
    const [x, w, b, ...rest] = n.input ?? [];
    let input = (n.input ?? []).map(dequantized);
    if (chosen.includes(n) && operands(n).every((name) => quantized.has(name))) {
      if (n.opType === "Conv" || n.opType === "Gemm") {
        const weight = weightOf(w!, n.opType === "Conv" ? 0 : outputAxis(n));
        input = [dequantized(x!), weight, ...(b === undefined ? [] : [biasOf(b, x!, w!)]), ...rest];
      } else if (n.opType === "MatMul" && weights.has(w!)) input = [dequantized(x!), weightOf(w!, 1)];
      else if (n.opType === "Add" && weights.has(w!)) input = [dequantized(x!), weightOf(w!, undefined)];
    }
    const [made, ...further] = n.output ?? [];
    const limit = limited.get(made!);
    const result = limit !== undefined && gone.has(limit) ? limit.output![0]! : made!;
    const output = [quantized.has(result) && outputs.has(result) ? `${result}_float` : result, ...further];
    rewriting.nodes.push({ ...n, input, output });
  }
  rewriting.finish();
  return encodeModel(model);
}

/** Asymmetric levels of 0 … 255 with one scale. */
function asymmetric(weight: TensorProto): { levels: Uint8Array; scale: number; zero: number } {
  const data = floatsOf(weight);
  const low = data.reduce((a, b) => Math.min(a, b), 0);
  const high = data.reduce((a, b) => Math.max(a, b), 0);
  const scale = Math.fround((high - low) / 255);
  const zero = Math.round(-low / scale);
  return {
    levels: Uint8Array.from(data, (x) => Math.min(255, Math.max(0, Math.round(x / scale) + zero))),
    scale,
    zero,
  };
}

/**
 * The file with dynamically quantised products: MatMul and Gemm by a matrix of weights, Conv. Matrices become i8 with one scale, kernels u8 with a zero
 * point, since onnxruntime has ConvInteger of u8 only.
 */
export function quantizeDynamic(file: Uint8Array): Uint8Array {
  const model = decodeModel(file);
  const graph = model.graph!;
  const rewriting = new Rewriting(graph);
  const { weights } = rewriting;
  const quantized = new Set<string>();
  for (const n of graph.node ?? []) {
    const [x, w, b] = n.input ?? [];
    const conv = n.opType === "Conv";
    if (!(conv || n.opType === "MatMul" || n.opType === "Gemm") || !weights.has(w!)) {
      rewriting.nodes.push(n);
      continue;
    }
    if (!quantized.has(x!)) {
      quantized.add(x!);
      const made = ["quantized", "scale", "zero"].map((what) => `${x}_${what}`);
      rewriting.nodes.push(node("DynamicQuantizeLinear", [x!], made));
    }
    const [y] = n.output!;
    const weight = n.opType === "Gemm" && outputAxis(n) === 0 ? transposedMatrix(weights.get(w!)!) : weights.get(w!)!;
    const shape = shapeOf(weight);
    const { levels, scale, zero } = conv
      ? asymmetric(weight)
      : { levels: symmetric(weight, undefined).levels, scale: symmetric(weight, undefined).scales[0]!, zero: 0 };
    rewriting.add(stored(`${w}_levels`, { dtype: conv ? "u8" : "i8", shape, data: levels }));
    rewriting.add(scalarF32(`${w}_scale`, scale));
    rewriting.add(scalar(`${w}_zero`, conv ? "u8" : "i8", zero));
    const unbiased = b === undefined ? y! : `${y}_unbiased`;
    rewriting.nodes.push(
      {
        ...node(
          conv ? "ConvInteger" : "MatMulInteger",
          [`${x}_quantized`, `${w}_levels`, `${x}_zero`, `${w}_zero`],
          [`${y}_sums`],
        ),
        attribute: conv ? (n.attribute ?? []) : [],
      },
      node("Cast", [`${y}_sums`], [`${y}_float`], { to: F32 }),
      node("Mul", [`${x}_scale`, `${w}_scale`], [`${y}_sums_scale`]),
      node("Mul", [`${y}_float`, `${y}_sums_scale`], [unbiased]),
    );
    if (b !== undefined) {
      const bias = floatsOf(weights.get(b)!);
      rewriting.add(
        stored(`${b}_channels`, { dtype: "f32", shape: [1, bias.length, ...shape.slice(2).map(() => 1)], data: bias }),
      );
      rewriting.nodes.push(node("Add", [unbiased, `${b}_channels`], [y!]));
    }
  }
  rewriting.finish();
  return encodeModel(model);
}
