/** PyTorch's exports and trained models: the cases recorded with them, and how close outputs must come. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { compile } from "../../compiler/compile.js";
import { type ImportOptions, importModel } from "../../compiler/onnx/import.js";
import { readOnnx } from "../../compiler/onnx/model.js";
import type { Graph } from "../../ir/graph.js";
import { element, type Tensor } from "../../ir/tensor.js";
import { load, type VariantId } from "../../runtime/index.js";
import { compareTensors, toTensor } from "./compare.js";
import { readSafetensors } from "./data.js";

interface Stated {
  readonly name: string;
  readonly rtol?: number;
  readonly atol?: number;
}

export interface RecordedCase {
  readonly inputs: Record<string, Tensor>;
  readonly outputs: Record<string, Tensor>;
}

export interface Recorded {
  readonly outputs: readonly Stated[];
  readonly cases: readonly RecordedCase[];
}

export function recorded(folder: string): Recorded {
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

/** What the import of a model needs to be told. */
export function importOptions(name: string, { cases }: Recorded): ImportOptions {
  const values = Object.fromEntries((VALUES[name] ?? []).map((input) => [input, cases[0]!.inputs[input]!]));
  return { values, maxUnknownSize: 256 };
}

export function importRecorded(name: string, folder: string, data: Recorded): Graph {
  return importModel(readOnnx(readFileSync(join(folder, "model.onnx"))), importOptions(name, data)).graph;
}

/** What is wrong with the outputs of a case, or undefined. */
export function outputsWrong(
  name: string,
  { outputs }: Recorded,
  wanted: Record<string, Tensor>,
  got: Readonly<Record<string, Tensor>>,
): string | undefined {
  for (const [output, want] of Object.entries(wanted)) {
    const stated = outputs.find((o) => o.name === output);
    const share = COARSE[name] ?? 1e-3;
    const how = { rtol: stated?.rtol ?? 1e-3, atol: stated?.atol ?? share * largest(want) };
    const wrong = compareTensors(got[output]!, want, how);
    if (wrong !== undefined) return `${output}: ${wrong}`;
  }
  return undefined;
}

/** Inputs of a case that the imported graph still has. */
export const feedsOf = (name: string, { inputs }: RecordedCase): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(inputs).filter(([input]) => !VALUES[name]?.includes(input)));

/** Compiles the graph and runs all cases. One import serves all sizes. */
export async function runRecorded(
  name: string,
  graph: Graph,
  data: Recorded,
  { variants, threads }: { readonly variants: readonly VariantId[]; readonly threads: number },
): Promise<void> {
  const session = await load(await compile(graph, { variants }), { threads });
  try {
    for (const [k, one] of data.cases.entries()) {
      const got = await session.run(feedsOf(name, one) as never);
      expect(outputsWrong(name, data, one.outputs, got as Record<string, Tensor>), `case ${k}`).toBeUndefined();
    }
  } finally {
    session.dispose();
  }
}
