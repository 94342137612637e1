/** Compiles a model with the built package in a process of its own. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const script = fileURLToPath(new URL("../../bench/compile-one.mjs", import.meta.url));
export const hasPackage = existsSync(fileURLToPath(new URL("../../dist/wasmith.js", import.meta.url)));

export interface CompileCost {
  /** Wall time of import and compilation together. */
  readonly seconds: number;
  /** Time of all the process's threads: what a busy machine does not inflate. */
  readonly cpuMs: number;
  readonly importMs: number;
  readonly stages: Readonly<Record<string, number>>;
  /** Most memory that the process held. */
  readonly peakBytes: number;
  /** Size of the simd128 module. */
  readonly wasmBytes: number;
}

export async function measureCompile(path: string): Promise<CompileCost> {
  const { stdout } = await promisify(execFile)(process.execPath, [script, path], { timeout: 120_000 });
  const { importMs, compileMs, ...rest } = JSON.parse(stdout) as Omit<CompileCost, "seconds"> & { compileMs: number };
  return { importMs, seconds: (importMs + compileMs) / 1000, ...rest };
}
