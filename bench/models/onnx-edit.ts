/** Changes of ONNX files that the builders of models need: constants, names, nodes. */

import type { DType } from "wasmith";
import type { GraphProto, NodeProto, TensorProto } from "../../compiler/onnx/proto-types.js";
import { decodeTensor, encodeTensor, type OnnxTensor } from "../../compiler/onnx/tensor.js";

export type HostTensor = OnnxTensor & { readonly dtype: DType };

export const initializersOf = (graph: GraphProto): Map<string, TensorProto> =>
  new Map((graph.initializer ?? []).map((t) => [t.name!, t]));

/** Nodes by the values that they read. */
export function readersOf(graph: GraphProto): Map<string, NodeProto[]> {
  const readers = new Map<string, NodeProto[]>();
  for (const node of graph.node ?? [])
    for (const name of node.input ?? []) readers.set(name, [...(readers.get(name) ?? []), node]);
  return readers;
}

/** Floats of a stored tensor. */
export function floatsOf(stored: TensorProto): Float32Array {
  const { dtype, data } = decodeTensor(stored, stored.name ?? "");
  if (dtype !== "f32") throw new Error(`${stored.name} holds ${dtype}, not f32`);
  return data as Float32Array;
}

export const shapeOf = (stored: TensorProto): readonly number[] => (stored.dims ?? []).map(Number);

export const stored = (name: string, tensor: HostTensor): TensorProto => encodeTensor(tensor, name);

/** A stored matrix of floats with its axes swapped, under the same name. */
export function transposedMatrix(matrix: TensorProto): TensorProto {
  const [rows, columns] = shapeOf(matrix) as [number, number];
  const data = floatsOf(matrix);
  const out = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = data[r * columns + c]!;
  return stored(matrix.name!, { dtype: "f32", shape: [columns, rows], data: out });
}

/**
 * Matrices of weights that nothing but one Transpose reads are stored transposed, as exporters do: the DSL's linear layers hold [out, in], a
 * file's MatMul reads [in, out].
 */
export function storeTransposed(graph: GraphProto): void {
  const weights = initializersOf(graph);
  const readers = readersOf(graph);
  const gone = new Map<string, string>();
  graph.node = (graph.node ?? []).filter((node) => {
    const [from] = node.input ?? [];
    const weight = weights.get(from ?? "");
    if (node.opType !== "Transpose" || weight?.dims?.length !== 2 || readers.get(from!)!.length !== 1) return true;
    weights.set(from!, transposedMatrix(weight));
    gone.set(node.output![0]!, from!);
    return false;
  });
  for (const node of graph.node) node.input = (node.input ?? []).map((name) => gone.get(name) ?? name);
  graph.initializer = [...weights.values()];
}
