/** Figures of a benchmark run: what is written as JSON, how runs are merged, and what is derived. */

import { cpus, totalmem } from "node:os";
import type { Group } from "./models/model.js";

export interface Speed {
  /** Milliseconds of one run. */
  readonly min: number;
  readonly median: number;
  readonly runs: number;
  /** Largest ‖got − want‖ / ‖want‖ of the outputs against onnxruntime's native build. */
  readonly error: number;
}

export interface Start {
  /** Milliseconds from before the engine's code is loaded until the model is open, and until its first answer. */
  readonly loaded: number;
  readonly answered: number;
  /** Most bytes of memory that the process had. */
  readonly rss: number;
}

/** An engine on a host: one item for each round, or why there is none. */
export interface Measured {
  readonly speed: readonly Speed[];
  readonly start: readonly Start[];
  readonly failed?: string;
  /** Why the engine has no form of this model, which is no failure. */
  readonly unsupported?: string;
}

export interface Row {
  readonly model: string;
  readonly group: Group | "recorded";
  readonly threads: number;
  readonly tolerance: number;
  /** Milliseconds that importing and compiling took, with all variants. */
  readonly compileMs: number;
  /** Bytes of the ONNX file, and of the artefact's weights and baseline module. */
  readonly bytes: { readonly onnx: number; readonly weights: number; readonly code: number };
  /** By `engine@host`. */
  readonly engines: Readonly<Record<string, Measured>>;
}

export interface Settings {
  readonly warmUpMs: number;
  readonly ms: number;
  readonly rounds: number;
}

export interface Results {
  readonly machine: string;
  /** Versions of the hosts and engines, by name. */
  readonly versions: Readonly<Record<string, string>>;
  readonly settings: Settings;
  /** Days on which rows were measured, first and last. */
  readonly measured: readonly [string, string];
  readonly rows: readonly Row[];
}

export const machine = (): string =>
  `${cpus()[0]?.model.trim() ?? "unknown processor"}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`;

/** One run's rows added to those of earlier runs, replacing the same engines of the same models. */
export function merged(before: Results, now: Results): Results {
  if (before.machine !== now.machine)
    throw new Error(`the figures in the file are of ${before.machine}, these of ${now.machine}: write another file`);
  const { warmUpMs, ms } = before.settings;
  if (warmUpMs !== now.settings.warmUpMs || ms !== now.settings.ms)
    throw new Error(`the figures in the file have ${warmUpMs} ms of warm-up and ${ms} ms of timing: ask for the same`);
  const key = (r: Row) => `${r.model} ${r.threads}`;
  const rows = new Map(before.rows.map((r) => [key(r), r]));
  for (const row of now.rows) {
    const engines = { ...rows.get(key(row))?.engines, ...row.engines };
    rows.set(key(row), { ...row, engines });
  }
  return {
    ...now,
    versions: { ...before.versions, ...now.versions },
    measured: [before.measured[0], now.measured[1]],
    rows: [...rows.values()],
  };
}

/** Which engine ours is held against on each host. */
export const comparisons = [
  ["wasmith@node", "ort-web@node"],
  ["wasmith@node", "ort-node@node"],
  ["wasmith@newest", "ort-web@newest"],
  ["wasmith@chromium", "ort-web@chromium"],
  ["wasmith@chromium", "litert@chromium"],
] as const;

const best = (xs: readonly number[]): number | undefined => (xs.length === 0 ? undefined : Math.min(...xs));

/** Milliseconds of the best round, since other processes only ever slow one down. Undefined where nothing was measured. */
export const medianOf = (row: Row, engine: string): number | undefined =>
  best(row.engines[engine]?.speed.map((s) => s.median) ?? []);
export const minimumOf = (row: Row, engine: string): number | undefined =>
  best(row.engines[engine]?.speed.map((s) => s.min) ?? []);
export const answeredOf = (row: Row, engine: string): number | undefined =>
  best(row.engines[engine]?.start.map((s) => s.answered) ?? []);
export const memoryOf = (row: Row, engine: string): number | undefined =>
  best(row.engines[engine]?.start.map((s) => s.rss) ?? []);

type Figure = typeof medianOf;

/** How many times as fast ours is; undefined where one of both is missing. */
export function ratioOf(row: Row, [ours, theirs]: readonly [string, string], figure: Figure = medianOf) {
  const [a, b] = [figure(row, ours), figure(row, theirs)];
  return a === undefined || b === undefined ? undefined : b / a;
}

export const geomean = (xs: readonly number[]): number =>
  Math.exp(xs.reduce((sum, x) => sum + Math.log(x), 0) / xs.length);

/** Rows that have both, by how we stand: best first. */
export function ranked(rows: readonly Row[], pair: readonly [string, string], figure: Figure = medianOf) {
  return rows
    .flatMap((row) => {
      const ratio = ratioOf(row, pair, figure);
      return ratio === undefined ? [] : [{ row, ratio }];
    })
    .sort((a, b) => b.ratio - a.ratio);
}

/** In the order in which they are shown. */
export const groupTitles: Readonly<Record<Row["group"], string>> = {
  models: "Models",
  quantized: "8-bit models",
  stacks: "One row through 8 matrices of 2048²",
  kernels: "Single ops, with copies in and out",
  recorded: "Recorded models",
};
