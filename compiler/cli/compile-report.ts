/** What `wasmith compile` tells: how far it is, and what came of it. */

import { gzipSync } from "node:zlib";
import { type Graph, type GraphNode, graphNodes } from "../../ir/graph.js";
import type { VariantId } from "../../runtime/format.js";
import type { Artifact, CompileOptions } from "../compile.js";
import { defaultPipeline } from "../pipeline.js";
import { bytes, count, ms, table } from "./format.js";
import type { StatusLine } from "./status-line.js";

/** What passes did to an entry. */
interface EntryReport {
  readonly entry: string;
  /** Of the graph as it was given. */
  readonly ops: number;
  /** What a run does one after the other. */
  readonly steps: number;
  /** Largest memory of a run in bytes; null: it grows with sizes that are open. */
  readonly maxBytes: number | null;
}

export interface CompileReport {
  readonly name: string;
  readonly paths: readonly string[];
  readonly entries: readonly EntryReport[];
  readonly kernels: number;
  readonly variants: readonly { readonly id: VariantId; readonly bytes: number; readonly gzip: number }[];
  /** Bytes. */
  readonly weights: number;
  readonly state: number;
  /** By pass, how often each of its rules fired; for passes without rules, ops that it took away. */
  readonly passes: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly warnings: readonly string[];
  /** Milliseconds. */
  readonly stages: Readonly<Record<string, number>>;
}

/** What is computed, in bodies and branches too. */
const countOps = (g: Graph): number =>
  graphNodes(g).reduce((n, node) => n + (isOp(node) ? 1 : 0) + node.regions.reduce((m, r) => m + countOps(r), 0), 0);

const isOp = ({ op }: GraphNode): boolean => op !== "constant";

/** Listens to a compilation. */
export class CompileWatch {
  readonly #status: StatusLine;
  readonly #ops = new Map<string, number>();
  readonly #passes: Record<string, Record<string, number>> = {};
  readonly #warnings: string[] = [];
  #entry = "";

  constructor(status: StatusLine) {
    this.#status = status;
  }

  readonly options = {
    onEntry: (name, graph) => {
      this.#entry = name;
      this.#ops.set(name, countOps(graph));
    },
    onPass: ({ pass, index, before, after, changed, rules }) => {
      this.#status.show(`${this.#entry}: ${pass}, pass ${index + 1}/${defaultPipeline.length}`);
      if (!changed) return;
      const fired = this.#passes[pass] ?? {};
      this.#passes[pass] = fired;
      const fewer = graphNodes(before).filter(isOp).length - graphNodes(after).filter(isOp).length;
      const counted: Iterable<readonly [string, number]> = rules.size > 0 ? rules : [["nodes", fewer]];
      for (const [name, times] of counted) fired[name] = (fired[name] ?? 0) + times;
    },
    onStage: (stage) => this.#status.show(stage === "passes" ? "lowering to kernels" : "generating code"),
    onWarning: (text) => void this.#warnings.push(text),
  } satisfies CompileOptions;

  report(artifact: Artifact, paths: readonly string[]): CompileReport {
    const { manifest, wasm, stages } = artifact;
    const onnx = manifest.training?.onnx;
    const problems = onnx && "problems" in onnx ? [`exportOnnx of its sessions is refused: ${onnx.problems}`] : [];
    return {
      name: manifest.name,
      paths,
      entries: Object.entries(manifest.entries).map(([entry, { steps, maxBytes }]) => ({
        entry,
        ops: this.#ops.get(entry)!,
        steps: steps.length,
        maxBytes,
      })),
      kernels: new Set(Object.values(manifest.entries).flatMap((e) => e.steps.map((step) => step.kernel))).size,
      variants: manifest.variants.map(({ id }) => ({
        id,
        bytes: wasm[id]!.length,
        gzip: gzipSync(wasm[id]!).length,
      })),
      weights: manifest.weights.bytes,
      state: manifest.memory.stateBytes,
      passes: this.#passes,
      warnings: [...this.#warnings, ...problems],
      stages,
    };
  }
}

/** Passes whose work says something of the model to who wrote it, in the order in which they are told. */
const told: readonly (readonly [pass: string, what: string])[] = [
  ["recognize", "recognised"],
  ["tile-attention", "attention by blocks"],
  ["stream-weights", "products that read stored weights"],
  ["fold-scales", "scales and biases folded into weights"],
  ["fold-constants", "constants folded"],
  ["narrow-products", "products narrowed"],
  ["tabulate", "functions of bytes as tables"],
  ["fuse", "ops fused"],
];

export function reportText(r: CompileReport): string {
  const total = Object.values(r.stages).reduce((a, b) => a + b, 0);
  const rows = [
    ...r.entries.map((e) => [
      r.entries.length > 1 ? `entry ${e.entry}` : "graph",
      `${count(e.ops, "op")} in ${count(e.steps, "step")}`,
      e.maxBytes === null ? "memory grows with its sizes" : `at most ${bytes(e.maxBytes)} of memory`,
    ]),
    ...told.flatMap(([pass, what]) => {
      const fired = Object.entries(r.passes[pass] ?? {}).filter(([, times]) => times > 0);
      if (fired.length === 0) return [];
      const all = fired.reduce((n, [, times]) => n + times, 0);
      const names = fired
        .filter(([name]) => name !== "nodes" && name !== pass)
        .map(([name, times]) => `${name} ×${times}`);
      return [[what, String(all), pass === "recognize" ? names.join(", ") : ""]];
    }),
    ...r.variants.map((v) => [v.id, bytes(v.bytes), `${bytes(v.gzip)} gzipped`]),
    ["kernels", String(r.kernels), ""],
    ["weights", bytes(r.weights), r.state > 0 ? `${bytes(r.state)} of state` : ""],
    [
      "time",
      ms(total),
      Object.entries(r.stages)
        .map(([stage, t]) => `${stage} ${ms(t)}`)
        .join(", "),
    ],
  ];
  return table(rows, "left");
}
