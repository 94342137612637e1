/** Weights of few bits after training: sizes, errors, and which product reads what. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { losses, nn, optim, toGraph, trainStep } from "../../compiler/dsl/index.js";
import { quantizeWeights, type WeightFormat } from "../../compiler/quantize.js";
import { inferenceGraph } from "../../compiler/weights-given.js";
import type { Graph, Value } from "../../ir/graph.js";
import { load } from "../../runtime/index.js";

const tokens = { dtype: "i64", shape: [5], data: BigInt64Array.of(3n, 0n, 199n, 7n, 42n) } as const;

/** A table that is the last product's matrix too, and a matrix that products read along its first axis. */
class Tied extends nn.Module {
  readonly table = nn.Embedding(200, 64);
  readonly inner = nn.Linear(64, 96);
  readonly back = nn.parameter([96, 64], nn.init.normal(0, 0.2));
  forward(ctx: nn.Context, ids: Value): Value {
    const hidden = this.inner(ctx, this.table(ctx, ids)).relu().matmul(ctx.value(this.back));
    return hidden.matmul(ctx.value(this.table.weight).transpose());
  }
}
const tied = (): Graph =>
  toGraph(new Tied().initialize(4), { inputs: { ids: { dtype: "i64", shape: ["n"] } }, outputs: ["logits"] });
/** 200 × 64, 96 × 64 twice. */
const count = 200 * 64 + 2 * 96 * 64;

async function logitsOf(g: Graph) {
  const artifact = await compile(g, { variants: ["simd128"] });
  const session = await load(artifact);
  const { logits } = await session.run({ ids: tokens });
  const [steps, { bytes }] = [artifact.manifest.entries.main!.steps, artifact.manifest.weights];
  session.dispose();
  return { logits: logits!.data as Float32Array, bytes, kernels: steps.map((s) => s.kernel).join(" ") };
}

describe("quantizeWeights", () => {
  // Rounding to levels that are s apart errs by s/√12; weights are normal, and there are four matrices on the way: 4 × that of one, squared.
  it.each([
    ["f16", 2, 5e-4],
    // A scale of 4 bytes for each output.
    ["int8", 1 + (4 * (200 + 96 + 64)) / count, 0.016],
    // And for each 32 weights.
    ["int4", 0.5 + 4 / 32, 0.2],
  ] as const)("%s takes %f bytes a weight", async (format: WeightFormat, size, error) => {
    const [want, got] = [await logitsOf(tied()), await logitsOf(quantizeWeights(tied(), format))];
    // Biases, and the manifest's own alignment.
    expect(Math.abs(got.bytes - size * count)).toBeLessThan(1500);
    const [distance, norm] = want.logits.reduce(([d, n], w, i) => [d + (got.logits[i]! - w) ** 2, n + w * w] as const, [
      0, 0,
    ] as readonly [number, number]);
    expect(Math.sqrt(distance / norm)).toBeLessThan(error);
    expect(got.kernels).not.toBe(want.kernels);
  });

  it("keeps what is small or not read by products, and says where nothing is left to do", () => {
    const small = toGraph(nn.Linear(8, 8), { inputs: { x: ["n", 8] } });
    expect(() => quantizeWeights(small, "int8")).toThrow(/no product or embedding reads a constant matrix of 4096/);
    expect(() => quantizeWeights(small, "int3" as never)).toThrow(/option format/);
    const step = trainStep(nn.Linear(64, 64), {
      inputs: { x: ["n", 64] },
      targets: { y: ["n", 64] },
      loss: losses.mse(),
      optimizer: optim.SGD(),
    });
    expect(() => quantizeWeights(step.entries.predict!, "int8")).toThrow(
      /inferenceGraph\(program\) makes them constant/,
    );
    expect(quantizeWeights(inferenceGraph(step), "int8")).toBeDefined();
  });
});
