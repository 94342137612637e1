import { readFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { graphNodes } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { printLoopModule } from "../../ir/loop-print.js";
import { openModule } from "../../runtime/container.js";
import { decrypted, moduleLabel } from "../../runtime/encryption.js";
import type { EntryInfo, Manifest, TensorInfo } from "../../runtime/format.js";
import { streamOf } from "../../runtime/stream.js";
import { type Artifact, compile } from "../compile.js";
import { factText } from "../late/facts.js";
import { coverage, type OpUse } from "../onnx/coverage.js";
import { readOnnx } from "../onnx/model.js";
import { planText } from "../plan/text.js";
import { toWat } from "../wasm/text.js";
import { modelError } from "../write.js";
import { type CompileFlags, compileOptions, integer, withCompileFlags } from "./compile.js";
import { onDisk } from "./download.js";
import { bytes, ms, table } from "./format.js";
import { type ImportFlags, withImportFlags } from "./import-flags.js";
import { type KeyFlags, keyOption, withKeyFlag } from "./key.js";
import { type LoadedModel, loadModel } from "./load-model.js";

const stages = ["summary", "import", "passes", "loop", "wat", "plan", "manifest"] as const;
type Stage = (typeof stages)[number];

type InspectFlags = CompileFlags &
  ImportFlags &
  KeyFlags & {
    stage: Stage;
    elide: number;
    coverage?: boolean;
    json?: boolean;
  };

/** Exits with 1 where an op is missing. */
async function inspectCoverage(given: string, json: boolean): Promise<void> {
  const path = await onDisk(given);
  const model = readOnnx(new Uint8Array(await readFile(path)), {
    path,
  });
  const uses = coverage(model);
  const missing = uses.filter((u) => u.problem);
  if (json) console.log(JSON.stringify(uses, null, 2));
  else {
    const line = (u: OpUse) => [
      `${u.domain === "" ? "" : `${u.domain}.`}${u.op}`,
      `opset ${u.opset ?? "?"}`,
      `${u.nodes.length} ×`,
      u.problem
        ? `${u.problem.reason}: ${u.nodes.slice(0, 3).join(", ")}${u.nodes.length > 3 ? " …" : ""} → ${u.problem.hint}`
        : "ok",
    ];
    console.log(table(uses.map(line)));
    console.log(
      missing.length === 0 ? "all ops are supported" : `${missing.length} of ${uses.length} ops are not supported`,
    );
  }
  if (missing.length > 0) process.exitCode = 1;
}

export function inspectCommand(): Command {
  return withKeyFlag(withCompileFlags(withImportFlags(new Command("inspect"))))
    .argument("<model>", "a model, or an artefact's .wasm")
    .addOption(new Option("--stage <stage>", "what to show").choices([...stages]).default("summary"))
    .option("--elide <n>", "cut constants of more elements in the text of graphs", integer, 16)
    .option("--coverage", "which ops of an ONNX file are supported, without compiling it")
    .option("--json", "the summary as JSON")
    .action(async (path: string, flags: InspectFlags) => {
      if (flags.coverage) return inspectCoverage(path, flags.json ?? false);
      if (path.endsWith(".wasm")) return inspectArtifact(path, flags);
      const model = await loadModel(path, flags);
      if (flags.stage === "import") {
        for (const g of Object.values(model.program.entries)) console.log(printGraph(g, { elide: flags.elide }));
        return;
      }
      await inspectModel(model, flags);
    });
}

async function inspectArtifact(given: string, flags: InspectFlags): Promise<void> {
  const path = await onDisk(given);
  const { stage, json = false } = flags;
  const { key } = await keyOption(path, flags);
  const stored = new Uint8Array(await readFile(path));
  const data = key ? await (await decrypted(streamOf(stored), key, moduleLabel, modelError)).rest() : stored;
  const { manifest } = await openModule(streamOf(data));
  if (stage === "wat") console.log(toWat(data));
  else if (stage === "manifest" || json) console.log(JSON.stringify(manifest, null, 2));
  else console.log(summary(manifest));
}

async function inspectModel(model: LoadedModel, flags: InspectFlags): Promise<void> {
  const optimized = new Map<string, string>();
  let entry = "";
  const artifact: Artifact = await compile(model.program, {
    ...compileOptions({ ...flags, variants: flags.variants ?? ["simd128"] }, model.name),
    onEntry: (name) => {
      entry = name;
    },
    onPass: ({ after }) => {
      if (flags.stage === "passes") optimized.set(entry, printGraph(after, { elide: flags.elide }));
    },
  });
  switch (flags.stage) {
    case "passes":
      for (const text of optimized.values()) console.log(text);
      return;
    case "loop":
      console.log(printLoopModule({ functions: artifact.assembled.functions }));
      return;
    case "wat":
      console.log(toWat(artifact.wasm[artifact.manifest.variants[0]!.id]!));
      return;
    case "plan":
      for (const p of artifact.assembled.plans) console.log(planText(p.schedule, p.arena));
      return;
    case "manifest":
      console.log(JSON.stringify(artifact.manifest, null, 2));
      return;
    default: {
      const entries = Object.entries(model.program.entries).map(([name, g]) => ({
        entry: name,
        nodes: graphNodes(g).length,
      }));
      const code = artifact.manifest.variants.map((v) => ({ variant: v.id, bytes: artifact.wasm[v.id]!.length }));
      if (flags.json) {
        console.log(
          JSON.stringify({
            entries,
            code,
            weights: artifact.manifest.weights.bytes,
            stages: artifact.stages,
            manifest: artifact.manifest,
          }),
        );
        return;
      }
      console.log(summary(artifact.manifest));
      console.log(
        table([
          ...entries.map((e) => [`graph ${e.entry}`, `${e.nodes} nodes`]),
          ...code.map((c) => [`code ${c.variant}`, bytes(c.bytes)]),
          ["kernels", String(artifact.assembled.functions.length)],
          ...Object.entries(artifact.stages).map(([stage, t]) => [stage, ms(t)]),
        ]),
      );
    }
  }
}

function signature(t: TensorInfo): string {
  return `${t.name}: ${t.dtype}[${t.shape.map((d) => (typeof d === "number" ? d : d.dim)).join(",")}]`;
}

function summary(m: Manifest): string {
  const entry = ([name, e]: [string, EntryInfo]): string[] => [
    `entry ${name}: ${e.steps.length} steps, ${e.maxBytes === null ? "memory grows with its dims" : `at most ${bytes(e.maxBytes)}`}`,
    ...e.dims.map((d) => `  dim ${d.name} in ${d.min}..${d.max ?? "∞"}`),
    ...e.inputs.map((t) => `  in  ${signature(t)}`),
    ...e.outputs.map((t) => `  out ${signature(t)}`),
  ];
  return [
    `${m.name}, made by ${m.producer}, format ${m.format}`,
    `variants: ${m.variants.map((v) => v.id).join(", ")}`,
    `weights: ${bytes(m.weights.bytes)}; state: ${m.state.length} tensors, ${bytes(m.memory.stateBytes)}`,
    ...Object.entries(m.entries).flatMap(entry),
    ...(m.specialization?.fixed ?? []).map((fact) => `fixed: ${factText(fact)}`),
  ].join("\n");
}
