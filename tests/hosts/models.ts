/** Models for tests of other hosts: small, and with all that hosts handle. */
import { F, losses, metrics, nn, optim, trainStep } from "../../index.js";
import { dimSymbol } from "../../ir/dim.js";
import { type Graph, graph, param } from "../../ir/graph.js";
import { type Tensor, toBFloat16, toFloat16 } from "../../runtime/index.js";
import { sizeOf } from "../../runtime/tensor.js";

/** Open sizes, and many dtypes. */
export function mixed(): Graph {
  const [n, m] = [dimSymbol("n", { min: 0 }), dimSymbol("m", { min: 1, max: 8 })];
  const x = param("x", { dtype: "f32", shape: [n, 3] });
  const h = param("h", { dtype: "f16", shape: [n] });
  const b = param("b", { dtype: "bf16", shape: [n] });
  const i = param("i", { dtype: "i64", shape: [m] });
  const mask = param("mask", { dtype: "bool", shape: [m] });
  const scale = param("scale", { dtype: "f32", shape: [] });
  const bytes = param("bytes", { dtype: "u8", shape: [2] });
  const outputs = {
    y: F.cat([F.gelu(F.mul(x, scale)), x], 0),
    h2: F.exp(h),
    b2: F.mul(b, b),
    i2: F.where(mask, F.mul(i, i), i),
    not: F.logicalNot(mask),
    bytes2: F.add(bytes, bytes),
    total: F.sum(x),
  };
  return graph("mixed", [x, h, b, i, mask, scale, bytes], Object.values(outputs), Object.keys(outputs));
}

export const f32 = (shape: readonly number[], at = 1): Tensor<"f32"> => ({
  dtype: "f32",
  shape,
  data: Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i * 1.7 + at) * 2),
});

export const mixedFeeds = (n: number): Record<string, Tensor> => ({
  x: f32([n, 3]),
  h: { dtype: "f16", shape: [n], data: toFloat16(f32([n], 2).data) },
  b: { dtype: "bf16", shape: [n], data: toBFloat16(f32([n], 3).data) },
  i: { dtype: "i64", shape: [5], data: BigInt64Array.of(1n, -2n, 3n, 2n ** 40n, -5n) },
  mask: { dtype: "bool", shape: [5], data: Uint8Array.of(1, 0, 1, 1, 0) },
  scale: { dtype: "f32", shape: [], data: Float32Array.of(0.5) },
  bytes: { dtype: "u8", shape: [2], data: Uint8Array.of(3, 200) },
});

/** x: f32[batch, 4], y: i64[batch] */
export const training = () =>
  trainStep(nn.sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 3)), {
    inputs: { x: ["batch", 4] },
    targets: { y: { dtype: "i64", shape: ["batch"] } },
    loss: losses.crossEntropy(),
    optimizer: optim.Adam({ lr: 1e-2 }),
    metrics: { accuracy: metrics.accuracy() },
  });
