/**
 * One small model for each kind of mistake that was ever reported (WASMITH_DATA/cases): on every variant, on one thread and on
 * two, each gives the outputs recorded for it. Runs in processes that know relaxed SIMD (vitest.config.ts).
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { evaluate } from "../../ir/reference.js";
import { element, type Tensor } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { compareTensors, toTensor } from "./compare.js";
import { DATA, modelsIn, readSafetensors } from "./data.js";
import { CONFIGURATIONS } from "./recorded.js";

type Tensors = Readonly<Record<string, Tensor>>;

interface Meta {
  readonly summary: string;
  /** The dims that the model is imported with. */
  readonly dims: Readonly<Record<string, number | readonly [number, number]>>;
  readonly rtol: number;
  readonly atol: number;
}

interface Case {
  readonly inputs: Tensors;
  readonly outputs: Tensors;
}

function casesOf(folder: string): readonly Case[] {
  const cases: { inputs: Record<string, Tensor>; outputs: Record<string, Tensor> }[] = [];
  for (const [key, tensor] of readSafetensors(join(folder, "io.safetensors")).tensors) {
    const [, k, side, name] = /^case(\d+)\.(in|out)\.(.+)$/.exec(key)!;
    cases[Number(k)] ??= { inputs: {}, outputs: {} };
    cases[Number(k)]![side === "in" ? "inputs" : "outputs"][name!] = toTensor(tensor);
  }
  return cases;
}

/** What is wrong, by configuration and output. Without recorded outputs the reference evaluator says what is right. */
async function problemsOf(folder: string): Promise<readonly string[]> {
  const meta = JSON.parse(readFileSync(join(folder, "meta.json"), "utf8")) as Meta;
  const cases = casesOf(folder);
  // Initializers that the case feeds are inputs.
  const overrides = Object.keys(cases[0]!.inputs);
  const graph = importOnnx(readFileSync(join(folder, "model.onnx")), { dims: meta.dims, overrides });
  const artifact = await compile(graph, { variants: [...new Set(CONFIGURATIONS.map(([id]) => id))] });
  const problems: string[] = [];
  const first = new Map<string, Tensor>();
  for (const [id, threads] of CONFIGURATIONS) {
    const session = await load(artifact, { variant: id, threads });
    try {
      for (const [k, { inputs, outputs }] of cases.entries()) {
        const got = (await session.run(inputs as never)) as Tensors;
        const recorded = Object.keys(outputs).length > 0;
        const want = recorded
          ? outputs
          : Object.fromEntries(evaluate(graph, inputs).map((t, i) => [graph.resultNames[i]!, t]));
        for (const [name, tensor] of Object.entries(want)) {
          const wrong = compareTensors(got[name]!, tensor, meta);
          if (wrong) problems.push(`${id}, ${threads} thread(s), case ${k}, ${name}: ${wrong}`);
          // Results of the baseline do not depend on the number of threads, to the last bit.
          if (!id.startsWith("simd128")) continue;
          const known = first.get(`${k} ${name}`) ?? got[name]!;
          first.set(`${k} ${name}`, known);
          for (let i = 0; i < known.data.length; i++)
            if (!Object.is(element(known, i), element(got[name]!, i)))
              problems.push(`${id}, ${threads} thread(s), case ${k}, ${name}: element ${i} differs from another run`);
        }
      }
    } finally {
      session.dispose();
    }
  }
  return problems;
}

const cases = modelsIn("cases");

describe.skipIf(cases.length === 0)(`cases of ${DATA}`, () => {
  it.each(cases.map((c) => [c.name, c.folder] as const))("%s", async (_, folder) => {
    expect(await problemsOf(folder)).toEqual([]);
  });
});
