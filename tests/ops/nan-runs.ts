/** Runs of programs over NaNs, often enough for the engine to change the code, and the bits that they give. */

import { compile } from "../../compiler/compile.js";
import { nn, toGraph } from "../../compiler/dsl/index.js";
import { uniform } from "../../compiler/random-feeds.js";
import type { Graph } from "../../ir/graph.js";
import { load, type Tensor, type VariantId } from "../../runtime/index.js";

/** Numbers, infinities, and NaNs of both signs and several payloads. */
export function noise(shape: readonly (number | string)[], seed: number): Tensor {
  const random = uniform(seed);
  const sizes = shape.map((d) => (typeof d === "number" ? d : 2));
  const data = new Float32Array(sizes.reduce((n, d) => n * d, 1));
  const bits = new Uint32Array(data.buffer);
  for (let i = 0; i < data.length; i++) {
    const kind = random();
    if (kind < 0.04) bits[i] = (kind < 0.02 ? 0x7fc00000 : 0xffc00000) + Math.floor(random() * 1000);
    else data[i] = kind < 0.06 ? Infinity : kind < 0.08 ? -Infinity : random() * 2 - 1;
  }
  return { dtype: "f32", shape: sizes, data };
}

/** Layers whose kernels differ: convolutions (dense, of groups, 1×1), a pool, norms, a product, a softmax. */
export function layers(): Graph {
  const model = nn.sequential({
    conv: nn.Conv2d(3, 8, 3, { padding: 1 }),
    norm: nn.BatchNorm2d(8),
    gelu: nn.GELU(),
    depthwise: nn.Conv2d(8, 8, 3, { groups: 8 }),
    point: nn.Conv2d(8, 16, 1),
    pool: nn.MaxPool2d(2),
    flat: nn.Flatten(),
    fc: nn.Linear(16 * 9, 10),
    layerNorm: nn.LayerNorm(10),
  });
  return toGraph(model, { inputs: { x: ["batch", 3, 8, 8] }, outputs: ["y"] });
}

/** The bits of all results of each run on each variant and number of threads. */
export async function bitsSeen(
  graph: Graph,
  variants: readonly (readonly [VariantId, number])[],
  runs: number,
): Promise<ReadonlySet<string>> {
  const artifact = await compile(graph, { variants: [...new Set(variants.map(([id]) => id))] });
  const seen = new Set<string>();
  for (const [variant, threads] of variants) {
    const session = await load(artifact, { variant, threads });
    const feeds = Object.fromEntries(session.inputs.map(({ name, shape }, i) => [name, noise(shape, i + 1)]));
    for (let i = 0; i < runs; i++) {
      const outputs = Object.values(await session.run(feeds));
      seen.add(outputs.map((t) => Buffer.from(t.data.buffer as ArrayBuffer).toString("base64")).join());
    }
    session.dispose();
  }
  return seen;
}
