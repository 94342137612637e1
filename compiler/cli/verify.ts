/** `wasmith verify model.onnx --io io.safetensors`: recorded inputs and outputs against the compiled model. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Command } from "commander";
import { ModelError } from "../../ir/errors.js";
import { type Graph, graph, graphNodes, type Value } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import { element, type Tensor } from "../../ir/tensor.js";
import { load, type Session } from "../../runtime/index.js";
import { compile } from "../compile.js";
import { type CompileFlags, compileOptions, positive, withCompileFlags } from "./compile.js";
import { readTensors } from "./feeds.js";
import { collectDim, type DimOption, loadModel } from "./load-model.js";

interface VerifyFlags extends CompileFlags {
  readonly io: string;
  readonly dim?: DimOption;
  readonly threads?: number;
  readonly rtol?: number;
  readonly atol?: number;
  readonly json?: boolean;
}

interface Case {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly outputs: Readonly<Record<string, Tensor>>;
}

/** Tensors named `caseK.in.NAME` and `caseK.out.NAME`; without such names, `in.NAME` and `out.NAME`. */
function casesOf(tensors: Readonly<Record<string, Tensor>>): readonly Case[] {
  const cases = new Map<string, { inputs: Record<string, Tensor>; outputs: Record<string, Tensor> }>();
  for (const [key, tensor] of Object.entries(tensors)) {
    const match = /^(?:case(\d+)\.)?(in|out)\.(.+)$/.exec(key);
    if (!match) continue;
    const id = match[1] ?? "0";
    const own = cases.get(id) ?? { inputs: {}, outputs: {} };
    cases.set(id, own);
    own[match[2] === "in" ? "inputs" : "outputs"][match[3]!] = tensor;
  }
  return [...cases].sort(([a], [b]) => Number(a) - Number(b)).map(([, c]) => c);
}

export interface Difference {
  readonly count: number;
  readonly total: number;
  /** Largest |got − want|. */
  readonly largest: number;
  /** Relative L2 distance. */
  readonly relative: number;
  readonly at: number;
  readonly got: number;
  readonly want: number;
}

/** How two tensors differ beyond atol + rtol · |want|; undefined if they don't. */
export function compareTensors(got: Tensor, want: Tensor, rtol: number, atol: number): Difference | string | undefined {
  if (got.dtype !== want.dtype) return `expected ${want.dtype}, got ${got.dtype}`;
  if (got.shape.length !== want.shape.length || got.shape.some((d, i) => d !== want.shape[i]))
    return `expected shape [${want.shape}], got [${got.shape}]`;
  let [count, largest, square, norm] = [0, 0, 0, 0];
  let first: { at: number; got: number; want: number } | undefined;
  for (let i = 0; i < want.data.length; i++) {
    const [a, b] = [element(got, i), element(want, i)];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) {
      norm += b * b || 0;
      continue;
    }
    const distance = Math.abs(a - b);
    if (!(distance <= largest)) largest = distance;
    square += distance * distance;
    norm += b * b;
    if (distance <= atol + rtol * Math.abs(b)) continue;
    count++;
    first ??= { at: i, got: a, want: b };
  }
  if (!first) return undefined;
  return { count, total: want.data.length, largest, relative: Math.sqrt(square / (norm || 1)), ...first };
}

export const describeDifference = (d: Difference | string): string =>
  typeof d === "string"
    ? d
    : `${d.count} of ${d.total} elements differ: element ${d.at} is ${d.got}, expected ${d.want}; ` +
      `largest difference ${d.largest.toExponential(2)}, relative L2 ${d.relative.toExponential(2)}`;

/** Tolerances stated in a meta.json beside the file, by output. */
async function statedTolerances(io: string): Promise<ReadonlyMap<string, { rtol?: number; atol?: number }>> {
  const path = join(dirname(io), "meta.json");
  if (!existsSync(path)) return new Map();
  const meta = JSON.parse(await readFile(path, "utf8")) as {
    outputs?: { name: string; rtol?: number; atol?: number }[];
  };
  return new Map((meta.outputs ?? []).map((o) => [o.name, o]));
}

function largestOf(t: Tensor): number {
  let most = 0;
  for (let i = 0; i < t.data.length; i++) {
    const v = Math.abs(element(t, i));
    if (v > most && Number.isFinite(v)) most = v;
  }
  return most;
}

/** The last value of each named place (layer, ONNX node), in the order of computation. */
function namedValues(g: Graph): readonly { readonly loc: string; readonly value: Value }[] {
  const last = new Map<string, Value>();
  for (const node of graphNodes(g)) {
    if (node.loc === undefined || node.operands.length === 0) continue;
    last.delete(node.loc);
    last.set(node.loc, node.results[0]!);
  }
  return [...last].map(([loc, value]) => ({ loc, value }));
}

/** Compiles the graph with every named value as a result, and names the first that differs from the reference evaluator. */
async function firstDivergence(g: Graph, feeds: Readonly<Record<string, Tensor>>, flags: VerifyFlags): Promise<string> {
  const places = namedValues(g);
  const names = places.map((_, i) => `place${i}`);
  const probe = graph(
    `${g.name}_probe`,
    g.params,
    places.map((p) => p.value),
    names,
    undefined,
    g.sizes ?? [],
  );
  const session = await open(probe, flags, "probe");
  const got = await session.run(feeds as never);
  session.dispose();
  const want = evaluate(probe, feeds);
  for (const [i, { loc, value }] of places.entries()) {
    const wrong = compareTensors(got[names[i]!] as Tensor, want[i]!, 1e-3, 1e-4 * Math.max(largestOf(want[i]!), 1e-3));
    if (wrong)
      return `first node that differs from the reference evaluator: ${loc} (${value.def.op}): ${describeDifference(wrong)}`;
  }
  return "every node agrees with the reference evaluator: the import (or the recording) is at fault, not the compilation";
}

async function open(g: Graph, flags: VerifyFlags, name: string): Promise<Session> {
  const options = { threads: flags.threads ?? 1, ...(flags.deterministic ? { deterministic: true } : {}) };
  return load(await compile(g, compileOptions(flags, name)), options);
}

export function verifyCommand(): Command {
  return withCompileFlags(new Command("verify"))
    .description("compare a model's outputs with recorded ones, and find the first node that diverges")
    .argument("<model>", ".onnx, .graph, .js, .mjs or .ts file")
    .requiredOption("--io <file>", "safetensors file with tensors named caseK.in.NAME and caseK.out.NAME")
    .option("--dim <name=value>", "size or range (lo..hi) of a dim of an ONNX file; repeatable", collectDim)
    .option("--rtol <x>", "relative tolerance (default: stated in meta.json beside the file, else 1e-3)", Number)
    .option("--atol <x>", "absolute tolerance (default: stated there, else 1e-4 of the largest value)", Number)
    .option("--threads <n>", "threads", positive)
    .option("--json", "report as JSON")
    .action(async (path: string, flags: VerifyFlags) => {
      const model = await loadModel(path, flags.dim);
      const main = model.program.entries.main;
      if (!main) throw new ModelError({ where: path, message: "the program has no entry main" });
      const cases = casesOf(await readTensors(flags.io));
      if (cases.length === 0)
        throw new ModelError({ where: flags.io, message: "no tensor is named caseK.in.NAME or caseK.out.NAME" });
      const stated = await statedTolerances(flags.io);
      const session = await open(main, flags, model.name);
      const report: { case: number; output: string; problem: Difference | string }[] = [];
      let failing: Case | undefined;
      for (const [k, c] of cases.entries()) {
        const feeds = Object.fromEntries(
          session.inputs.map(({ name }) => {
            const t = c.inputs[name];
            if (!t) throw new ModelError({ where: flags.io, message: `case ${k} has no input "${name}"` });
            return [name, t];
          }),
        );
        const outputs = await session.run(feeds as never);
        for (const [name, want] of Object.entries(c.outputs)) {
          const got = outputs[name] as Tensor | undefined;
          const rtol = flags.rtol ?? stated.get(name)?.rtol ?? 1e-3;
          const atol = flags.atol ?? stated.get(name)?.atol ?? 1e-4 * Math.max(largestOf(want), 1e-3);
          const problem = got ? compareTensors(got, want, rtol, atol) : `the model has no output "${name}"`;
          if (!problem) continue;
          report.push({ case: k, output: name, problem });
          failing ??= c;
        }
      }
      session.dispose();
      if (flags.json) console.log(JSON.stringify({ cases: cases.length, failures: report }, null, 2));
      else for (const r of report) console.log(`case ${r.case}, output ${r.output}: ${describeDifference(r.problem)}`);
      if (failing) {
        if (!flags.json) console.log(await firstDivergence(main, failing.inputs, flags));
        process.exitCode = 1;
      } else if (!flags.json) console.log(`${cases.length} cases agree`);
    });
}
