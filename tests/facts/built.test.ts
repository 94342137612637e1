/** Facts about the benchmark models. Those with much weight are left out: WASMITH_LARGE_FACTS=1 has them, too. */

import { expect, it } from "vitest";
import { benchModels } from "../../bench/models/index.js";
import { factsOfFile, gate } from "./gate.js";

const withLarge = process.env.WASMITH_LARGE_FACTS === "1";
const check = gate("built");

it.each(benchModels.filter(({ large }) => withLarge || !large))("$name", async ({ name, feeds, onnx }) => {
  const shapes = Object.fromEntries(Object.entries(feeds).map(([input, { shape }]) => [input, shape]));
  check(name, await factsOfFile(await onnx(), shapes));
});

it("what is made of weights in every run is counted", async () => {
  const { onnx } = benchModels.find(({ name }) => name === "op_conv3x3_56")!;
  const file = await onnx();
  const [kept, again] = await Promise.all(
    (["auto", "small"] as const).map((weights) => factsOfFile(file, {}, { weights })),
  );
  // Winograd's transformed weights: 36 matrices of 64 × 64, a cache line apart.
  expect([kept!.recomputed, again!.recomputed]).toEqual([0, 36 * (64 * 64 + 16)]);
});
