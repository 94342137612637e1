/**
 * Models against the outputs recorded for them: one import and one artefact serve all sizes, on every variant, on one thread
 * and on two. Runs in processes that know relaxed SIMD (vitest.config.ts).
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import type { Graph } from "../../ir/graph.js";
import { element, type Tensor } from "../../ir/tensor.js";
import { load, type VariantId } from "../../runtime/index.js";
import { compareTensors, toTensor } from "./compare.js";
import { readSafetensors } from "./data.js";

type Tensors = Readonly<Record<string, Tensor>>;

interface Meta {
  /** Exports state an elementwise tolerance for each output: 30 times what f32 and f64 differ by in PyTorch. */
  readonly outputs: readonly { readonly name: string; readonly rtol?: number; readonly atol?: number }[];
  readonly io?: { readonly state?: { readonly feedback?: Readonly<Record<string, string>> } };
  /** Trained models state how much two builds of ONNX Runtime differ. */
  readonly onnxruntime?: { readonly web_vs_node_relative_l2: number; readonly web_vs_node_max_abs: number };
}

export interface Recorded {
  readonly meta: Meta;
  readonly cases: readonly { readonly inputs: Tensors; readonly outputs: Tensors }[];
}

export function recorded(folder: string): Recorded {
  const meta = JSON.parse(readFileSync(join(folder, "meta.json"), "utf8")) as Meta;
  const cases: { inputs: Record<string, Tensor>; outputs: Record<string, Tensor> }[] = [];
  for (const [key, tensor] of readSafetensors(join(folder, "io.safetensors")).tensors) {
    const [, k, side, name] = /^case(\d+)\.(in|out)\.(.+)$/.exec(key)!;
    cases[Number(k)] ??= { inputs: {}, outputs: {} };
    cases[Number(k)]![side === "in" ? "inputs" : "outputs"][name!] = toTensor(tensor);
  }
  return { meta, cases };
}

/** Input → the output of the step before that it takes: as meta.json says, or by the names of a key/value cache. */
function feedback({ meta, cases }: Recorded): Readonly<Record<string, string>> {
  const stated = meta.io?.state?.feedback;
  if (stated || !meta.io?.state) return stated ?? {};
  const outputs = Object.keys(cases[0]!.outputs);
  const pairs = Object.keys(cases[0]!.inputs).map((input) => [input, input.replace("past_key_values", "present")]);
  return Object.fromEntries(pairs.filter(([input, output]) => input !== output && outputs.includes(output!)));
}

function largest(t: Tensor): number {
  let most = 0;
  for (let i = 0; i < t.data.length; i++) most = Math.max(most, Math.abs(element(t, i)));
  return most;
}

function relativeL2(got: Tensor, want: Tensor): number {
  let square = 0;
  let norm = 0;
  for (let i = 0; i < want.data.length; i++) {
    square += (element(got, i) - element(want, i)) ** 2;
    norm += element(want, i) ** 2;
  }
  return Math.sqrt(square / (norm || 1));
}

/** Tolerances of trained models whose recorded outputs were computed with other roundings than the file says. */
const OTHER_ROUNDINGS: Readonly<Record<string, { readonly atol: number; readonly l2: number; readonly why: string }>> =
  {
    "kws-qdq": {
      atol: 2.01 / 255,
      l2: 1e-2,
      why: "ONNX Runtime runs the graph as QLinear ops, with one rounding where the graph has three; its results are up to two steps of the output's type (1/255) from the f64 evaluation of the graph, ours one",
    },
    "antispoof-int8": {
      atol: 0.02,
      l2: 0.1,
      why: "it quantises anew before each of its 57 products, so the last bit of a sigmoid decides about whole steps: where an input is moved by an ulp, ONNX Runtime's own answers move by 0.011",
    },
    "squeezenet-fp16": {
      atol: 2e-3,
      l2: 5e-3,
      why: "ONNX Runtime keeps f32 between the nodes of a graph in f16; rounding after every node, as written, is 7.4e-3 from that, and we, who round what is stored, 2.2e-3",
    },
  };

/** What is wrong with an output, if anything. */
function wrongOutput(model: string, output: string, got: Tensor, want: Tensor, meta: Meta): string | undefined {
  const stated = meta.outputs.find((o) => o.name === output);
  if (!meta.onnxruntime) {
    const { rtol = 1e-4, atol = 1e-5 * Math.max(1, largest(want)) } = stated ?? {};
    return compareTensors(got, want, { rtol, atol });
  }
  // As near to the recorded outputs as 3 times what ONNX Runtime's own builds differ by. At least 5e-5: where they share an
  // approximation (the logistic function) they agree exactly, and are 3e-5 from the function.
  const { web_vs_node_relative_l2: l2, web_vs_node_max_abs: max } = meta.onnxruntime;
  const other = OTHER_ROUNDINGS[model];
  const atol = other?.atol ?? 10 * max + 5e-5 * largest(want);
  const wrong = compareTensors(got, want, { rtol: 0, atol });
  if (wrong) return wrong;
  const distance = relativeL2(got, want);
  const allowed = other?.l2 ?? Math.max(3 * l2, 5e-5);
  return distance <= allowed ? undefined : `relative L2 distance ${distance}, ${allowed} is allowed`;
}

/** A variant, and a number of threads. */
type Configuration = readonly [VariantId, number];

export const CONFIGURATIONS: readonly Configuration[] = [
  ["simd128", 1],
  ["simd128-threads", 1],
  ["simd128-threads", 2],
  ["relaxed", 1],
  ["relaxed-threads", 1],
  ["relaxed-threads", 2],
];

interface Check {
  /** By default all variants. */
  readonly configurations?: readonly Configuration[];
  /** What to do with the imported graph first. */
  readonly prepare?: (graph: Graph) => Graph;
}

/** Imports, compiles and runs a model; gives what is wrong, by configuration, case and output. */
export async function checkRecorded(
  name: string,
  folder: string,
  { configurations = CONFIGURATIONS, prepare = (g) => g }: Check = {},
): Promise<readonly string[]> {
  const data = recorded(folder);
  const chained = feedback(data);
  const graph = prepare(importOnnx(readFileSync(join(folder, "model.onnx"))));
  const artifact = await compile(graph, { variants: [...new Set(configurations.map(([id]) => id))] });
  const problems: string[] = [];
  for (const [id, threads] of configurations) {
    const session = await load(artifact, { variant: id, threads });
    const where = `${id}, ${threads} thread(s)`;
    if (session.report.threads !== threads) problems.push(`${where}: ran on ${session.report.threads} thread(s)`);
    try {
      let before: Tensors = {};
      for (const [k, { inputs, outputs }] of data.cases.entries()) {
        const check = (what: string, got: Tensors) => {
          for (const [output, want] of Object.entries(outputs)) {
            const wrong = wrongOutput(name, output, got[output]!, want, data.meta);
            if (wrong) problems.push(`${where}: ${what} ${k}, ${output}: ${wrong}`);
          }
        };
        const run = async (feeds: Tensors) => (await session.run(feeds as never)) as Tensors;
        const got = await run(inputs);
        check("case", got);
        // The stream as a user runs it: each step takes the state that our own step before gave.
        const state = Object.entries(chained).map(([input, output]) => [input, before[output]]);
        const streamed = k > 0 && state.length > 0 ? await run({ ...inputs, ...Object.fromEntries(state) }) : got;
        check("step", streamed);
        before = streamed;
      }
    } finally {
      session.dispose();
    }
  }
  return problems;
}
