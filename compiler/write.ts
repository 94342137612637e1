/** Writes artefacts and other files to disk (Node only). */

import { ModelError } from "../ir/errors.js";
import {
  encodeGlue,
  encodeModules,
  encodeSingleFile,
  encryptFiles,
  encryptSingleFile,
  isPartOf,
  weightsOf,
} from "../runtime/encode.js";
import type { EncryptedFile, ModelKey } from "../runtime/encryption.js";
import { diskError, writeTogether, writeWhole as writeWholeFile } from "../runtime/files.js";
import type { ArtifactParts, ByteParts } from "../runtime/format.js";
import { importModule } from "../runtime/platform.js";
import { aBoolean, anything, type Checks, checkOptions } from "./options.js";
import { version } from "./version.js";

/** What the build writes beside the runtime: names of its files, `runtime.js` last. */
const runtimeList = "runtime-files.json";

type FileToWrite = readonly [name: string, bytes: Uint8Array | ByteParts | EncryptedFile];

/** How an artefact is written. */
export interface WriteOptions {
  /** All in one `.wasm`, beside the glue. Default false. */
  readonly singleFile?: boolean;
  /** Copies the runtime beside the artefact, for pages and workers without a bundler: the glue imports it from there. Default false. */
  readonly standalone?: boolean;
  /**
   * The glue imports the module compiled (`import module from "./NAME.wasm?module"`), as hosts demand that compile none at run time. Only
   * with `singleFile`. Default false, or true with the preset `"edge"`.
   */
  readonly importModule?: boolean;
  /** Encrypts all of it by AES-GCM; `load` needs the same key. There is then no glue beside it. */
  readonly key?: ModelKey;
}

const writeChecks: Checks<WriteOptions> = {
  singleFile: aBoolean,
  standalone: aBoolean,
  importModule: aBoolean,
  key: anything,
};

/** A graph's name as the stem of files: names of imported graphs are what some exporter chose. */
export const fileNameOf = (name: string): string => name.replace(/[^\w.-]/g, "_").slice(0, 100) || "model";

/** For modules of the runtime that are told which error to make. */
export const modelError = (where: string, message: string, hint?: string, cause?: unknown): ModelError =>
  new ModelError({ where, message, hint }, { cause });

/**
 * Writes an artefact, so that at any moment, whenever the process is killed and whoever else writes, the folder holds one whole
 * artefact: the one before or the new one. Files that only the one before needs are removed afterwards.
 *
 * @returns paths of the files written
 * @throws ModelError where the disk is full or does not allow it, or the key is none
 */
export async function writeArtifact(
  parts: ArtifactParts,
  directory: string | URL,
  options: WriteOptions,
): Promise<readonly string[]> {
  checkOptions("write", options, writeChecks);
  if (options.importModule && !options.singleFile)
    throw new ModelError({
      where: "option importModule",
      message: "a compiled module holds neither other variants nor the weights",
      hint: "add singleFile: true",
    });
  const { name } = parts.manifest;
  const { fileURLToPath } = await importModule<typeof import("node:url")>("node:url");
  const folder = directory instanceof URL ? fileURLToPath(directory) : directory;
  const runtime = options.standalone ? await writeRuntime(folder, options) : undefined;
  const files = await filesOf(parts, options, runtime);
  return (await writeAll(folder, files, (file) => isPartOf(name, file))).reverse();
}

async function filesOf(
  parts: ArtifactParts,
  { singleFile = false, importModule = false, key }: WriteOptions,
  runtime: string | undefined,
): Promise<FileToWrite[]> {
  const { name, weights } = parts.manifest;
  if (key !== undefined)
    return singleFile ? [[`${name}.wasm`, await encryptSingleFile(parts, key)]] : [...(await encryptFiles(parts, key))];
  const glue = { runtime, singleFile, importModule };
  return singleFile
    ? [...encodeGlue(parts, glue), [`${name}.wasm`, await encodeSingleFile(parts)]]
    : [[weights.file, weightsOf(parts)], ...(await encodeModules(parts, glue))];
}

/** Copies the runtime as it was built into a folder of its own. @returns how glue imports it */
async function writeRuntime(folder: string, { key }: WriteOptions): Promise<string> {
  if (key !== undefined)
    throw new ModelError({
      where: "option standalone",
      message: "an encrypted artefact has no glue, which would import the runtime",
      hint: "leave it out, and load the artefact with the runtime and the key",
    });
  const { createRequire } = await importModule<typeof import("node:module")>("node:module");
  const { readFile } = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
  const { dirname, join } = await importModule<typeof import("node:path")>("node:path");
  const built = dirname(createRequire(import.meta.url).resolve("wasmith/runtime"));
  const list = await readFile(join(built, runtimeList), "utf8").catch((cause) => {
    throw diskError(join(built, runtimeList), "read", cause, modelError);
  });
  const names: readonly string[] = JSON.parse(list);
  const files = await Promise.all(names.map(async (name) => [name, await readFile(join(built, name))] as const));
  // Versions of the runtime lie side by side, as artefacts that need them do.
  const own = `wasmith-${version}`;
  await writeAll(join(folder, own), files);
  return `./${own}/runtime.js`;
}

/**
 * Writes files into a folder, which is made if it is not there. The last one appears after the others.
 *
 * @param isReplaced names of files that are removed then, if they are not among those written
 * @returns their paths
 * @throws ModelError where the disk is full or does not allow it
 */
export async function writeAll(
  folder: string,
  files: readonly FileToWrite[],
  isReplaced: (name: string) => boolean = () => false,
): Promise<string[]> {
  const { mkdir } = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
  const { join } = await importModule<typeof import("node:path")>("node:path");
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw diskError(folder, "made", cause, modelError);
  }
  await writeTogether(folder, files, isReplaced, modelError);
  return files.map(([name]) => join(folder, name));
}

/** Writes a file whole or not at all. @throws ModelError where the disk is full or does not allow it */
export function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  return writeWholeFile(path, bytes, modelError);
}
