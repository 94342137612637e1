/** Facts of models against those that a file holds. UPDATE_FACTS=1 stores what is found; reviewers read the diff. */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { type CompileOptions, compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { dimText } from "../../ir/dim.js";
import { differences } from "./differences.js";
import { type Facts, factsOf } from "./facts.js";

const update = process.env.UPDATE_FACTS === "1";

/** Shapes of what a model is fed, by name. */
export type Shapes = Readonly<Record<string, readonly number[]>>;

/** Facts of a file, compiled for the baseline on one thread. */
export async function factsOfFile(onnx: Uint8Array, shapes: Shapes, options: CompileOptions = {}): Promise<Facts> {
  const maxSeconds = 1000;
  const artifact = await compile(importOnnx(onnx, { maxSeconds }), { variants: ["simd128"], maxSeconds, ...options });
  const { inputs } = artifact.assembled.plans[0]!.schedule;
  const sizes = inputs.flatMap(({ name, shape }) =>
    shape.map((d, axis) => [dimText(d), shapes[name]?.[axis] ?? 1] as const),
  );
  return factsOf(artifact, onnx, new Map(sizes));
}

/** Holds facts against those in `stored/NAME.json`. */
export function gate(name: string): (model: string, facts: Facts) => void {
  const path = join(import.meta.dirname, "stored", `${name}.json`);
  const stored: Record<string, Facts> = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  const found: Record<string, Facts> = {};
  afterAll(() => {
    if (!update) return;
    const all = Object.entries({ ...stored, ...found }).sort(([a], [b]) => (a < b ? -1 : 1));
    writeFileSync(path, `${JSON.stringify(Object.fromEntries(all), null, 2)}\n`);
  });
  return (model, facts) => {
    found[model] = facts;
    if (update) return;
    const was = stored[model];
    if (was === undefined) throw new Error(`no facts of ${model} are stored: UPDATE_FACTS=1 stores them`);
    expect(differences(was, facts), `${model}: UPDATE_FACTS=1 stores the new facts`).toEqual([]);
  };
}
