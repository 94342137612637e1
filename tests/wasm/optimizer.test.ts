import { expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F, graph, param } from "../../compiler/dsl/index.js";
import { load } from "../../runtime/index.js";

const x = param("x", { dtype: "f32", shape: [5, 7] });
const model = graph("model", [x], [F.softmax(F.gelu(F.matmul(x, F.transpose(x))))]);

it("binaryen's passes make smaller modules of the same results", async () => {
  const data = Float32Array.from({ length: 35 }, (_, i) => Math.sin(i));
  const found = await Promise.all(
    (["direct", "binaryen"] as const).map(async (optimizer) => {
      const artifact = await compile(model, { optimizer });
      const session = await load(artifact, { threads: 1, deterministic: true });
      const [result] = Object.values(await session.run({ x: data }));
      session.dispose();
      return { bytes: artifact.wasm.simd128!.length, stages: Object.keys(artifact.stages), result };
    }),
  );
  const [direct, binaryen] = found;
  expect(binaryen!.result).toEqual(direct!.result);
  expect(binaryen!.bytes).toBeLessThan(direct!.bytes);
  expect([direct, binaryen].map((f) => f!.stages.includes("optimize"))).toEqual([false, true]);
});
