/**
 * The artefact: what the compiler writes and the runtime reads. This file is the whole contract between both.
 *
 * ## The module
 *
 * One wasm module per variant, all with the same exports and the same memory layout. It has one or more *entries*: `main`
 * for inference; `step`, `evaluate`, `predict` … for training, which share weights and state.
 *
 * - import `env.memory`: minimum `memory.minPages`; threaded variants import it shared, with maximum `memory.maxPages`.
 * - export `plan_E(): i32` for each entry E: reads the dims of E from the table, writes all derived sizes and arena offsets
 *   to the table, and returns the bytes of memory that a run needs, counted from address 0, as u32. It computes in 64 bits
 *   and returns `planOverflow` where any value does not fit, `planRefused` where sizes break limits. It may be called with any dims ≥ 0 and never traps.
 *   64-bit variants return an i64.
 * - export `run_E(tid: i32, threads: i32, begin: i32, end: i32): i32`: executes the steps [begin, end) of the schedule and
 *   returns `end`. Every thread calls it with the same arguments apart from `tid`; barriers inside separate dependent kernels.
 *   A run is any partition of [0, steps) executed in order; between two slices all threads have returned, so a slice needs no
 *   barrier at its end. Single-threaded variants are called with (0, 1, begin, end); they may return less than `end` where
 *   `env.poll` says so: the step to go on with, in its midst if `wordResume` is not 0.
 * - import `env.poll(): i32`, in single-threaded variants only, and only called while `wordPoll` is not 0: between steps, chunks
 *   and rounds of loops, and in kernels that take long. Not 0: the call of `run_E` returns as soon as it can. It may throw.
 * - export `can_block`: mutable i32 global, in threaded variants only. 1 lets the barrier of this instance wait
 *   (`memory.atomic.wait32`); 0 makes it spin, for a browser's main thread.
 *
 * ## Memory
 *
 * Variants `*-64*` import a memory with 64-bit addresses; in artefacts that have such, addresses and sizes take two slots each, the lower 32
 * bits first.
 *
 * `[0, 256)` control block, then the table of i32 slots, the weights region, the state region, the arena. Regions
 * start at constants of the manifest, each a multiple of 64, in that order. The runtime zeroes nothing in the arena.
 * Elements lie dense and row-major. bool is one byte of 0 or 1; f16 and bf16 are their 16 bits; float8 one byte; i4, u4, i2
 * and u2 one element a byte.
 *
 * ## The barrier
 *
 * Of `threads` threads on the i32 words `wordArrived`, `wordGeneration`; it must give up when `wordPoison` is set, so that a thread that
 * trapped can't leave the others waiting:
 *
 *   g = atomic.load(generation)
 *   if (atomic.load(poison)) unreachable
 *   if (atomic.add(arrived, 1) == threads − 1) { arrived = 0; atomic.add(generation, 1); notify(generation, all) }
 *   else while (atomic.load(generation) == g) { if (can_block) wait32(generation, g, −1) }
 *   if (atomic.load(poison)) unreachable
 *
 * (Both checks are needed, the first after the load of g.) Spinning a little before wait32 is up to the emitter.
 * A thread that traps sets `poison`, adds 1 to `generation` and notifies it (the runtime does this in JavaScript).
 *
 * ## Files
 *
 * `NAME.wasm` holds the first variant of the manifest, the others lie beside it under their `file` names, as do the weights, a
 * safetensors file. The compiler calls them `NAME.HASH.VARIANT.wasm` and `NAME.HASH.weights`, with the first 16 digits of a hash. Each
 * module begins with the custom sections `sections.variant` (which variant this module is) and `sections.manifest` (the SHA-256 of the
 * JSON as 32 raw bytes, then the JSON), so that what else is wanted can be asked for while the rest of the file is on its way.
 * `--single-file` puts `sections.whole` before them, and appends the other variants and the weights, last, as further custom sections.
 * Hashes of modules are of the module without any of these sections. Weights have a hash for each part, so that they are checked as they come.
 */

/** Raised when a reader of the previous version could misread the artefact. */
export const formatVersion = 7;

// The control block's i32 words, as indices (byte address / 4). Those from `wordJob` on belong to the runtime.

/** Threads that have arrived at the barrier. */
export const wordArrived = 0;
/** Counts barriers passed. */
export const wordGeneration = 1;
/** Not 0: a thread trapped; leave the barrier by a trap. */
export const wordPoison = 2;
/** Threads asleep in the barrier (the barrier's own). */
export const wordSleepers = 3;
/** Counts jobs; workers wait on it. */
export const wordJob = 4;
/** What the job is: an index into the manifest's entries, and the range of steps. */
export const wordEntry = 5;
export const wordBegin = 6;
export const wordEnd = 7;
/** Workers that have finished the job. */
export const wordDone = 8;
/** Length in bytes of what the first trapping thread says; the UTF-8 text fills the words after it, up to `wordPoll`. */
export const wordMessage = 9;
/** Not 0: single-threaded, `env.poll` is to be asked whether to go on; with threads, ranges of chunks are cut at each chunk. */
export const wordPoll = 57;
/** Where in a step a run left off: not 0 makes the next call of `run_E` go on there; and at which chunk. */
export const wordResume = 58;
export const wordChunk = 59;
/** Not 0: the run came to an end before the last step; limits say why, or `wordNeeded` does. */
export const wordStop = 60;
/** To how many pages a run may grow the memory, and how many it needed when that was not enough. */
export const wordLimit = 61;
export const wordNeeded = 62;
/** Size of the block. */
export const controlBytes = 256;

/** Import of single-threaded variants, from `env`. */
export const pollImport = "poll";

/** `plan_E` returns this (as a signed integer) when the run can't be laid out in the memory that there can be. */
export const planOverflow = -1;
/** What `plan_E` returns where the dims break limits, whose slots it sets. */
export const planRefused = -2;
export const pageBytes = 65536;
/** The most pages that 32-bit addresses reach, and those that engines give to 64-bit ones. */
export const mostPages = 65536;
export const mostPages64 = 2 ** 18;
/** Alignment of regions, and of tensors in the weights file. */
export const alignment = 64;
/** Bytes of the weights' data section that have a hash of their own. Engines copy what they hash: memory for more is new each time. */
export const weightsPart = 2 ** 19;

/** Names of custom sections. */
export const sections = {
  manifest: "wasmith",
  variant: "wasmith.variant",
  /** Empty: the file is a single file. */
  whole: "wasmith.whole",
  /** Followed by the variant's id: another variant's module, in a single file. */
  module: "wasmith.module.",
  weights: "wasmith.weights",
} as const;

/** What holds elements of each dtype, in memory as in the caller's arrays. f16, bf16 and float8 are bit patterns; bool is 0 or 1; i4, u4, i2, u2 one element a byte. */
export const arrayTypes = {
  f32: Float32Array,
  f64: Float64Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
  bool: Uint8Array,
  i4: Int8Array,
  u4: Uint8Array,
  i2: Int8Array,
  u2: Uint8Array,
  f8e4m3fn: Uint8Array,
  f8e4m3fnuz: Uint8Array,
  f8e5m2: Uint8Array,
  f8e5m2fnuz: Uint8Array,
  f8e8m0: Uint8Array,
  f4e2m1: Uint8Array,
} as const;

export type DType = keyof typeof arrayTypes;

/**
 * In rising order of speed; `relaxed*` use relaxed SIMD, whose results may differ between machines. `*-64*` have 64-bit addresses: more
 * memory, but each access is checked.
 */
export const variantIds = [
  "simd128",
  "simd128-threads",
  "relaxed",
  "relaxed-threads",
  "simd128-64",
  "simd128-64-threads",
  "relaxed-64",
  "relaxed-64-threads",
] as const;
export type VariantId = (typeof variantIds)[number];

/** Whether a variant has 64-bit addresses. */
export const isWide = (id: VariantId): boolean => id.includes("-64");

export interface Variant {
  readonly id: VariantId;
  /** File name beside the first variant's. */
  readonly file: string;
  /** SHA-256 in hex of the module without wasmith's custom sections. */
  readonly hash: string;
}

/** A symbolic size: `dim` is its text (`batch`, `n*2`), `slot` the table slot that holds its value after plan (or run). */
export interface SymbolicDim {
  readonly dim: string;
  readonly slot: number;
}
export type ManifestDim = number | SymbolicDim;

/** A named size that the feeds of a run bind. Each must stand alone as a dim of some input, or is given by the caller. */
export interface DimInfo {
  readonly name: string;
  /** Smallest and largest allowed value, inclusive; null: no upper bound. */
  readonly min: number;
  readonly max: number | null;
  /** The runtime writes the value here before plan. */
  readonly slot: number;
}

export interface TensorInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly ManifestDim[];
  /** Byte address, or the slot that holds it after plan; in artefacts with 64-bit variants, `high` is the slot of its upper 32 bits. */
  readonly offset: number | { readonly slot: number; readonly high?: number };
}

export interface StepInfo {
  /** The user's own name of what this step computes: layer or ONNX node; empty where there is none. */
  readonly name: string;
  /** The kernel, as in `f32_gemm_bias_relu_4x8__simd128` without the variant. */
  readonly kernel: string;
}

/** What a run may break, known only from its data. */
export interface LimitInfo {
  /** Not 0 after a run that broke it, and twice the value that did, plus 1; the runtime sets it to 0 before. */
  readonly slot: number;
  /** The error: place, message, what to do. The value takes the place of the message's `{}`. */
  readonly where: string;
  readonly message: string;
  readonly hint: string;
}

export interface EntryInfo {
  /** In the order in which they are bound. */
  readonly dims: readonly DimInfo[];
  readonly inputs: readonly TensorInfo[];
  /** Inputs of the ONNX file that are constants here, since the file gives them values (`overrides` of importOnnx makes them inputs). */
  readonly fixedInputs?: readonly string[];
  /** Shape slots of outputs may be written during the run by kernels that find sizes in data. */
  readonly outputs: readonly TensorInfo[];
  /** The schedule; `run_E` takes ranges of its indices. */
  readonly steps: readonly StepInfo[];
  /** The first step that changes state, or the number of steps: a run is not cut short from there on. */
  readonly mutatesFrom: number;
  /** Bytes of memory at the largest dims; null where a dim has no bound. */
  readonly maxBytes: number | null;
  readonly limits: readonly LimitInfo[];
  /** Set where sizes lie in state: the entry is planned anew for each run. */
  readonly counts?: boolean;
  /** Of a training step: one f32 that is 0 where all gradients are finite, else NaN; it is known before state changes. */
  readonly guard?: TensorInfo;
}

/** `cache`: what a counter says to be there counts, the rest means nothing. */
export type StateRole = "param" | "optimizer" | "buffer" | "rng" | "counter" | "hyper" | "metric" | "cache";

/** A tensor that outlives runs. */
export interface StateInfo {
  /** As in PyTorch's `state_dict` for parameters and buffers (`conv1.weight`). */
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly role: StateRole;
  /** Byte address, inside the state region. */
  readonly offset: number;
  /** Where its first value lies in the data section of the weights file; null: zeros. */
  readonly init: number | null;
}

export interface MemoryInfo {
  readonly tableOffset: number;
  readonly tableSlots: number;
  /** The first `weightsBytes` of the weights file's data section are loaded here. */
  readonly weightsOffset: number;
  readonly weightsBytes: number;
  readonly stateOffset: number;
  readonly stateBytes: number;
  /** What runs make of weights and state and keep. It begins with a byte for each part: 0 where it is to be made (again). */
  readonly preparedOffset: number;
  readonly preparedFlags: number;
  readonly arenaOffset: number;
  /** Limits of the memory import, in pages of 64 KiB. `minPages` covers everything before the arena. */
  readonly minPages: number;
  readonly maxPages: number;
  /** Most threads that a plan has scratch memory for. */
  readonly maxThreads: number;
}

export interface WeightsInfo {
  readonly file: string;
  readonly bytes: number;
  /** SHA-256 in hex of what comes before the data section, then of each `weightsPart` bytes of it. */
  readonly hashes: readonly string[];
  /** Where the numbers came from, for people: a file name and its hash, an initialiser and its seed. */
  readonly sources: readonly string[];
}

/** What an entry minimises, and by which rule. */
export interface ObjectiveInfo {
  readonly entry: string;
  /** What the names of the optimiser's states begin with: `optimizer` in `optimizer.lr`. */
  readonly name: string;
  readonly optimizer: { readonly name: string; readonly options: Readonly<Record<string, number | boolean | string>> };
  /** State tensors: learning rate (f32 scalar; null when a schedule in the graph sets it) and updates done. */
  readonly learningRate: string | null;
  readonly stepCounter: string;
}

/** What `step`, `fit`, `evaluate` and `predict` of a session run. */
export interface FitInfo {
  /** Entry that trains on one batch; it has the output `loss` and each of `metrics`, all f32 scalars, means over the batch. */
  readonly step: string;
  /**
   * Entry with the same inputs that only measures (`loss`, and those of `metrics` that are its outputs); and one with the model's inputs
   * and outputs alone.
   */
  readonly evaluate: string | null;
  readonly predict: string | null;
  readonly loss: string;
  readonly metrics: readonly string[];
  /**
   * Metrics of the whole data, which are no means over batches: the states of role `metric` sum up what `step` and `evaluate` see, and
   * this entry makes f32 scalars of them.
   */
  readonly streamed: { readonly entry: string; readonly metrics: readonly string[] } | null;
  /**
   * Name of the dim that is the batch's size, wherever it stands in the shapes of inputs; an input without it is the same for all of a
   * data set. Null when the batch has a fixed size: then it is axis 0 of every input.
   */
  readonly batch: string | null;
}

/** Of a program that learns. */
export interface TrainingInfo {
  /** In the order of entries. The first one of `fit.step` is the session's `learningRate`. */
  readonly objectives: readonly ObjectiveInfo[];
  readonly fit: FitInfo | null;
  /** Key of the random numbers (u32[2]); null where none are drawn. */
  readonly rng: string | null;
  /**
   * The model as ONNX without its weights, in the weights region: address and length, and which states (indices) are its
   * initializers. Or why there is none. The layout is that of compiler/onnx/export/template.ts.
   */
  readonly onnx?: OnnxInfo;
}

export type OnnxInfo =
  | { readonly offset: number; readonly bytes: number; readonly states: readonly number[] }
  | { readonly problems: string };

/** A tensor that an artefact was specialised to. Elements as in its typed array: bit patterns of f16 and bf16; large integers, NaN and infinities as text. */
export interface FixedTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
}

/**
 * Something about an input of the model that the artefact was specialised to, since the program depends on it. `input` is the
 * input's name; `name.0`, `name.1` … are the items of a sequence.
 *
 * - `rank`: how many axes it has.
 * - `size`: the size of an axis (the dim that the model calls `dim`), or the range [least, most] that it lies in; null: no limit.
 * - `value`: what it holds. It is no input of the artefact any more.
 * - `length`: how many items a sequence has.
 * - `present`: whether an optional is there, or whether an initializer that is an input too is given.
 */
export type FixedFact =
  | { readonly input: string; readonly what: "rank"; readonly value: number }
  | {
      readonly input: string;
      readonly what: "size";
      readonly axis: number;
      readonly dim: string;
      readonly value: number | readonly [number, number | null];
    }
  | { readonly input: string; readonly what: "value"; readonly value: FixedTensor }
  | { readonly input: string; readonly what: "length"; readonly value: number }
  | { readonly input: string; readonly what: "present"; readonly value: boolean };

/** How an output of the model is made of the outputs of the entry: it is one, a sequence (of parts, or stacked in one), or absent. */
export type OutputForm =
  | { readonly kind: "tensor"; readonly output: string }
  | { readonly kind: "stacked"; readonly output: string }
  | { readonly kind: "sequence"; readonly items: readonly OutputForm[] }
  | { readonly kind: "absent" };

/** Of an artefact made by compileFor: what it takes for given, and how values of the model are made of tensors of the entry. */
export interface Specialization {
  readonly fixed: readonly FixedFact[];
  readonly outputs: readonly { readonly name: string; readonly form: OutputForm }[];
  /** Expressions of the entry's dims that must be so, which inference took for granted: runs with other sizes are refused. */
  readonly relations: readonly SizeRelation[];
}

export interface SizeRelation {
  readonly value: string;
  readonly must: "be zero" | "not be negative";
}

export interface Manifest {
  readonly format: number;
  /** Name and version of the compiler that wrote this. */
  readonly producer: string;
  /** Stem of the file names. */
  readonly name: string;
  /** The first one is in `NAME.wasm`. Not empty; no id twice. */
  readonly variants: readonly Variant[];
  readonly weights: WeightsInfo;
  readonly memory: MemoryInfo;
  readonly state: readonly StateInfo[];
  /** By name; names are identifiers, as they appear in exports. Without training, the first one is what `run` runs. */
  readonly entries: Readonly<Record<string, EntryInfo>>;
  readonly training: TrainingInfo | null;
  /** Only where feeds decided what was compiled. */
  readonly specialization?: Specialization;
}

/** An artefact in memory. `compile` returns one (with more methods); `load` takes it. */
export interface ArtifactParts {
  readonly manifest: Manifest;
  /** The modules without wasmith's custom sections. */
  readonly wasm: { readonly [id in VariantId]?: Uint8Array };
  /** The weights file. */
  readonly weights: Uint8Array;
  /** The same in parts, where they are made as they are asked for: `weights` puts them together. */
  readonly weightParts?: ByteParts;
}

/** Bytes one after the other, each part made when it is its turn, and good until the next. */
export interface ByteParts {
  /** Bytes in all. */
  readonly length: number;
  parts(): Iterable<Uint8Array>;
}

/** A manifest before hashes and file names are known. */
export type ManifestDraft = Omit<Manifest, "format" | "variants" | "weights"> & { readonly sources: readonly string[] };
