/**
 * Random ops. ONNX leaves their stream open; here it is Philox with the node's seed as key (or a number of its own), so an
 * imported graph gives the same numbers at every run.
 */
import { asType, expandDims, full, np, where } from "../../../ir/build.js";
import type { Dim } from "../../../ir/dim.js";
import type { FloatDType } from "../../../ir/dtype.js";
import { isFloat } from "../../../ir/dtype.js";
import type { Shape, Value } from "../../../ir/graph.js";
import { log, neg } from "../../../ir/ops/elementwise.js";
import * as random from "../../../ir/ops/random.js";
import { argMax } from "../../../ir/ops/reduce.js";
import { vector } from "../build.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../context.js";
import { dtypeOfCode } from "../dtype.js";

/** Key and counter of a node: its seed's bits, or a number that no other node of the graph has. */
export function stream(c: NodeContext): readonly [Value, Value] {
  // The seed is a float, but an int for Dropout.
  const seed = c.node.attributes.get("seed");
  const number = seed?.kind === "int" || seed?.kind === "float" ? Number(seed.value) : undefined;
  const [low, high] = new Uint32Array(Float64Array.of(number ?? 0).buffer) as unknown as [number, number];
  const key = number === undefined ? [0, c.services.serialNumber()] : [low, high];
  return [vector("u32", key), vector("u32", [0, 0])];
}

function floatType(c: NodeContext, fallback: string): FloatDType {
  const code = c.attrs.int("dtype", 0);
  const dtype = code ? dtypeOfCode(code) : fallback;
  if (dtype === "f32" || dtype === "f64" || dtype === "f16" || dtype === "bf16") return dtype;
  throw c.error(`random numbers of type ${dtype} are not supported`);
}

const uniform = (c: NodeContext, shape: Shape, dtype: FloatDType): Value =>
  random.randomUniform(stream(c), { dtype, shape, low: c.attrs.float("low", 0), high: c.attrs.float("high", 1) });

const normal = (c: NodeContext, shape: Shape, dtype: FloatDType): Value =>
  random.randomNormal(stream(c), {
    dtype,
    shape,
    mean: c.attrs.float("mean", 0),
    deviation: c.attrs.float("scale", 1),
  });

const fresh =
  (draw: (c: NodeContext, shape: Shape, dtype: FloatDType) => Value): ImportOp =>
  (c) =>
    draw(c, c.attrs.requiredInts("shape"), floatType(c, "f32"));

const like =
  (draw: (c: NodeContext, shape: Shape, dtype: FloatDType) => Value): ImportOp =>
  (c) => {
    const x = c.input(0);
    return draw(c, x.type.shape, floatType(c, x.type.dtype));
  };

const bernoulli: ImportOp = (c) => {
  const p = c.input(0);
  const code = c.attrs.int("dtype", 0);
  const to = code ? dtypeOfCode(code) : p.type.dtype;
  if (to === undefined || to === "string") throw c.error("the type of the result is not supported");
  return asType(random.bernoulli([p, ...stream(c)]), to);
};

/** Samples of the classes of [batch, classes] log-probabilities, by the largest of them plus Gumbel noise. */
const multinomial: ImportOp = (c) => {
  const x = c.input(0);
  const count = c.attrs.int("sample_size", 1);
  const [batch, classes] = x.type.shape as [Dim, Dim];
  const u = random.randomUniform(stream(c), { dtype: "f32", shape: [batch, count, classes], low: 0, high: 1 });
  const gumbel = neg([log([neg([log([np.max(u, 1e-20)])])])]);
  const best = argMax([np.add(expandDims(asType(x, "f32"), 1), gumbel)], { axis: 2, keepDims: false });
  return asType(best, c.attrs.int("dtype", 6) === 7 ? "i64" : "i32");
};

/** Keeps each element with probability 1 − ratio, scaled; gives the mask as well. */
export function trainingDropout(c: NodeContext, x: Value, ratio: number): readonly Bound[] {
  if (!isFloat(x.type.dtype)) throw c.error("dropout needs a float input");
  const [key, counter] = stream(c);
  const keep = random.bernoulli([full("f32", x.type.shape, 1 - ratio), key, counter]);
  return [where(keep, np.div(x, 1 - ratio), 0), keep];
}

export const randoms = {
  RandomUniform: fresh(uniform),
  RandomNormal: fresh(normal),
  RandomUniformLike: like(uniform),
  RandomNormalLike: like(normal),
  Bernoulli: bernoulli,
  Multinomial: multinomial,
} as const satisfies Readonly<Record<string, OpRow>>;
