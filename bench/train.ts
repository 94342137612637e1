/**
 * Training steps in wasmith and in its peers: `npx tsx bench/train.ts [options] [filter …]`, after `npm run build`.
 *
 * Each engine, model and batch runs in a fresh process on one thread, engines in turn and several rounds; wasmith runs from
 * the compiled artefact. A figure is the processor time of a step, which neighbours on the machine disturb less than the time
 * of day: the least over all repetitions, and the least of the rounds' medians. PyTorch is taken where TORCH_PYTHON (default
 * python3) has it.
 */

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Command } from "commander";
import { compile } from "../compiler/compile.js";
import { trainCases } from "./train-cases.js";

const run = promisify(execFile);
const here = fileURLToPath(new URL(".", import.meta.url));
const python = process.env.TORCH_PYTHON ?? "python3";

interface Options {
  readonly rounds: number;
  readonly ms: number;
  readonly relaxed?: boolean;
  readonly torch: boolean;
  readonly profile?: boolean;
  readonly json?: string;
}

/** Milliseconds of a step. */
interface Measured {
  readonly least: number;
  readonly median: number;
  readonly steps: number;
  readonly engine: string;
  readonly profile?: readonly { readonly name: string; readonly kernel: string; readonly ms: number }[];
}

const command = new Command("train")
  .argument("[filter...]", "models whose names (model-batch) contain one of these")
  .option("--rounds <n>", "processes of each engine and model", Number, 3)
  .option("--ms <n>", "milliseconds that each is timed for", Number, 1500)
  .option("--relaxed", "also wasmith with relaxed SIMD")
  .option("--no-torch", "leave PyTorch out")
  .option("--profile", "where wasmith's time goes, instead of peers")
  .option("--json <file>", "write all figures")
  .parse();
const options = command.opts<Options>();

/** Numbers that a single-threaded BLAS takes its threads from; settings for other machines are left out. */
const { OPENBLAS_CORETYPE: _core, OPENBLAS_L2_SIZE: _l2, ...environment } = process.env;
const env = { ...environment, OMP_NUM_THREADS: "1", OPENBLAS_NUM_THREADS: "1", MKL_NUM_THREADS: "1" };

async function child(file: string, ...args: readonly string[]): Promise<Measured> {
  const { stdout } = await run(file, args, { maxBuffer: 2 ** 26, timeout: 600_000, env });
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Measured;
}

async function hasTorch(): Promise<boolean> {
  return run(python, ["-c", "import torch"], { env }).then(
    () => true,
    () => false,
  );
}

const torch = options.torch && !options.profile && (await hasTorch());
const scratch = mkdtempSync(join(tmpdir(), "wasmith-train-"));
const fixed = (x: number) => x.toFixed(x < 1 ? 3 : x < 100 ? 2 : 1).padStart(9);
const names = ["wasmith", ...(options.relaxed ? ["relaxed"] : []), ...(torch ? ["torch"] : [])];
const found: Record<string, Record<string, readonly Measured[]>> = {};
console.log(
  `${"step, processor ms".padEnd(18)}${names.map((n) => `${n.padStart(9)}   median`).join("")}   least  median`,
);
try {
  for (const { model, batches, fields, program } of trainCases) {
    const runs = batches.map((batch) => ({ batch, name: `${model}-${batch}` }));
    const wanted = runs.filter(({ name }) => command.args.length === 0 || command.args.some((f) => name.includes(f)));
    if (wanted.length === 0) continue;
    const artifact = await compile(program(), { variants: options.relaxed ? ["simd128", "relaxed"] : ["simd128"] });
    await artifact.write(join(scratch, model));
    const path = join(scratch, model, "model.wasm");
    for (const { batch, name } of wanted) {
      const batchSpec = JSON.stringify(fields(batch));
      const js = (...flags: readonly string[]) =>
        child(
          process.execPath,
          ...flags,
          join(here, "peers/train-wasmith.mjs"),
          path,
          batchSpec,
          String(options.ms),
          options.profile ? "profile" : "",
        );
      const engines: Readonly<Record<string, () => Promise<Measured>>> = {
        wasmith: () => js(),
        ...(options.relaxed && { relaxed: () => js("--experimental-wasm-relaxed-simd") }),
        ...(torch && {
          torch: () => child(python, join(here, "peers/train-torch.py"), model, batchSpec, String(options.ms)),
        }),
      };
      const figures: Record<string, Measured[]> = Object.fromEntries(names.map((n) => [n, []]));
      for (let round = 0; round < options.rounds; round++)
        for (const [engine, measure] of Object.entries(engines)) figures[engine]!.push(await measure());
      found[name] = figures;
      const best = (engine: string, key: "least" | "median") => Math.min(...figures[engine]!.map((m) => m[key]));
      const ratio = (key: "least" | "median") =>
        torch ? `${(best("torch", key) / best("wasmith", key)).toFixed(2)}×`.padStart(8) : "";
      const cells = names.map((n) => fixed(best(n, "least")) + fixed(best(n, "median"))).join("");
      console.log(`${name.padEnd(18)}${cells}${ratio("least")}${ratio("median")}`);
      for (const { name: step, kernel, ms } of figures.wasmith![0]!.profile ?? [])
        console.log(`    ${fixed(ms)}  ${kernel.padEnd(60)} ${step}`);
    }
  }
} finally {
  rmSync(scratch, { recursive: true });
}
for (const engine of new Set(
  Object.values(found).flatMap((f) =>
    Object.values(f)
      .flat()
      .map((m) => m.engine),
  ),
))
  console.log(engine);
if (options.json) writeFileSync(options.json, JSON.stringify(found, null, 1));
