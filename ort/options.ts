/** Options of sessions and runs: those of onnxruntime, and wasmith's own. */

import {
  aBoolean,
  aFunction,
  anObject,
  anything,
  aString,
  atLeast,
  type Check,
  type Checks,
  checked,
  checkOptions,
  either,
  listOf,
  oneOf,
  recordOf,
} from "../compiler/options.js";
import { ModelError } from "../ir/errors.js";
import type { Progress } from "./env.js";

/** Bytes, or where they are: a path in Node, an address elsewhere. */
export type ModelFile = string | URL | Uint8Array | ArrayBuffer | Blob;

/** A file that the model keeps weights in: its name there, and its bytes or where they are. */
export type ExternalFile = string | { readonly path: string; readonly data: ModelFile };

/** wasmith's own options. */
export interface WasmithOptions {
  /** The artefact that was compiled ahead of time, or false: none is looked for. Default: `model.wasmith/model.wasm` beside `model.onnx`. */
  readonly artifact?: string | URL | false;
  /** Threads of this session; over `intraOpNumThreads` and `env.wasm.numThreads`. */
  readonly threads?: number;
  /** Never takes relaxed SIMD, whose results may differ in the last bits between machines. Default false. */
  readonly deterministic?: boolean;
  /** Most artefacts for different feeds that the session holds at a time. Default 4. */
  readonly maxArtifacts?: number;
  /** Over `env.wasmith`. */
  readonly cache?: boolean | string;
  readonly worker?: boolean;
  readonly onProgress?: (progress: Progress) => void;
}

/** onnxruntime's options of a session. Those that say nothing to wasmith are taken and do nothing: docs/ORT.md lists them. */
export interface SessionOptions {
  readonly executionProviders?: readonly (string | { readonly name: string })[];
  readonly intraOpNumThreads?: number;
  readonly interOpNumThreads?: number;
  /** Sizes of named dimensions, by their names. */
  readonly freeDimensionOverrides?: Readonly<Record<string, number>>;
  readonly graphOptimizationLevel?: "disabled" | "basic" | "extended" | "layout" | "all";
  readonly enableCpuMemArena?: boolean;
  readonly enableMemPattern?: boolean;
  readonly executionMode?: "sequential" | "parallel";
  readonly optimizedModelFilePath?: string;
  readonly enableProfiling?: boolean;
  readonly profileFilePrefix?: string;
  readonly logId?: string;
  readonly logSeverityLevel?: 0 | 1 | 2 | 3 | 4;
  readonly logVerbosityLevel?: number;
  readonly preferredOutputLocation?: string | Readonly<Record<string, string>>;
  readonly enableGraphCapture?: boolean;
  readonly extra?: Record<string, unknown>;
  readonly externalData?: readonly ExternalFile[];
  readonly wasmith?: WasmithOptions;
}

export interface RunOptions {
  readonly logSeverityLevel?: 0 | 1 | 2 | 3 | 4;
  readonly logVerbosityLevel?: number;
  readonly terminate?: boolean;
  readonly tag?: string;
  readonly extra?: Record<string, unknown>;
  /** Ends the run. */
  readonly signal?: AbortSignal;
}

const named: Check = {
  expected: "an object with a name",
  fits: (v) => anObject.fits(v) && aString.fits((v as { name?: unknown }).name),
};
const severity = oneOf(0, 1, 2, 3, 4);
/** Results are in the memory of JavaScript. */
const onCpu = oneOf("cpu", "cpu-pinned");
const aFile: Check = {
  expected: "a name, or { path, data }",
  fits: (v) =>
    aString.fits(v) || (anObject.fits(v) && aString.fits((v as { path?: unknown }).path) && "data" in (v as object)),
};

const sessionChecks: Checks<SessionOptions> = {
  executionProviders: listOf(either(aString, named)),
  intraOpNumThreads: atLeast(0),
  interOpNumThreads: atLeast(0),
  freeDimensionOverrides: recordOf(atLeast(0)),
  graphOptimizationLevel: oneOf("disabled", "basic", "extended", "layout", "all"),
  enableCpuMemArena: aBoolean,
  enableMemPattern: aBoolean,
  executionMode: oneOf("sequential", "parallel"),
  optimizedModelFilePath: aString,
  enableProfiling: aBoolean,
  profileFilePrefix: aString,
  logId: aString,
  logSeverityLevel: severity,
  logVerbosityLevel: atLeast(0),
  preferredOutputLocation: either(onCpu, recordOf(onCpu)),
  enableGraphCapture: aBoolean,
  extra: anObject,
  externalData: listOf(aFile),
  wasmith: anObject,
};

const wasmithChecks: Checks<WasmithOptions> = {
  artifact: either(aString, { expected: "a URL", fits: (v) => v instanceof URL }, oneOf(false)),
  threads: atLeast(1, 256),
  deterministic: aBoolean,
  maxArtifacts: atLeast(1),
  cache: either(aBoolean, aString),
  worker: aBoolean,
  onProgress: aFunction,
};

const runChecks: Checks<RunOptions> = {
  logSeverityLevel: severity,
  logVerbosityLevel: atLeast(0),
  terminate: aBoolean,
  tag: aString,
  extra: anything,
  signal: { expected: "an AbortSignal", fits: (v) => v instanceof AbortSignal },
};

/** @throws ModelError listing options that do not exist, or are not what they are to be */
export function sessionOptions(
  options: SessionOptions | undefined,
): SessionOptions & { readonly wasmith: WasmithOptions } {
  const given = checked("InferenceSession.create", options, sessionChecks);
  return { ...given, wasmith: checked("wasmith", given.wasmith, wasmithChecks) };
}

/** @throws ModelError likewise, and where the run is to end before it begins */
export function checkRunOptions(options: RunOptions): void {
  checkOptions("run", options, runChecks);
  if (options.terminate) throw new ModelError({ where: "option terminate", message: "the run was asked to end" });
}
