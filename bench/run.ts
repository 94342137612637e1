/**
 * wasmith against other engines: `npm run bench -- [options] [filter …]`.
 *
 * Needs `npm run build` and `npm ci --prefix bench --ignore-scripts`. Models are built by bench/models, or with `--recorded` are trained models
 * and PyTorch's exports (WASMITH_DATA, by default ../shared). Every engine runs in a process of its own, engines in turn and in rounds; loading and
 * first answers are measured in further processes. Answers are compared with those of onnxruntime's native build.
 */

import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Command } from "commander";
import { chromiumEngines } from "./chromium.js";
import { type Engine, nodeEngines, type Sources, Unsupported } from "./engines.js";
import { isStale, modelFiles } from "./models/cache.js";
import { benchModels } from "./models/index.js";
import { page } from "./report-html.js";
import { heading, line, problems, summary } from "./report-text.js";
import { type Measured, machine, merged, type Results, type Row } from "./results.js";

const run = promisify(execFile);
const here = fileURLToPath(new URL(".", import.meta.url));

interface Options {
  readonly rounds: number;
  readonly ms: number;
  readonly warmUp: number;
  readonly threads: number;
  readonly engines?: string;
  readonly group?: string;
  readonly exact?: boolean;
  readonly recorded?: boolean;
  readonly start: boolean;
  readonly json?: string;
  readonly append?: boolean;
  readonly html?: string;
}

const command = new Command("bench")
  .argument("[filter...]", "models whose names contain one of these")
  .option("--engines <list>", "engines or hosts, such as wasmith@node,ort-web,chromium (default: all that are there)")
  .option("--group <name>", "models, quantized, stacks or kernels only")
  .option("--exact", "models whose names are one of the filters")
  .option("--recorded", "measure the recorded models instead of those that bench/models builds")
  .option("--rounds <n>", "processes of each engine and model", Number, 3)
  .option("--ms <n>", "milliseconds that each is timed for", Number, 1000)
  .option("--warm-up <ms>", "milliseconds that each runs before it is timed", Number, 5000)
  .option("--threads <n>", "threads of each engine", Number, 1)
  .option("--no-start", "do not measure loading and first answers")
  .option("--json <file>", "write all figures")
  .option("--html <file>", "write a page of bars")
  .option("--append", "add to the figures in the file, replacing those of the same models and engines")
  .parse();
const options = command.opts<Options>();

interface Measurable extends Pick<Row, "group" | "tolerance"> {
  readonly name: string;
  readonly cache?: number;
  readonly files: () => Promise<{ readonly model: string; readonly io: string }>;
}

function recordedModels(): readonly Measurable[] {
  const data = resolve(process.env.WASMITH_DATA ?? join(here, "../../shared"));
  return ["models", "reference/onnx"].flatMap((kind) =>
    readdirSync(join(data, kind))
      .sort()
      .filter((name) => existsSync(join(data, kind, name, "model.onnx")))
      .map((name) => {
        const [model, io] = ["model.onnx", "io.safetensors"].map((file) => join(data, kind, name, file));
        // Builds of onnxruntime differ by up to 6e-4, of 8-bit models by steps of their last layers.
        return { name, group: "recorded", tolerance: 0.05, files: async () => ({ model: model!, io: io! }) };
      }),
  );
}

function builtModels(): readonly Measurable[] {
  const stale = benchModels.filter(isStale);
  if (stale.length > 0)
    console.error(`${stale.length} models were built by other sources: npx tsx bench/build-models.ts --fresh`);
  return benchModels.map((model) => ({ ...model, files: () => modelFiles(model) }));
}

const chosen = (options.recorded ? recordedModels() : builtModels())
  .filter(
    ({ name }) =>
      command.args.length === 0 || command.args.some((f) => (options.exact ? name === f : name.includes(f))),
  )
  .filter(({ group }) => options.group === undefined || options.group === group);

const wanted = options.engines?.split(",");
const listed = [...nodeEngines(), ...chromiumEngines()].filter(
  ({ id }) => wanted?.some((w) => id === w || id.split("@").includes(w)) ?? true,
);
const available = listed.filter(({ id, obstacle }) => {
  if (obstacle !== undefined) console.error(`without ${id}: ${obstacle}`);
  return obstacle === undefined;
});
const ids = available.map(({ id }) => id);

interface Compiled {
  readonly importMs: number;
  readonly compileMs: number;
  readonly wasmBytes: number;
}

/** Writes the artefact, or says why there is none. */
async function compiled(onnx: string, out: string, cache?: number): Promise<Compiled | string> {
  const kept = cache === undefined ? [] : [String(cache)];
  try {
    const { stdout } = await run(process.execPath, [join(here, "compile-one.mjs"), onnx, "all", out, ...kept], {
      maxBuffer: 2 ** 26,
      timeout: 600_000,
    });
    return JSON.parse(stdout) as Compiled;
  } catch (error) {
    return reason(error);
  }
}

const weightsBytes = (folder: string): number => {
  const file = readdirSync(folder).find((name) => name.endsWith(".weights"));
  return file === undefined ? 0 : statSync(join(folder, file)).size;
};

const reason = (error: unknown): string => {
  const text = (error as { stderr?: string }).stderr || String(error);
  return text.match(/^\w*Error.*$/m)?.[0] ?? text.trim().split("\n").at(-1)!;
};

/** One engine once: its speed, and its start where asked for. */
async function once(engine: Engine, sources: Sources, sum: Measured): Promise<Measured> {
  const job = { threads: options.threads, warmUpMs: options.warmUp, ms: options.ms };
  if (sum.failed !== undefined || sum.unsupported !== undefined) return sum;
  try {
    const start = options.start ? [await engine.measure(sources, { ...job, what: "start" })] : [];
    const speed = await engine.measure(sources, { ...job, what: "speed" });
    return { speed: [...sum.speed, speed], start: [...sum.start, ...start] };
  } catch (error) {
    return error instanceof Unsupported ? { ...sum, unsupported: error.message } : { ...sum, failed: reason(error) };
  }
}

async function measured({ name, group, tolerance, cache, files }: Measurable, scratch: string): Promise<Row> {
  const { model, io } = await files();
  const out = join(scratch, name);
  const made = await compiled(model, out, cache);
  const sources: Sources = { onnx: model, artifact: join(out, "model.wasm"), io };
  const nothing: Measured = { speed: [], start: [] };
  const uncompiled = typeof made === "string" ? { ...nothing, failed: made } : nothing;
  const found = new Map(available.map(({ id }) => [id, id.startsWith("wasmith@") ? uncompiled : nothing]));
  for (let round = 0; round < options.rounds; round++)
    for (const engine of available) found.set(engine.id, await once(engine, sources, found.get(engine.id)!));
  const onnxBytes = statSync(model).size;
  const sizes =
    typeof made === "string"
      ? { compileMs: 0, bytes: { onnx: onnxBytes, weights: 0, code: 0 } }
      : {
          compileMs: made.importMs + made.compileMs,
          bytes: { onnx: onnxBytes, weights: weightsBytes(out), code: made.wasmBytes },
        };
  rmSync(out, { recursive: true, force: true });
  const { threads } = options;
  return { model: name, group, threads, tolerance, ...sizes, engines: Object.fromEntries(found) };
}

const today = new Date().toISOString().slice(0, 10);
const results = (rows: readonly Row[]): Results => ({
  machine: machine(),
  versions: Object.assign({}, ...available.map(({ versions }) => versions)),
  settings: { warmUpMs: options.warmUp, ms: options.ms, rounds: options.rounds },
  measured: [today, today],
  rows,
});
const { json } = options;
const earlier =
  options.append && json !== undefined && existsSync(json)
    ? (JSON.parse(readFileSync(json, "utf8")) as Results)
    : undefined;
const all = (rows: readonly Row[]): Results => (earlier ? merged(earlier, results(rows)) : results(rows));

const scratch = mkdtempSync(join(tmpdir(), "wasmith-bench-"));
const rows: Row[] = [];
console.log(heading(ids));
for (const model of chosen) {
  const row = await measured(model, scratch);
  rows.push(row);
  console.log(line(row, ids));
  // A run of hours that is cut short leaves what it has.
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(all(rows), null, 1)}\n`);
}
rmSync(scratch, { recursive: true });

console.log(`\n${summary(all(rows))}`);
if (options.html !== undefined) writeFileSync(options.html, page(all(rows)));
const wrong = problems(rows);
for (const problem of wrong) console.error(problem);
process.exitCode = wrong.length > 0 ? 1 : 0;
