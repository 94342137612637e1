/**
 * Weights of few bits after training: matrices that products and embeddings read are stored as integers with scales, or as halves. What computes
 * with them is as for models that come quantised (`dequantize` of the IR): products read them as they are stored.
 */

import { asType } from "../ir/build.js";
import { ModelError } from "../ir/errors.js";
import type { Graph, Value } from "../ir/graph.js";
import { remake } from "../ir/graph-rebuild.js";
import { constant } from "../ir/ops/constant.js";
import type { DotAttrs } from "../ir/ops/contraction.js";
import { transpose } from "../ir/ops/movement.js";
import { dequantize } from "../ir/ops/quantized.js";
import { type Tensor, tensor, tensorFrom } from "../ir/tensor.js";
import { node, rule } from "../passes/pattern.js";
import { rewritePass } from "../passes/rewrite.js";
import { checkOptions, oneOf } from "./options.js";

/**
 * `int8`: a scale for each output of a product, and row of an embedding. `int4`: a scale for each 32 weights that a sum reads one after the other;
 * where their number is no multiple of 32, `int8`. `f16`: halves.
 */
export type WeightFormat = "int8" | "int4" | "f16";
export const weightFormats: readonly WeightFormat[] = ["int8", "int4", "f16"];

/** Weights below which nothing is gained. */
const fewest = 1 << 12;
/** Weights of a row that share a scale, of 4 bits. */
const block = 32;

/**
 * The graph with its matrices of weights in another format. Convolutions, biases and tables of positions stay what they are.
 *
 * @throws ModelError where there is nothing to store otherwise, such as in programs that train, whose weights are state: `inferenceGraph` first
 */
export function quantizeWeights(g: Graph, format: WeightFormat): Graph {
  checkOptions("quantizeWeights", { format }, { format: oneOf(...weightFormats) }, ["format"]);
  // A matrix that several nodes read, such as a tied embedding, is stored once.
  const made = new Map<Tensor, Map<number, Value>>();
  const stored = (weights: Value, axis: number): Value | undefined => {
    if (weights.def.op !== "constant" || weights.type.dtype !== "f32" || weights.type.shape.length !== 2)
      return undefined;
    const { value, name } = weights.def.attrs;
    if (value.data.length < fewest || !(value.data as Float32Array).every(Number.isFinite)) return undefined;
    const known = made.get(value) ?? new Map<number, Value>();
    made.set(value, known);
    const next = known.get(axis) ?? encoded(value, axis, format, name);
    known.set(axis, next);
    return next;
  };
  const pass = rewritePass("quantize-weights", [
    rule("quantize-product", node(["dotGeneral"], "n"), ({ n }) => {
      const [a, b] = n.operands as readonly [Value, Value];
      const { batchB, contractB } = n.attrs as DotAttrs;
      if (batchB.length > 0 || contractB.length !== 1) return undefined;
      const [inner, turns] = unturned(b);
      const next = stored(inner, turns ? 1 - contractB[0]! : contractB[0]!);
      return next && remake(n, [a, turns ? transpose([next], { perm: [1, 0] }) : next]).results;
    }),
    rule("quantize-embedding", node(["gather"], "n"), ({ n }) => {
      const [table, at] = n.operands as readonly [Value, Value];
      const next = (n.attrs as { readonly axis: number }).axis === 0 ? stored(table, 1) : undefined;
      return next && remake(n, [next, at]).results;
    }),
  ]);
  const result = pass.run(g);
  if (result !== g) return result;
  throw new ModelError({
    where: "quantizeWeights",
    message: `no product or embedding reads a constant matrix of ${fewest} or more f32 weights`,
    hint: "weights of programs that train are state: inferenceGraph(program) makes them constant (--entry predict on the command line)",
  });
}

/** The matrix below transposes, and whether these turn it. */
function unturned(v: Value): readonly [Value, boolean] {
  if (v.def.op !== "transpose" || v.type.shape.length !== 2) return [v, false];
  const [inner, turns] = unturned(v.def.operands[0]!);
  return [inner, (v.def.attrs as { readonly perm: readonly number[] }).perm[0] === 1 ? !turns : turns];
}

/** @param axis along which sums run */
function encoded(value: Tensor, axis: number, format: WeightFormat, name: string | undefined): Value {
  const named = (t: Tensor) => constant([], name === undefined ? { value: t } : { value: t, name });
  if (format === "f16") return asType(named(tensorFrom("f16", value.shape, value.data as Float32Array)), "f32");
  const [rows, columns] = value.shape as readonly [number, number];
  const width = axis === 1 ? columns : rows;
  if (format === "int4" && width % block === 0) {
    const byRows = axis === 1 ? value : turnedTensor(value);
    const four = fourBits(byRows, named);
    return axis === 1 ? four : transpose([four], { perm: [1, 0] });
  }
  return eightBits(value, axis, named);
}

function turnedTensor({ shape, data }: Tensor): Tensor {
  const [rows, columns] = shape as readonly [number, number];
  const out = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j] as number;
  return tensor("f32", [columns, rows], out);
}

type Named = (t: Tensor) => Value;

/** Symmetric: the largest weight of a sum becomes ±127. */
function eightBits({ shape, data }: Tensor, axis: number, named: Named): Value {
  const [rows, columns] = shape as readonly [number, number];
  const scales = new Float32Array(axis === 1 ? rows : columns);
  const at = (i: number) => (axis === 1 ? Math.floor(i / columns) : i % columns);
  const weights = data as Float32Array;
  for (const [i, w] of weights.entries()) scales[at(i)] = Math.max(scales[at(i)]!, Math.abs(w) / 127);
  const levels = Int8Array.from(weights, (w, i) => Math.round(w / (scales[at(i)]! || 1)));
  const scale = constant([], { value: tensor("f32", axis === 1 ? [rows, 1] : [1, columns], scales) });
  return dequantize([named(tensor("i8", shape, levels)), scale], { bits: 8, block: 0 });
}

/** The weight of the largest magnitude becomes −8, of the levels −8 … 7, which are stored with 8 added: ggml's Q4_0. */
function fourBits({ shape, data }: Tensor, named: Named): Value {
  const [rows, width] = shape as readonly [number, number];
  const weights = data as Float32Array;
  const blocks = width / block;
  const scales = new Float32Array(rows * blocks);
  const packed = new Uint8Array((rows * width) / 2);
  for (let b = 0; b < scales.length; b++) {
    const own = weights.subarray(b * block, (b + 1) * block);
    const extreme = own.reduce((most, w) => (Math.abs(w) > Math.abs(most) ? w : most), 0);
    const scale = Math.fround(extreme / -8);
    scales[b] = scale;
    for (const [i, w] of own.entries()) {
      const level = scale === 0 ? 8 : Math.max(0, Math.min(15, Math.round(w / scale) + 8));
      const place = b * block + i;
      packed[place >> 1]! |= level << (4 * (place & 1));
    }
  }
  const middle = constant([], { value: tensor("u8", [1, 1], Uint8Array.of(8)) });
  const scale = constant([], { value: tensor("f32", [rows, blocks], scales) });
  return dequantize([named(tensor("u8", [rows, width / 2], packed)), scale, middle], { bits: 4, block });
}
