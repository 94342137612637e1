/** Eight square matrices of weights, read by one row: what a step of a decoder does, for each way to store weights. */

import { type Random, randomOf } from "../../compiler/dsl/random.js";
import type { GraphProto, ModelProto, NodeProto, TensorProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { encodeFloat } from "../../ir/float-formats.js";
import { model, node, tensorInfo } from "../../tests/onnx/build.js";
import { stored } from "./onnx-edit.js";

const layers = 8;
const F32 = 1;
const F16 = 10;
/** Weights that share a scale in the 4-bit format. */
const block = 32;

export type StackKind = "f32" | "f16" | "int8" | "int4";

interface Layer {
  readonly weights: readonly TensorProto[];
  readonly nodes: readonly NodeProto[];
}

type Maker = (size: number, l: number, random: Random) => Layer;

const fill = <A extends Float32Array | Uint16Array | Int8Array | Uint8Array>(array: A, next: () => number): A => {
  for (let i = 0; i < array.length; i++) array[i] = next();
  return array;
};
/** Uniform with the variance that keeps a row's. */
const weight = (size: number, random: Random) => (2 * random.uniform() - 1) * Math.sqrt(3 / size);
/** The same in halves: one of 2048 levels. */
const halfWeight = (size: number, random: Random) => {
  const levels = Uint16Array.from({ length: 2048 }, (_, i) => encodeFloat("f16", (i / 1024 - 1) * Math.sqrt(3 / size)));
  return () => levels[Math.floor(2048 * random.uniform())]!;
};
const byte = (random: Random) => Math.floor(256 * random.uniform());
/** The scale of levels that are uniform in ± `levels`. */
const scaleOf = (size: number, levels: number, random: Random) =>
  (Math.sqrt(3 / size) / levels) * (0.8 + 0.4 * random.uniform());

const kinds: Readonly<Record<StackKind, Maker>> = {
  f32: (size, l, random) => ({
    weights: [
      stored(`w${l}`, {
        dtype: "f32",
        shape: [size, size],
        data: fill(new Float32Array(size * size), () => weight(size, random)),
      }),
    ],
    nodes: [node("MatMul", [`x${l}`, `w${l}`], [`x${l + 1}`])],
  }),
  f16: (size, l, random) => ({
    weights: [
      stored(`w${l}`, {
        dtype: "f16",
        shape: [size, size],
        data: fill(new Uint16Array(size * size), halfWeight(size, random)),
      }),
    ],
    nodes: [node("MatMul", [`x${l}`, `w${l}`], [`x${l + 1}`])],
  }),
  int8: (size, l, random) => ({
    weights: [
      stored(`w${l}`, {
        dtype: "i8",
        shape: [size, size],
        data: fill(new Int8Array(size * size), () => byte(random) - 128),
      }),
      stored(`s${l}`, {
        dtype: "f32",
        shape: [size],
        data: fill(new Float32Array(size), () => scaleOf(size, 127, random)),
      }),
    ],
    nodes: [
      node("DequantizeLinear", [`w${l}`, `s${l}`], [`f${l}`], { axis: 1 }),
      node("MatMul", [`x${l}`, `f${l}`], [`x${l + 1}`]),
    ],
  }),
  int4: (size, l, random) => ({
    weights: [
      stored(`w${l}`, {
        dtype: "u8",
        shape: [size, size / block, block / 2],
        data: fill(new Uint8Array((size * size) / 2), () => byte(random)),
      }),
      stored(`s${l}`, {
        dtype: "f32",
        shape: [(size * size) / block],
        data: fill(new Float32Array((size * size) / block), () => scaleOf(size, 8, random)),
      }),
    ],
    nodes: [
      node(
        "MatMulNBits",
        [`x${l}`, `w${l}`, `s${l}`],
        [`x${l + 1}`],
        { K: size, N: size, bits: 4, block_size: block },
        { domain: "com.microsoft" },
      ),
    ],
  }),
};

/** x [1, size] → y [1, size], both f32 */
export function stack(kind: StackKind, size: number): Uint8Array {
  const made = Array.from({ length: layers }, (_, l) => kinds[kind](size, l, randomOf(l, `${kind} stack`)));
  const within = kind === "f16" ? F16 : F32;
  const graph: GraphProto = {
    input: [tensorInfo("x", [1, size])],
    output: [tensorInfo("y", [1, size])],
    initializer: made.flatMap(({ weights }) => weights),
    node: [
      node("Cast", ["x"], ["x0"], { to: within }),
      ...made.flatMap(({ nodes }) => nodes),
      node("Cast", [`x${layers}`], ["y"], { to: F32 }),
    ],
  };
  const proto: ModelProto = model(graph);
  const contrib = kind === "int4" ? [{ domain: "com.microsoft", version: 1 }] : [];
  return encodeModel({ ...proto, opsetImport: [...proto.opsetImport!, ...contrib] });
}
