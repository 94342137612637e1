/** The document of a tuning, and what compiling does with it. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { readTuning, type TunedChoice, type Tuning } from "../../compiler/tune/tuning.js";
import { ModelError } from "../../ir/errors.js";
import { graph, param } from "../../ir/graph.js";
import { dotGeneral } from "../../ir/ops/contraction.js";

const a = param("a", { dtype: "f32", shape: [40, 24] });
const b = param("b", { dtype: "f32", shape: [24, 32] });
const attrs = { batchA: [], batchB: [], contractA: [1], contractB: [0] };
const model = graph("product", [a, b], [dotGeneral([a, b], attrs)]);

const kind = "dotGeneral(f32[40,24], f32[24,32]) -> f32[40,32] {batchA=[], batchB=[], contractA=[1], contractB=[0]}";
const choice: TunedChoice = {
  kind,
  kernel: "dotGeneral/gemm",
  tile: { mr: 3, nr: 8, fused: { mr: 6, nr: 8 } },
  ms: 1,
  untunedMs: 2,
};
const tuning: Tuning = {
  format: "wasmith tuning",
  version: 1,
  measured: { engine: "an engine", variant: "simd128", threads: 1, dims: {} },
  choices: [choice],
};

async function kernelsWith(t: Tuning | undefined): Promise<{ readonly kernels: string; readonly warnings: string[] }> {
  const warnings: string[] = [];
  const options = { variants: ["simd128"], onWarning: (text: string) => warnings.push(text) } as const;
  const artifact = await compile(model, { ...options, ...(t ? { tuning: t } : {}) });
  return { kernels: artifact.manifest.entries.main!.steps.map((s) => s.kernel).join(), warnings };
}

describe("compiling with a tuning", () => {
  it("takes the tile that it names", async () => {
    expect((await kernelsWith(undefined)).kernels).not.toContain("3x8");
    expect(await kernelsWith(tuning)).toEqual({ kernels: expect.stringContaining("_3x8_"), warnings: [] });
    // As it comes from a file.
    expect((await kernelsWith(JSON.parse(JSON.stringify(tuning)) as Tuning)).kernels).toContain("_3x8_");
  });

  it("leaves out, in words, what no kernel serves, and what the model does not have", async () => {
    const untuned = await kernelsWith(undefined);
    for (const other of [
      { ...choice, kernel: "dotGeneral/gone" },
      { ...choice, tile: { mr: 7, nr: 20 } },
    ]) {
      const { kernels, warnings } = await kernelsWith({ ...tuning, choices: [other] });
      expect(kernels).toBe(untuned.kernels);
      expect(warnings).toEqual([expect.stringContaining(`does not serve ${kind}`)]);
      expect(warnings[0]).toContain(other.kernel);
    }
    const elsewhere = { ...tuning, choices: [{ ...choice, kind: kind.replace("40", "41") }] };
    expect(await kernelsWith(elsewhere)).toEqual({ kernels: untuned.kernels, warnings: [] });
  });
});

describe("what is no tuning is refused", () => {
  const refusals: readonly (readonly [string, unknown, string])[] = [
    ["a string", "tuning", "expected a tuning"],
    ["another document", { format: "other" }, "expected a tuning"],
    ["another version", { ...tuning, version: 2 }, "it has version 2"],
    ["no list of choices", { ...tuning, choices: {} }, "expected a list"],
    ["no words on where", { ...tuning, measured: { ...tuning.measured, threads: 0 } }, "measured.threads"],
    ["a choice without a kernel", { ...tuning, choices: [{ kind, ms: 1, untunedMs: 2 }] }, "choices[0].kernel"],
    ["half a tile", { ...tuning, choices: [{ ...choice, tile: { mr: 4 } }] }, "choices[0].tile"],
    ["a fused tile of text", { ...tuning, choices: [{ ...choice, tile: { mr: 4, nr: 8, fused: "6x8" } }] }, "tile"],
    ["a time that is none", { ...tuning, choices: [{ ...choice, ms: -1 }] }, "choices[0].ms"],
    ["two choices of a kind", { ...tuning, choices: [choice, choice] }, "two choices for"],
  ];
  it.each(refusals)("%s", async (_, value, words) => {
    expect(() => readTuning(value, "some.json")).toThrow(ModelError);
    expect(() => readTuning(value, "some.json")).toThrow(/some\.json/);
    expect(() => readTuning(value, "some.json")).toThrow(words);
    if (typeof value === "object") await expect(compile(model, { tuning: value as Tuning })).rejects.toThrow(words);
  });

  it("by what compile takes as an option, too", async () => {
    await expect(compile(model, { tuning: "tuning.json" as never })).rejects.toThrow("option tuning");
  });
});
