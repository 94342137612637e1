/** onnxruntime's `env`: flags of all sessions that are created afterwards. */

import { version } from "../compiler/version.js";
import { ModelError } from "../ir/errors.js";

export type LogLevel = "verbose" | "info" | "warning" | "error" | "fatal";
const logLevels: readonly string[] = ["verbose", "info", "warning", "error", "fatal"];

/** The version of onnxruntime-common whose API this is. */
const commonVersion = "1.30.0";

/** What is wasmith's own: where artefacts are kept, and what compiles. */
export interface WasmithFlags {
  /**
   * Keeps compiled models for the next time: true (the default), or false. In Node a path says where, which is otherwise the folder that
   * the operating system has for caches; in pages they are in Cache Storage.
   */
  cache: boolean | string;
  /** Most bytes that kept models take; those not used for longest go first. Default 1 GiB. */
  maxCacheBytes: number;
  /** Compiles in a worker, so that a page or the event loop goes on. Default true. */
  worker: boolean;
  /** Where `ort-worker.js` is, if not beside wasmith's own files. */
  workerUrl: URL | string | undefined;
  /** Told how far a session is that is being created. */
  onProgress: ((progress: Progress) => void) | undefined;
}

/** A stage that has ended. */
export interface Progress {
  /** `"read"`, the compiler's own stages (`"import"`, `"passes"`, `"lower"`, `"emit"`), `"store"`, `"load"`. */
  readonly stage: string;
  readonly milliseconds: number;
}

export interface Env {
  logLevel: LogLevel;
  debug?: boolean;
  trace?: boolean;
  readonly versions: { readonly common: string; readonly wasmith: string };
  readonly wasm: {
    /** Threads of a session. 0 or nothing: half of the cores, at most 4, where the host has threads at all. */
    numThreads?: number;
    simd?: boolean | "fixed" | "relaxed";
    initTimeout?: number;
    wasmPaths?: unknown;
    wasmBinary?: unknown;
    proxy?: boolean;
  };
  readonly webgl: Record<string, unknown>;
  readonly webgpu: Record<string, unknown>;
  readonly wasmith: WasmithFlags;
  [name: string]: unknown;
}

let logLevel: LogLevel = "warning";

export const env: Env = {
  wasm: {},
  webgl: {},
  webgpu: {},
  versions: { common: commonVersion, wasmith: version },
  wasmith: { cache: true, maxCacheBytes: 2 ** 30, worker: true, workerUrl: undefined, onProgress: undefined },
  get logLevel() {
    return logLevel;
  },
  set logLevel(value: LogLevel) {
    if (value === undefined) return;
    if (!logLevels.includes(value))
      throw new ModelError({
        where: "env.logLevel",
        message: `Unsupported logging level: ${value}`,
        hint: `the levels are: ${logLevels.join(", ")}`,
      });
    logLevel = value;
  },
};

/** Tells what went wrong without ending anything, unless only errors are to be told. */
export function warn(text: string, error?: unknown): void {
  if (logLevels.indexOf(logLevel) <= logLevels.indexOf("warning"))
    console.warn(`wasmith/ort: ${text}${error === undefined ? "" : `: ${(error as Error).message ?? error}`}`);
}
