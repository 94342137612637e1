/** Weights of a trained session in what is compiled, and programs as graphs that hold them. */

import { expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F, losses, nn, optim, program, toGraph, trainStep } from "../../compiler/dsl/index.js";
import { inferenceGraph, withWeights } from "../../compiler/weights-given.js";
import { tensor } from "../../ir/tensor.js";
import { load, type TrainingSession } from "../../runtime/index.js";

const compiled = { variants: ["simd128"] } as const;
const net = () =>
  nn.sequential({ fc1: nn.Linear(3, 4), norm: nn.BatchNorm1d(4), act: nn.ReLU(), fc2: nn.Linear(4, 2) });
const step = () =>
  trainStep(net(), {
    inputs: { x: ["batch", 3] },
    targets: { y: ["batch", 2] },
    loss: losses.mse(),
    optimizer: optim.Adam({ lr: 0.05 }),
    outputs: ["y"],
  });
const x = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i));
const y = Float32Array.from({ length: 16 }, (_, i) => Math.cos(i));

it("an artefact begins with the weights of a session, or holds them as constants", async () => {
  const session = (await load(await compile(step(), compiled))) as unknown as TrainingSession;
  await session.fit({ x, y }, { epochs: 3, batchSize: 4, progress: false });
  const [checkpoint, weights] = [await session.save(), await session.exportSafetensors()];
  const want = (await session.predict({ x })).y!.data;
  const close = Array.from(want as Float32Array, (v) => expect.closeTo(v, 5));

  for (const file of [checkpoint, weights]) {
    const again = (await load(await compile(withWeights(step(), file), compiled))) as unknown as TrainingSession;
    expect((await again.predict({ x })).y!.data).toEqual(want);
    again.dispose();
  }
  // All of a checkpoint's state: the moments of the optimiser too.
  const resumed = (await load(await compile(withWeights(step(), checkpoint), compiled))) as unknown as TrainingSession;
  const batch = { x: x.subarray(0, 12), y: y.subarray(0, 8) };
  expect(await resumed.step(batch)).toEqual(await session.step(batch));
  expect(await resumed.save()).toEqual(await session.save());
  resumed.dispose();

  const frozen = inferenceGraph(withWeights(step(), weights));
  expect(frozen.params).toHaveLength(1);
  const predicts = await load(await compile(frozen, compiled));
  expect(predicts.state).toEqual([]);
  const got = (await predicts.run({ x })).y!.data;
  expect(Array.from(got as Float32Array)).toEqual(close);
  predicts.dispose();

  // Named constants of a graph, by the names of the session.
  const graph = withWeights(toGraph(net(), { inputs: { x: ["batch", 3] }, outputs: ["y"] }), weights);
  const plain = await load(await compile(graph, compiled));
  expect(Array.from((await plain.run({ x })).y!.data as Float32Array)).toEqual(close);
  plain.dispose();
  session.dispose();
});

it("says what does not fit", () => {
  const f32 = (...shape: number[]) => tensor("f32", shape, new Float32Array(shape.reduce((a, b) => a * b, 1)));
  expect(() => withWeights(step(), { "fc1.weight": f32(4, 4), fc3: f32(1) })).toThrow(
    /fc1\.weight: its new value is f32\[4,4\], but the weight is f32\[4,3\]\n.*fc3: a new value is given, but the model has no weight of this name\n {2}→ .*fc2/s,
  );
  expect(() => withWeights(step(), new Map())).toThrow(/none of the names/);
  const halves = withWeights(step(), { "fc1.bias": tensor("f16", [4], Uint16Array.of(0x3c00, 0, 0, 0xc000)) });
  expect(Array.from(halves.state.find((s) => s.name === "fc1.bias")!.tensor.data as Float32Array)).toEqual([
    1, 0, 0, -2,
  ]);
  expect(() => inferenceGraph(step(), "step")).toThrow(/entry "step": it changes state/);
  expect(() => inferenceGraph(step(), "predic")).toThrow(
    /no entry "predic"\n {2}→ its entries are: .*did you mean "predict"/,
  );
  const two = program(
    { net: nn.Linear(1, 1) },
    { main: { inputs: { x: [1] }, run: (_, { x: v }) => ({ z: F.add(v!, 1) }) } },
  );
  expect(inferenceGraph(two)).toBe(two.entries.main);
});
