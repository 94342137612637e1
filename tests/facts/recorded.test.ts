/** Facts about trained models, and that they tell of what went wrong before. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DATA, hasModels, readSafetensors } from "../onnx/data.js";
import { differences } from "./differences.js";
import { factsOfFile, gate, type Shapes } from "./gate.js";

const folder = join(DATA, "models");
const models = hasModels ? readdirSync(folder).filter((name) => existsSync(join(folder, name, "model.onnx"))) : [];
const fileOf = (name: string): Uint8Array => readFileSync(join(folder, name, "model.onnx"));

/** Shapes of the inputs of the first case. */
const shapesOf = (name: string): Shapes =>
  Object.fromEntries(
    [...readSafetensors(join(folder, name, "io.safetensors")).tensors].flatMap(([key, { shape }]) => {
      const [, input] = /^case0\.in\.(.+)$/.exec(key) ?? [];
      return input === undefined ? [] : [[input, shape] as const];
    }),
  );

describe.skipIf(!hasModels)("recorded models", () => {
  const check = gate("recorded");

  it.each(models)("%s", async (name) => {
    check(name, await factsOfFile(fileOf(name), shapesOf(name)));
  });

  // A change to fold-constants once left operands of integer products unfolded, so that they ran on wide integers; answers stayed right.
  it("tell where integer products no longer take narrow operands", async () => {
    const name = "antispoof-int8";
    const [usual, wide] = await Promise.all(
      [{}, { skipPasses: ["fold-constants"] }].map((options) => factsOfFile(fileOf(name), shapesOf(name), options)),
    );
    const told = differences(usual!, wide!);
    expect(told).toContainEqual(expect.stringMatching(/^steps of i16pair_gemm: \d+ → \d+ \(−/));
    expect(told).toContainEqual(expect.stringMatching(/^weightsBytes: /));
  });
});
