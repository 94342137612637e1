/** `wasmith verify model.onnx --io io.safetensors`: recorded inputs and outputs against the compiled model. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Command } from "commander";
import { ModelError, type Problem } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import type { FixedFact } from "../../runtime/format.js";
import { load, type Session } from "../../runtime/index.js";
import { compile } from "../compile.js";
import { factText } from "../late/facts.js";
import { compareTensors, type Difference, describeDifference, largestOf } from "./compare.js";
import { type CompileFlags, compileOptions, positive, tolerance, withCompileFlags } from "./compile.js";
import { collectDim, type DimOption } from "./dim-flag.js";
import { type Divergence, describeDivergence, findDivergence } from "./divergence.js";
import { asStored, readTensors } from "./feeds.js";
import { withKeyFlag } from "./key.js";
import { type Bound, openRunner, type Runner, sessionOptions, type Tensors } from "./runner.js";
import { StatusLine } from "./status-line.js";

interface VerifyFlags extends CompileFlags {
  readonly io: string;
  readonly dim?: DimOption;
  readonly threads?: number;
  readonly rtol?: number;
  readonly atol?: number;
  readonly json?: boolean;
}

interface Case {
  readonly inputs: Tensors;
  readonly outputs: Tensors;
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

interface Meta {
  readonly outputs?: readonly { readonly name: string; readonly rtol?: number; readonly atol?: number }[];
  /** Of models with state: input → the output that is its next value, where the cases are steps of one stream. */
  readonly io?: { readonly state?: { readonly feedback?: Readonly<Record<string, string>> } };
}

/** What a meta.json beside the file states: tolerances by output, and state. */
async function statedBeside(io: string): Promise<Meta> {
  const path = join(dirname(io), "meta.json");
  return existsSync(path) ? (JSON.parse(await readFile(path, "utf8")) as Meta) : {};
}

async function probe(g: Graph, flags: VerifyFlags, skipPasses: readonly string[] = []): Promise<Session> {
  return load(await compile(g, { ...compileOptions(flags, "probe"), skipPasses }), sessionOptions(flags));
}

/** The error, with the case that it arose in. */
function inCase(error: unknown, k: number, io: string): unknown {
  // The runtime's errors are a class of their own.
  const { name, problems } = error as { readonly name?: string; readonly problems?: readonly Problem[] };
  if (name !== "ModelError" || !problems) return error;
  return new ModelError(
    problems.map((p) => ({ ...p, where: `${io}, case ${k}${p.where ? `, ${p.where}` : ""}` })),
    { cause: error },
  );
}

interface Failure {
  readonly case: number;
  /** The state came from our own run of the case before, not from the file. */
  readonly streamed?: true;
  readonly output: string;
  readonly problem: Difference | string;
}

/** Runs all cases; gives what differs, and what was run in the first case that does. */
async function runCases(
  runner: Runner,
  cases: readonly Case[],
  meta: Meta,
  flags: VerifyFlags,
): Promise<{
  readonly failures: readonly Failure[];
  readonly failing: Bound | undefined;
  readonly fixed: readonly FixedFact[];
}> {
  const fixed = new Map<string, FixedFact>();
  const failures: Failure[] = [];
  let failing: Bound | undefined;
  const check = async (k: number, tensors: Tensors, streamed: boolean): Promise<Tensors> => {
    const { outputs: got, bound } = await runner.run(tensors).catch((error: unknown) => {
      throw inCase(error, k, flags.io);
    });
    for (const fact of bound.fixed) fixed.set(factText(fact), fact);
    for (const [name, want] of Object.entries(cases[k]!.outputs)) {
      const stated = meta.outputs?.find((o) => o.name === name);
      const rtol = flags.rtol ?? stated?.rtol ?? 1e-3;
      const atol = flags.atol ?? stated?.atol ?? 1e-4 * Math.max(largestOf(want), 1e-3);
      const output = got[name];
      const problem = output
        ? compareTensors(output, asStored(want, output.dtype), rtol, atol)
        : `the model has no output "${name}"`;
      if (!problem) continue;
      failures.push({ case: k, ...(streamed ? { streamed } : {}), output: name, problem });
      failing ??= bound;
    }
    return got;
  };
  const feedback = Object.entries(meta.io?.state?.feedback ?? {});
  let before: Tensors = {};
  for (const [k, c] of cases.entries()) {
    let got = await check(k, c.inputs, false);
    const state = feedback.flatMap(([input, output]) => (before[output] ? [[input, before[output]]] : []));
    if (state.length > 0) got = await check(k, { ...c.inputs, ...Object.fromEntries(state) }, true);
    before = got;
  }
  return { failures, failing, fixed: [...fixed.values()] };
}

export function verifyCommand(): Command {
  return withKeyFlag(withCompileFlags(new Command("verify")))
    .argument("<model>", ".onnx, .graph, .js, .mjs or .ts file, or an artefact's .wasm")
    .requiredOption("--io <file>", "safetensors file with tensors named caseK.in.NAME and caseK.out.NAME")
    .option("--dim <name=value>", "size or range (lo..hi) of a dim of an ONNX file; repeatable", collectDim)
    .option("--rtol <x>", "relative tolerance (default: stated in meta.json beside the file, else 1e-3)", tolerance)
    .option("--atol <x>", "absolute tolerance (default: stated there, else 1e-4 of the largest value)", tolerance)
    .option("--threads <n>", "threads", positive)
    .option("--json", "report as JSON")
    .action(async (path: string, flags: VerifyFlags) => {
      const cases = casesOf(await readTensors(flags.io));
      if (cases.length === 0)
        throw new ModelError({ where: flags.io, message: "no tensor is named caseK.in.NAME or caseK.out.NAME" });
      const meta = await statedBeside(flags.io);
      const runner = await openRunner(path, flags, flags.dim);
      const { failures, failing, fixed } = await runCases(runner, cases, meta, flags);
      runner.dispose();
      if (!flags.json) {
        for (const fact of fixed) console.log(`compiled for: ${factText(fact)}`);
        for (const { case: k, streamed, output, problem } of failures)
          console.log(
            `case ${k}${streamed ? " with its own state" : ""}, output ${output}: ${describeDifference(problem)}`,
          );
      }
      const divergence = failing?.graph && (await explain(failing.graph, failing.feeds, flags));
      if (flags.json) console.log(JSON.stringify({ cases: cases.length, fixed, failures, divergence }, null, 2));
      else if (divergence) console.log(describeDivergence(divergence));
      else if (failures.length === 0) console.log(`${cases.length} cases agree`);
      if (failures.length > 0) process.exitCode = 1;
    });
}

/** Compares node by node with the evaluator, which takes its time. */
async function explain(main: Graph, feeds: Tensors, flags: VerifyFlags): Promise<Divergence> {
  const status = new StatusLine();
  try {
    return await findDivergence(
      main,
      feeds,
      (g, skip) => probe(g, flags, skip),
      (i, count) => status.show(`comparing with the reference evaluator: node ${i + 1}/${count}`),
    );
  } finally {
    status.clear();
  }
}
