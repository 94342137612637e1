/**
 * Trained models and PyTorch's exports in wasmith and in onnxruntime-web: `npx tsx bench/onnx.ts [options] [filter …]`.
 *
 * Needs `npm run build`, `npm ci --prefix bench --ignore-scripts` and the data (WASMITH_DATA, by default ../shared). Every model
 * runs on every engine in a process of its own, one thread, engines in turn and several rounds; the answers to all recorded
 * cases are checked. A row quotes the round with the best median of each engine, since other processes only ever slow one down.
 */

import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Command } from "commander";

const run = promisify(execFile);
const here = fileURLToPath(new URL(".", import.meta.url));
const data = resolve(process.env.WASMITH_DATA ?? join(here, "../../shared"));

interface Options {
  readonly rounds: number;
  readonly ms: number;
  readonly native?: boolean;
  readonly relaxed?: boolean;
  readonly json?: string;
}

interface Compiled {
  readonly importMs: number;
  readonly compileMs: number;
}

interface Measured {
  readonly loaded: number;
  readonly answered: number;
  readonly min: number;
  readonly median: number;
  readonly error: number;
  readonly rss: number;
}

interface Row {
  readonly model: string;
  readonly compiled: Compiled;
  readonly engines: Readonly<Record<string, readonly Measured[]>>;
}

const command = new Command("onnx")
  .argument("[filter...]", "models whose names contain one of these")
  .option("--rounds <n>", "processes of each engine and model", Number, 3)
  .option("--ms <n>", "milliseconds that each is timed for", Number, 1000)
  .option("--native", "also onnxruntime's native build")
  .option("--relaxed", "also wasmith with relaxed SIMD")
  .option("--json <file>", "write all figures")
  .parse();
const options = command.opts<Options>();

const models = ["models", "reference/onnx"]
  .flatMap((folder) =>
    readdirSync(join(data, folder))
      .sort()
      .map((name) => ({ name, folder: join(data, folder, name) })),
  )
  .filter(({ folder }) => existsSync(join(folder, "model.onnx")))
  .filter(({ name }) => command.args.length === 0 || command.args.some((f) => name.includes(f)));

async function child<T>(flags: readonly string[], script: string, ...args: readonly string[]): Promise<T> {
  const { stdout } = await run(process.execPath, [...flags, join(here, "peers", script), ...args], {
    maxBuffer: 2 ** 26,
    timeout: 600_000,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as T;
}

async function measureModel(name: string, folder: string, scratch: string): Promise<Row> {
  const model = join(folder, "model.onnx");
  const io = join(folder, "io.safetensors");
  const out = join(scratch, name);
  const variants = options.relaxed ? "simd128,relaxed" : "simd128";
  const compiled = await child<Compiled>([], "../compile-one.mjs", model, variants, out);
  const artifact = join(out, "model.wasm");
  const engines: Readonly<Record<string, () => Promise<Measured>>> = {
    wasmith: () => child([], "wasmith.mjs", artifact, io, String(options.ms)),
    ...(options.relaxed && {
      relaxed: () => child(["--experimental-wasm-relaxed-simd"], "wasmith.mjs", artifact, io, String(options.ms)),
    }),
    ort: () => child([], "onnxruntime-web.mjs", model, io, String(options.ms)),
    ...(options.native && { native: () => child([], "onnxruntime-node.mjs", model, io, String(options.ms)) }),
  };
  const found: Record<string, Measured[]> = {};
  for (let round = 0; round < options.rounds; round++) {
    for (const [engine, measure] of Object.entries(engines)) {
      found[engine] = [...(found[engine] ?? []), await measure()];
    }
  }
  rmSync(out, { recursive: true });
  return { model: name, compiled, engines: found };
}

const best = (rows: readonly Measured[], key: "median" | "min" | "answered") => Math.min(...rows.map((r) => r[key]));
const ratio = ({ engines }: Row, key: "median" | "min" | "answered") =>
  best(engines.ort!, key) / best(engines.wasmith!, key);
const geomean = (xs: readonly number[]) => Math.exp(xs.reduce((s, x) => s + Math.log(x), 0) / xs.length);
const fixedTo = (x: number, width: number) => x.toFixed(x < 1 ? 3 : x < 100 ? 2 : 1).padStart(width);

const scratch = mkdtempSync(join(tmpdir(), "wasmith-bench-"));
const rows: Row[] = [];
const failures: string[] = [];
const names = Object.keys({
  wasmith: 0,
  ...(options.relaxed && { relaxed: 0 }),
  ort: 0,
  ...(options.native && { native: 0 }),
});
console.log(
  `${"model (median ms)".padEnd(32)}${names.map((n) => n.padStart(10)).join("")}   speed   first   (ms)    (ms)  compile s  error`,
);
for (const { name, folder } of models) {
  try {
    const row = await measureModel(name, folder, scratch);
    rows.push(row);
    const medians = names.map((n) => fixedTo(best(row.engines[n]!, "median"), 10)).join("");
    const first = [row.engines.wasmith!, row.engines.ort!]
      .map((e) => best(e, "answered").toFixed(0).padStart(8))
      .join("");
    console.log(
      `${name.padEnd(32)}${medians}${ratio(row, "median").toFixed(2).padStart(7)}×${ratio(row, "answered").toFixed(2).padStart(7)}×${first}` +
        `${((row.compiled.importMs + row.compiled.compileMs) / 1000).toFixed(2).padStart(9)}  ${row.engines.wasmith![0]!.error.toExponential(1)}`,
    );
  } catch (error) {
    failures.push(`${name}: ${(error as { stderr?: string }).stderr || String(error)}`);
    console.log(`${name.padEnd(32)} failed`);
  }
}
rmSync(scratch, { recursive: true });
if (options.json) writeFileSync(options.json, JSON.stringify(rows, null, 1));

const speeds = rows.map((r) => ratio(r, "median"));
const slowest = [...rows].sort((a, b) => ratio(a, "median") - ratio(b, "median")).slice(0, 5);
const firsts = rows.filter((r) => ratio(r, "answered") < 1).map((r) => r.model);
console.log(`
${rows.length} models, speed against onnxruntime-web: geomean ${geomean(speeds).toFixed(2)}× by medians, ${geomean(rows.map((r) => ratio(r, "min"))).toFixed(2)}× by minima
slowest: ${slowest.map((r) => `${r.model} ${ratio(r, "median").toFixed(2)}×`).join(", ")}
load to first answer: ahead on ${rows.length - firsts.length} of ${rows.length}${firsts.length > 0 ? `; behind on ${firsts.join(", ")}` : ""}`);
for (const f of failures) console.error(f);
process.exitCode = failures.length > 0 ? 1 : 0;
