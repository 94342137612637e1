/** The whole pipeline, top to bottom: program → passes → lowering → plan → modules. */

import { now, withinSeconds } from "../ir/deadline.js";
import { ModelError } from "../ir/errors.js";
import type { Graph } from "../ir/graph.js";
import { loopPassesWith, loopPipeline } from "../passes/loop/pipeline.js";
import { type PassEvent, runPipeline } from "../passes/pipeline.js";
import { encodeSingleFile, encryptSingleFile, gather, nameProblem, sealArtifact } from "../runtime/encode.js";
import {
  type ArtifactParts,
  type FitInfo,
  type Manifest,
  mostPages,
  mostPages64,
  pageBytes,
  type TrainingInfo,
  type VariantId,
  variantIds,
} from "../runtime/format.js";
import { type Assembled, assemble, variantOf } from "./assemble.js";
import { DebugLog } from "./debug.js";
import { debugSettings } from "./env.js";
import { KernelPool } from "./lower/core/kernel-builder.js";
import type { Tuner } from "./lower/core/tuner.js";
import { lowerGraph } from "./lower/lower.js";
import { onnxTemplate } from "./onnx/export/template.js";
import {
  aBoolean,
  aFunction,
  anObject,
  aString,
  atLeast,
  type Checks,
  checkOptions,
  describe,
  listOf,
  oneOf,
  seconds,
  someOf,
} from "./options.js";
import { defaultPipeline } from "./pipeline.js";
import { type WeightsPolicy, weightsPolicies } from "./plan/prepare.js";
import { type PresetName, presetNames, presets, presetVariants } from "./presets.js";
import { type Program, seeded, type TrainingProgram, type TypedProgram, weightStates } from "./program.js";
import { readTuning, type Tuning, tunerOf } from "./tune/tuning.js";
import { version } from "./version.js";
import { loadBinaryen, type Optimizer, optimizers } from "./wasm/binaryen.js";
import { inlinableMath } from "./wasm/math.js";
import { fileNameOf, type WriteOptions, writeArtifact } from "./write.js";

export interface CompileOptions {
  /** Stem of the files and name in the manifest. Default: the graph's name. */
  readonly name?: string;
  /**
   * Which modules to make. Default: all four, or the two of the baseline when `deterministic`. The runtime takes the best that
   * the engine supports.
   */
  readonly variants?: readonly VariantId[];
  /**
   * Makes what a kind of host needs, where `variants` does not say it: `"web"` for browsers (all four), `"node"` for Node, Bun and Deno (the two
   * with threads), `"edge"` for hosts that take one compiled module (relaxed SIMD without threads; `write` makes a single file).
   */
  readonly preset?: PresetName;
  /** Only the baseline, whose results are bit-identical on every engine. */
  readonly deterministic?: boolean;
  /** Most threads that a session may use (default 16). */
  readonly maxThreads?: number;
  /**
   * Limit of a run's memory in bytes (default 2 GiB, at most 16 GiB). What may need more than 4 GiB has variants with 64-bit addresses
   * (`simd128-64` …), which engines of 2025 and later run.
   */
  readonly maxMemoryBytes?: number;
  /**
   * What is computed from weights is computed once and kept, where its memory allows: `"small"` keeps nothing, `"fast"` all. Default
   * `"auto"`: as much as the weights take, and at least up to 256 MiB.
   */
  readonly weights?: WeightsPolicy;
  /**
   * What `tune` measured: which kernels and tiles to take. Default: those that are estimated to be the fastest. Tiles change speed alone;
   * another kernel (Winograd's in place of a direct convolution) may round otherwise.
   */
  readonly tuning?: Tuning;
  /**
   * `"binaryen"` runs binaryen's passes over the modules, which takes the package binaryen and several times as long. Default `"direct"`: the
   * code is about as small and as fast without them.
   */
  readonly optimizer?: Optimizer;
  /**
   * Seed of what is random in a program of layers: first values of weights that were not loaded, and the key of random numbers that runs draw
   * (dropout, noise). It is added to the seeds that the program has itself. Default: 0.
   */
  readonly seed?: number;
  /** Told what of the tuning no kernel serves any more. Default: `console.warn`. */
  readonly onWarning?: (text: string) => void;
  /** Time that compiling may take, of the processor where the host tells it (Node, Bun, Deno). Default 300. */
  readonly maxSeconds?: number;
  /** Names of graph passes to leave out, for finding which one is at fault. */
  readonly skipPasses?: readonly string[];
  /** Told each entry's graph before its first pass. */
  readonly onEntry?: (name: string, graph: Graph) => void;
  /** Told what each pass did. */
  readonly onPass?: (event: PassEvent) => void;
  /** Told how long each stage took. */
  readonly onStage?: (stage: string, ms: number) => void;
}

export const compileChecks: Checks<CompileOptions> = {
  name: aString,
  variants: someOf(variantIds),
  preset: oneOf(...presetNames),
  deterministic: aBoolean,
  maxThreads: atLeast(1, 256),
  maxMemoryBytes: atLeast(1),
  weights: oneOf(...weightsPolicies),
  tuning: anObject,
  optimizer: oneOf(...optimizers),
  seed: atLeast(0),
  onWarning: aFunction,
  maxSeconds: seconds,
  skipPasses: listOf(oneOf(...defaultPipeline.map((p) => p.name))),
  onEntry: aFunction,
  onPass: aFunction,
  onStage: aFunction,
};

/** @throws ModelError where options, each of which is what it is to be, can't be had */
export function checkCompileChoices({ name, variants, deterministic }: CompileOptions): void {
  const problem = name === undefined ? undefined : nameProblem(name);
  if (problem) throw new ModelError(problem);
  const relaxed = variants?.find((id) => id.startsWith("relaxed"));
  if (relaxed !== undefined && deterministic)
    throw new ModelError({ where: "option variants", message: `"${relaxed}" contradicts deterministic: true` });
}

/** A compiled program in memory. */
export interface Artifact extends ArtifactParts {
  readonly manifest: Manifest;
  /** Milliseconds of each stage of compilation. */
  readonly stages: Readonly<Record<string, number>>;
  /** Kernels, schedules and memory plans, for inspection. */
  readonly assembled: Assembled;
  /** Everything in one self-contained `.wasm`; with a key, encrypted. */
  toBytes(options?: Pick<WriteOptions, "key">): Promise<Uint8Array>;
  /**
   * A command of WASI preview 1, for hosts without JavaScript: it reads the inputs as a safetensors file from standard input, and writes the outputs as
   * one to standard output. It runs the entry that `run` of a session runs, on one thread, and has the weights in it.
   * @throws ModelError where a size can't be told from the inputs, or memory needs 64-bit addresses
   */
  toCommand(): Promise<Uint8Array>;
  /**
   * Writes `NAME.wasm`, the weights and further variants beside it (or all in one), and the glue `NAME.js` with its types `NAME.d.ts`. Replaces an artefact of
   * the same name as a whole. Returns the paths, `NAME.wasm` first.
   */
  write(directory: string | URL, options?: WriteOptions): Promise<readonly string[]>;
}

/** An artefact whose session trains on data sets. */
export interface TrainingArtifact extends Artifact {
  readonly manifest: Manifest & { readonly training: TrainingInfo & { readonly fit: FitInfo } };
}

/** An artefact whose entries TypeScript knows. */
export interface TypedArtifact<T> extends Artifact {
  /** Never there: it carries the type. */
  readonly "~entries": T;
}

const memory32 = mostPages * pageBytes;
/** The last page of 4 GiB is left out: what plans say of it would not fit 32 bits. */
const memoryLimit = (bytes: number): number =>
  bytes <= memory32 ? Math.min(bytes, memory32 - pageBytes) : Math.min(bytes, mostPages64 * pageBytes);

const kernelPasses = loopPassesWith(inlinableMath);

function isProgram(input: Graph | Program): input is Program {
  const given: unknown = input;
  if (typeof given === "object" && given !== null) {
    if (Object.hasOwn(given, "entries")) return true;
    if (Object.hasOwn(given, "params") && Object.hasOwn(given, "results")) return false;
  }
  throw new ModelError({
    message: `expected a graph or a program to compile, got ${describe(given)}`,
    hint: "pass what importOnnx, toGraph or trainStep returns",
  });
}

/**
 * Compiles a graph (inference: entry `main`) or a program. Equal input and options give equal bytes.
 *
 * @throws ModelError if the program can't be compiled: names the layers or inputs, and says what to do
 */
export function compile(input: TrainingProgram, options?: CompileOptions): Promise<TrainingArtifact>;
export function compile<T>(input: TypedProgram<T>, options?: CompileOptions): Promise<TypedArtifact<T>>;
export function compile(input: Graph | Program, options?: CompileOptions): Promise<Artifact>;
export async function compile(input: Graph | Program, options: CompileOptions = {}): Promise<Artifact> {
  checkOptions("compile", options, compileChecks);
  checkCompileChoices(options);
  const debug = new DebugLog(debugSettings());
  try {
    return await compileWith(input, options, debug);
  } finally {
    await debug.flush();
  }
}

async function compileWith(input: Graph | Program, options: CompileOptions, debug: DebugLog): Promise<Artifact> {
  const { tuning } = options;
  const tuner = tuning && tunerOf(readTuning(tuning, "option tuning"), options.onWarning ?? console.warn);
  return optimized(input, options, debug).build(tuner ? { tuner } : {});
}

interface BuildOptions {
  readonly tuner?: Tuner;
  /** Default: those of the options. */
  readonly variants?: readonly VariantId[];
}

/** A program after its graph passes. */
export interface Optimized {
  /** The artefact; any number may be built, with kernels that other tuners choose. */
  build(how: BuildOptions): Promise<Artifact>;
}

/** Runs the graph passes. */
export function optimized(input: Graph | Program, options: CompileOptions, debug: DebugLog): Optimized {
  const given: Program = isProgram(input) ? input : { entries: { main: input }, state: [] };
  const program = options.seed === undefined ? given : seeded(given, options.seed);
  const names = Object.keys(program.entries);
  if (names.length === 0) throw new ModelError("the program has no entry");
  const name = options.name ?? fileNameOf(isProgram(input) ? "" : input.name);
  const passed: Record<string, number> = {};
  const spent = stopwatch(options, debug);
  const pipeline = defaultPipeline.filter((p) => !options.skipPasses?.includes(p.name));
  const graphs = names.map((entry) => {
    const graph = program.entries[entry]!;
    debug.entry(entry, graph);
    options.onEntry?.(entry, graph);
    const result = spent(passed, "passes", () =>
      runPipeline(pipeline, graph, {
        verify: true,
        onPass: (event) => {
          debug.pass(event);
          options.onPass?.(event);
        },
        onFailure: (failure) => debug.failure(failure),
        ...(debug.trace ? { trace: debug.trace } : {}),
      }),
    );
    return { ...result, name: entry };
  });
  const state = new Set(program.state.map((s) => s.name));
  const caches = new Set(program.state.flatMap((s) => (s.role === "cache" ? [s.name] : [])));
  const kept = options.weights === "small" ? {} : { kept: weightStates(program) };
  return {
    async build({ tuner, variants }) {
      const stages = { ...passed };
      const binaryen = options.optimizer === "binaryen" ? await loadBinaryen() : undefined;
      // Shared, so that the names of kernels and epilogues are unique in the module.
      const pool = new KernelPool();
      const choice = tuner ? { tuner } : {};
      const schedules = graphs.map((graph) =>
        spent(stages, "lower", () => lowerGraph(graph, { state, caches, pool, ...kept, ...choice })),
      );
      const template = program.training?.fit?.predict
        ? spent(stages, "template", () => onnxTemplate(program))
        : undefined;
      const emitted = spent(stages, "emit", () =>
        assemble(schedules, program, {
          name,
          variants:
            variants ?? options.variants ?? presetVariants(options.preset ?? "web", options.deterministic ?? false),
          maxThreads: options.maxThreads ?? 16,
          maxMemoryBytes: memoryLimit(options.maxMemoryBytes ?? 2 ** 31),
          ...(options.weights ? { weights: options.weights } : {}),
          optimizeKernel: (fn) => loopPipeline(fn, { passes: kernelPasses }),
          producer: `wasmith ${version}`,
          ...(template ? { template } : {}),
        }),
      );
      const assembled =
        binaryen === undefined ? emitted : spent(stages, "optimize", () => withModules(emitted, binaryen));
      debug.assembled(assembled);
      return artifactOf(assembled, stages, options.preset ? presets[options.preset].write : {});
    },
  };
}

/** With what `optimize` makes of each module. */
function withModules(
  { wasm, ...rest }: Assembled,
  optimize: (bytes: Uint8Array, variant: ReturnType<typeof variantOf>) => Uint8Array,
): Assembled {
  const modules = Object.entries(wasm) as [VariantId, Uint8Array][];
  return { ...rest, wasm: Object.fromEntries(modules.map(([id, bytes]) => [id, optimize(bytes, variantOf(id))])) };
}

/** Times stages, whose sum may take as long as the options say. */
function stopwatch(options: CompileOptions, debug: DebugLog) {
  const began = now();
  return <T>(stages: Record<string, number>, stage: string, work: () => T): T => {
    const start = performance.now();
    const result = withinSeconds(options.maxSeconds ?? 300, "compiling the model", work, began);
    const ms = performance.now() - start;
    stages[stage] = (stages[stage] ?? 0) + ms;
    debug.stage(stage, ms);
    options.onStage?.(stage, ms);
    return result;
  };
}

async function artifactOf(
  assembled: Assembled,
  stages: Readonly<Record<string, number>>,
  how: WriteOptions,
): Promise<Artifact> {
  const parts = await sealArtifact(assembled.draft, assembled.wasm, assembled.weights);
  return {
    manifest: parts.manifest,
    wasm: parts.wasm,
    weightParts: assembled.weights,
    get weights() {
      return parts.weights;
    },
    stages,
    assembled,
    toCommand: async () => (await import("./wasi/command.js")).wasiCommand(parts, assembled),
    toBytes: async ({ key } = {}) =>
      key === undefined ? encodeSingleFile(parts) : gather(await encryptSingleFile(parts, key)),
    write: (directory, options = {}) => writeArtifact(parts, directory, { ...how, ...options }),
  };
}
