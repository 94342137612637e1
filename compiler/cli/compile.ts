import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Command, InvalidArgumentError, Option } from "commander";
import { ModelError } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import { nameProblem } from "../../runtime/encode.js";
import { type VariantId, variantIds } from "../../runtime/format.js";
import { withCache } from "../cache.js";
import { compile } from "../compile.js";
import { type WeightsPolicy, weightsPolicies } from "../plan/prepare.js";
import { type PresetName, presetNames } from "../presets.js";
import type { Program } from "../program.js";
import { writeWhole } from "../write.js";
import { bytes, ms, table } from "./format.js";
import { type EncryptFlags, encryptionKey } from "./key.js";
import { collectDim, type DimOption, loadModel } from "./load-model.js";
import { checkTuningFlags, measuredTuning, readTuningFile, type TuningFlags } from "./tuning.js";

export interface CompileFlags {
  readonly name?: string;
  readonly deterministic?: boolean;
  readonly variants?: readonly VariantId[];
  readonly preset?: PresetName;
  readonly maxThreads?: number;
  readonly maxMemory?: number;
  readonly keep?: WeightsPolicy;
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
    ...(flags.maxMemory ? { maxMemoryBytes: flags.maxMemory } : {}),
  };
}

/** @throws ModelError where a program already says what its state is */
function decoderOf(path: string, { entries, state }: Program): Graph {
  const { main } = entries;
  if (main !== undefined && state.length === 0) return main;
  throw new ModelError({
    where: "--cache",
    message: `${path} is a program with state of its own`,
    hint: "use withCache where the program is made",
  });
}

export function compileCommand(): Command {
  return withCompileFlags(new Command("compile"))
    .description("compile a model to an artefact: wasm variants, weights, typed glue")
    .argument("<model>", ".onnx, .graph, .js, .mjs or .ts file")
    .option("--dim <name=value>", "size or range (lo..hi) of a dim of an ONNX file; repeatable", collectDim)
    .option(
      "--cache <tokens>",
      "keep a decoder's caches of keys and values in the session, with room for so many",
      positive,
    )
    .option("-o, --out <path>", "directory and, as its last part, name of the artefact", "dist/")
    .option("--single-file", "everything in one .wasm, beside the glue")
    .option("--standalone", "copy the runtime beside it, for pages without a bundler")
    .option("--encrypt", "encrypt the files by AES-GCM; needs one of the next two, or the variable WASMITH_KEY")
    .option("--key <file>", "file with the key: 16 or 32 bytes in hex or base64")
    .option("--new-key <file>", "make a key, and write it to a new file that only you can read")
    .option("--tune", "measure kernels and tiles here, and keep what is faster in NAME.tuning.json beside the artefact")
    .option("--tune-dim <name=value>", "size of a dim to measure with (default: its least); repeatable", collectDim)
    .option("--tuning <file>", "take the kernels and tiles that --tune found")
    .option("--json", "report as JSON")
    .action(
      async (
        path: string,
        flags: CompileFlags &
          EncryptFlags &
          TuningFlags & {
            out: string;
            dim?: DimOption;
            cache?: number;
            singleFile?: boolean;
            standalone?: boolean;
            json?: boolean;
          },
      ) => {
        const slash = flags.out.lastIndexOf("/");
        const stem = flags.out.slice(slash + 1).replace(/\.wasm$/, "");
        // Before the work.
        const problem = (flags.name ?? stem) === "" ? undefined : nameProblem(flags.name ?? stem);
        if (problem) throw new ModelError(problem);
        checkTuningFlags(flags);
        const stored = flags.tuning === undefined ? undefined : await readTuningFile(flags.tuning);
        const key = await encryptionKey(flags);
        const model = await loadModel(path, flags.dim);
        const directory = slash < 0 ? "." : flags.out.slice(0, slash) || "/";
        const program =
          flags.cache === undefined
            ? model.program
            : withCache(decoderOf(path, model.program), { length: flags.cache });
        const options = compileOptions({ ...flags, ...(stem ? { name: flags.name ?? stem } : {}) }, model.name);
        const tuning = flags.tune ? await measuredTuning(program, options, flags.tuneDim) : stored;
        const artifact = await compile(program, { ...options, ...(tuning ? { tuning } : {}) });
        const paths = [
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
        const sizes = artifact.manifest.variants.map((v) => ({
          id: v.id,
          bytes: artifact.wasm[v.id]!.length,
          gzip: gzipSync(artifact.wasm[v.id]!).length,
        }));
        const { bytes: weightBytes } = artifact.manifest.weights;
        if (flags.json) {
          console.log(JSON.stringify({ paths, variants: sizes, weights: weightBytes, stages: artifact.stages }));
          return;
        }
        console.log(
          table([
            ...sizes.map((s) => [s.id, bytes(s.bytes), `${bytes(s.gzip)} gzipped`]),
            ["weights", bytes(weightBytes), ""],
            ...Object.entries(artifact.stages).map(([stage, t]) => [stage, ms(t), ""]),
          ]),
        );
        for (const p of paths) console.log(p);
      },
    );
}
