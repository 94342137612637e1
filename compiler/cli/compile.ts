import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import pc from "picocolors";
import { ModelError } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import { nameProblem } from "../../runtime/encode.js";
import { type VariantId, variantIds } from "../../runtime/format.js";
import { withCache } from "../cache.js";
import { type Artifact, compile } from "../compile.js";
import { readWeights } from "../dsl/weights-file.js";
import { type WeightsPolicy, weightsPolicies } from "../plan/prepare.js";
import { type PresetName, presetNames } from "../presets.js";
import type { Program } from "../program.js";
import { quantizeWeights, type WeightFormat, weightFormats } from "../quantize.js";
import { type Optimizer, optimizers } from "../wasm/binaryen.js";
import { inferenceGraph, withWeights } from "../weights-given.js";
import { writeWhole } from "../write.js";
import { CompileWatch, reportText } from "./compile-report.js";
import { collectDim } from "./dim-flag.js";
import { type ImportFlags, withImportFlags } from "./import-flags.js";
import { type EncryptFlags, encryptionKey } from "./key.js";
import { loadModel } from "./load-model.js";
import { StatusLine } from "./status-line.js";
import { checkTuningFlags, measuredTuning, readTuningFile, type TuningFlags } from "./tuning.js";

export interface CompileFlags {
  readonly name?: string;
  readonly deterministic?: boolean;
  readonly variants?: readonly VariantId[];
  readonly preset?: PresetName;
  readonly maxThreads?: number;
  readonly maxMemory?: number;
  readonly keep?: WeightsPolicy;
  readonly optimizer?: Optimizer;
}

export function variantList(text: string): readonly VariantId[] {
  const list = text.split(",");
  for (const id of list) {
    if (!(variantIds as readonly string[]).includes(id))
      throw new InvalidArgumentError(`choose from ${variantIds.join(", ")}`);
  }
  return list as VariantId[];
}

export function positive(text: string): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 1) throw new InvalidArgumentError("give a whole number of at least 1");
  return n;
}

export function integer(text: string): number {
  const n = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(n) || n < 0) throw new InvalidArgumentError("give a whole number");
  return n;
}

export function tolerance(text: string): number {
  const x = Number(text);
  if (text.trim() === "" || !(x >= 0 && x < Infinity)) throw new InvalidArgumentError("give a number of at least 0");
  return x;
}

/** Flags shared by the commands that compile. */
export function withCompileFlags(command: Command): Command {
  return command
    .option("--name <name>", "stem of the files (default: the model's)")
    .option("--deterministic", "only the baseline variants, bit-identical everywhere")
    .option("--variants <list>", `comma-separated, of ${variantIds.join(", ")}`, variantList)
    .addOption(new Option("--preset <host>", "variants and form for a kind of host").choices(presetNames))
    .option("--max-threads <n>", "most threads a session may use", positive)
    .option("--max-memory <bytes>", "limit of a run's memory", positive)
    .addOption(
      new Option("--keep <policy>", "what runs make of weights alone: made once and kept, or in every run").choices(
        weightsPolicies,
      ),
    )
    .addOption(
      new Option("--optimizer <name>", "passes over the modules: none, or binaryen's, if it is installed").choices(
        optimizers,
      ),
    );
}

export function compileOptions(flags: CompileFlags, name: string) {
  return {
    name: flags.name ?? name,
    ...(flags.deterministic ? { deterministic: true } : {}),
    ...(flags.variants ? { variants: flags.variants } : {}),
    ...(flags.preset ? { preset: flags.preset } : {}),
    ...(flags.maxThreads ? { maxThreads: flags.maxThreads } : {}),
    ...(flags.keep ? { weights: flags.keep } : {}),
    ...(flags.optimizer ? { optimizer: flags.optimizer } : {}),
    ...(flags.maxMemory ? { maxMemoryBytes: flags.maxMemory } : {}),
  };
}

/** @throws ModelError where a program has state of its own */
function statelessGraph(where: string, path: string, { entries, state }: Program, hint: string): Graph {
  const { main } = entries;
  if (main !== undefined && state.length === 0) return main;
  throw new ModelError({ where, message: `${path} is a program with state of its own`, hint });
}

interface OwnFlags extends CompileFlags, EncryptFlags, ImportFlags, TuningFlags {
  readonly out: string;
  readonly weights?: string;
  readonly entry?: string;
  readonly quantize?: WeightFormat;
  readonly cache?: number;
  readonly singleFile?: boolean;
  readonly standalone?: boolean;
  readonly wasi?: boolean;
  readonly json?: boolean;
}

/** @throws ModelError where flags say how an artefact is written, and none is */
function checkCommandFlags({ wasi, singleFile, standalone, encrypt, preset }: OwnFlags): void {
  const other = { "--single-file": singleFile, "--standalone": standalone, "--encrypt": encrypt, "--preset": preset };
  const [found] = Object.entries(other).find(([, value]) => value) ?? [];
  if (wasi && found)
    throw new ModelError({ where: "--wasi", message: `it makes a command, for which there is no ${found}` });
}

/** Writes the command. @returns its path */
async function writeCommand(artifact: Artifact, directory: string): Promise<string> {
  const path = join(directory, `${artifact.manifest.name}.wasm`);
  const bytes = await artifact.toCommand();
  await mkdir(directory, { recursive: true });
  await writeWhole(path, bytes);
  return path;
}

export function compileCommand(): Command {
  return withImportFlags(withCompileFlags(new Command("compile")))
    .argument("<model>", ".onnx, .graph, .js, .mjs or .ts file")
    .option("--weights <file>", "safetensors file, such as of a training session, whose weights replace the model's")
    .option("--entry <name>", "only this entry of a program, for inference: its state becomes constant")
    .addOption(
      new Option("--quantize <format>", "store matrices of weights that products read in fewer bits").choices(
        weightFormats,
      ),
    )
    .option(
      "--cache <tokens>",
      "keep a decoder's caches of keys and values in the session, with room for so many",
      positive,
    )
    .option("-o, --out <path>", "directory and, as its last part, name of the artefact", "dist/")
    .option("--single-file", "everything in one .wasm, beside the glue")
    .option("--standalone", "copy the runtime beside it, for pages without a bundler")
    .option("--wasi", "make a command of WASI: NAME.wasm < inputs.safetensors > outputs.safetensors")
    .option("--encrypt", "encrypt the files by AES-GCM; needs one of the next two, or the variable WASMITH_KEY")
    .option("--key <file>", "file with the key: 16 or 32 bytes in hex or base64")
    .option("--new-key <file>", "make a key, and write it to a new file that only you can read")
    .option("--tune", "measure kernels and tiles here, and keep what is faster in NAME.tuning.json beside the artefact")
    .option("--tune-dim <name=value>", "size of a dim to measure with (default: its least); repeatable", collectDim)
    .option("--tuning <file>", "take the kernels and tiles that --tune found")
    .option("--json", "report as JSON")
    .action(async (path: string, flags: OwnFlags) => {
      const slash = flags.out.lastIndexOf("/");
      const stem = flags.out.slice(slash + 1).replace(/\.wasm$/, "");
      // Before the work.
      const problem = (flags.name ?? stem) === "" ? undefined : nameProblem(flags.name ?? stem);
      if (problem) throw new ModelError(problem);
      checkTuningFlags(flags);
      checkCommandFlags(flags);
      const stored = flags.tuning === undefined ? undefined : await readTuningFile(flags.tuning);
      const key = await encryptionKey(flags);
      const status = new StatusLine();
      try {
        status.show(`reading ${path}`);
        const model = await loadModel(path, flags);
        const directory = slash < 0 ? "." : flags.out.slice(0, slash) || "/";
        const program = await asAsked(path, model.program, flags);
        // One module is used.
        const variants = flags.variants ?? (flags.wasi ? (["simd128"] as const) : undefined);
        const chosen = { ...flags, ...(variants ? { variants } : {}) };
        const options = compileOptions({ ...chosen, ...(stem ? { name: flags.name ?? stem } : {}) }, model.name);
        if (flags.tune) status.clear();
        const tuning = flags.tune ? await measuredTuning(program, options, flags.tuneDim) : stored;
        const watch = new CompileWatch(status);
        const artifact = await compile(program, { ...options, ...watch.options, ...(tuning ? { tuning } : {}) });
        status.show("writing");
        const paths = flags.wasi
          ? [await writeCommand(artifact, directory)]
          : [
              ...(await artifact.write(directory, {
                ...(flags.singleFile ? { singleFile: true } : {}),
                ...(flags.standalone ? { standalone: true } : {}),
                ...(key ? { key } : {}),
              })),
            ];
        if (flags.tune) {
          const file = join(directory, `${options.name}.tuning.json`);
          await writeWhole(file, new TextEncoder().encode(`${JSON.stringify(tuning, null, 2)}\n`));
          paths.push(file);
        }
        const report = watch.report(artifact, paths);
        status.clear();
        if (flags.json) {
          console.log(JSON.stringify(report));
          return;
        }
        console.log(reportText(report));
        for (const text of report.warnings) console.error(`${pc.yellow("warning:")} ${text}`);
        for (const p of paths) console.log(p);
      } finally {
        status.clear();
      }
    });
}

/** The program with other weights, as a graph of one entry, of fewer bits, or with caches, as flags say. */
async function asAsked(path: string, given: Program, flags: OwnFlags): Promise<Program> {
  const { weights, entry, quantize, cache } = flags;
  const trained =
    weights === undefined ? given : withWeights(given, readWeights(new Uint8Array(await readFile(weights)), weights));
  const chosen = entry === undefined ? trained : ofGraph(inferenceGraph(trained, entry));
  const program =
    quantize === undefined
      ? chosen
      : ofGraph(
          quantizeWeights(statelessGraph("--quantize", path, chosen, "name the entry: --entry predict"), quantize),
        );
  return cache === undefined
    ? program
    : withCache(statelessGraph("--cache", path, program, "use withCache where the program is made"), { length: cache });
}

const ofGraph = (main: Graph): Program => ({ entries: { main }, state: [] });
