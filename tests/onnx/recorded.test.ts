/** PyTorch's exports and trained models, compiled, against the outputs recorded for them. One import serves all sizes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importModel } from "../../compiler/onnx/import.js";
import { readOnnx } from "../../compiler/onnx/model.js";
import { element, type Tensor } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { compareTensors, toTensor } from "./compare.js";
import { hasExports, hasModels, pytorchExports, readSafetensors, trainedModels } from "./data.js";

interface Stated {
  readonly name: string;
  readonly rtol?: number;
  readonly atol?: number;
}

interface Recorded {
  readonly outputs: readonly Stated[];
  readonly cases: readonly { readonly inputs: Record<string, Tensor>; readonly outputs: Record<string, Tensor> }[];
}

function recorded(folder: string): Recorded {
  const { outputs } = JSON.parse(readFileSync(join(folder, "meta.json"), "utf8")) as { outputs: Stated[] };
  const cases: { inputs: Record<string, Tensor>; outputs: Record<string, Tensor> }[] = [];
  for (const [key, tensor] of readSafetensors(join(folder, "io.safetensors")).tensors) {
    const [, k, side, name] = /^case(\d+)\.(in|out)\.(.+)$/.exec(key)!;
    cases[Number(k)] ??= { inputs: {}, outputs: {} };
    cases[Number(k)]![side === "in" ? "inputs" : "outputs"][name!] = toTensor(tensor);
  }
  return { outputs, cases };
}

function largest(t: Tensor): number {
  let most = 1e-3;
  for (let i = 0; i < t.data.length; i++) most = Math.max(most, Math.abs(element(t, i)));
  return most;
}

/** Inputs that decide which of several programs a model is. */
const VALUES: Readonly<Record<string, readonly string[]>> = { "silero-vad-v5": ["sr"] };

/**
 * Share of the largest value that may differ. Other runtimes round quantised models differently, and are single steps of the
 * quantised type apart; ONNX Runtime computes half floats in f32 all the way, where the graph says to round after every op.
 */
const COARSE: Readonly<Record<string, number>> = { "kws-qdq": 0.02, "antispoof-int8": 0.02, "squeezenet-fp16": 5e-3 };

async function check(name: string, folder: string, threads: 1 | 2): Promise<void> {
  const { outputs, cases } = recorded(folder);
  const fixed = VALUES[name] ?? [];
  const values = Object.fromEntries(fixed.map((input) => [input, cases[0]!.inputs[input]!]));
  const bytes = readFileSync(join(folder, "model.onnx"));
  const { graph } = importModel(readOnnx(bytes), { values, maxUnknownSize: 256 });
  // Two threads take the best variant that the engine has.
  const variants = threads === 1 ? (["simd128"] as const) : (["simd128-threads", "relaxed-threads"] as const);
  const session = await load(await compile(graph, { variants }), { threads });
  try {
    for (const [k, { inputs, outputs: wanted }] of cases.entries()) {
      const feeds = Object.fromEntries(Object.entries(inputs).filter(([input]) => !fixed.includes(input)));
      const got = await session.run(feeds as never);
      for (const [output, want] of Object.entries(wanted)) {
        const stated = outputs.find((o) => o.name === output);
        const share = COARSE[name] ?? 1e-3;
        const how = { rtol: stated?.rtol ?? 1e-3, atol: stated?.atol ?? share * largest(want) };
        expect(compareTensors(got[output] as Tensor, want, how), `case ${k}, ${output}`).toBeUndefined();
      }
    }
  } finally {
    session.dispose();
  }
}

describe.skipIf(!hasExports)("PyTorch's exports", () => {
  const files = hasExports ? pytorchExports() : [];
  it.each(files)("$name", { timeout: 120_000 }, ({ name, folder }) => check(name, folder, 1));
  it.each(files)("$name on two threads", { timeout: 120_000 }, ({ name, folder }) => check(name, folder, 2));
});

describe.skipIf(!hasModels)("trained models", () => {
  const files = hasModels ? trainedModels() : [];
  it.each(files)("$name", { timeout: 300_000 }, ({ name, folder }) => check(name, folder, 1));
  it.each(files)("$name on two threads", { timeout: 300_000 }, ({ name, folder }) => check(name, folder, 2));
});
