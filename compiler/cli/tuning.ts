/** Tunings of the command line: from a file, or measured here and written beside the artefact. */

import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { ModelError } from "../../ir/errors.js";
import { load } from "../../runtime/index.js";
import type { CompileOptions } from "../compile.js";
import type { Program } from "../program.js";
import { type LoadSession, tune } from "../tune/tune.js";
import { readTuning, type Tuning } from "../tune/tuning.js";
import type { DimOption } from "./dim-flag.js";

export interface TuningFlags {
  readonly tune?: boolean;
  readonly tuning?: string;
  readonly tuneDim?: DimOption;
}

/** @throws ModelError where flags exclude each other, or a size is a range */
export function checkTuningFlags({ tune, tuning, tuneDim }: TuningFlags): void {
  if (tune && tuning !== undefined)
    throw new ModelError({
      where: "--tuning",
      message: "--tune measures, --tuning takes what was measured",
      hint: "give one of them",
    });
  if (tuneDim && !tune)
    throw new ModelError({ where: "--tune-dim", message: "nothing is measured", hint: "add --tune" });
  for (const [name, size] of Object.entries(tuneDim ?? {}))
    if (typeof size !== "number")
      throw new ModelError({
        where: "--tune-dim",
        message: `dim ${name} needs one value here`,
        hint: `--tune-dim ${name}=${size[1]}`,
      });
}

/** The tuning of a file. @throws ModelError where it can't be read, or is none */
export async function readTuningFile(path: string): Promise<Tuning> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new ModelError({
      where: path,
      message: `it can't be read as JSON: ${error instanceof Error ? error.message : String(error)}`,
      hint: "--tuning takes the file that --tune wrote beside an artefact",
    });
  }
  return readTuning(value, path);
}

/** Measures in this process, and tells on standard error how far it is. */
export function measuredTuning(
  program: Program,
  options: CompileOptions,
  dims: DimOption | undefined,
): Promise<Tuning> {
  const { tuning: _, onWarning: __, ...own } = options;
  return tune(program, {
    ...own,
    load: load as unknown as LoadSession,
    dims: (dims ?? {}) as Readonly<Record<string, number>>,
    engine: `Node.js ${process.versions.node}, V8 ${process.versions.v8}, ${cpus()[0]?.model.trim() ?? process.arch}`,
    onProgress: ({ round, rounds, faster }) =>
      console.error(`tuning: round ${round} of ${rounds}, ${faster} kinds of nodes are faster`),
  });
}
