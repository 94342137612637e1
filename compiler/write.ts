/** Writes artefacts and other files to disk (Node only). */

import { ModelError } from "../ir/errors.js";
import {
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

type FileToWrite = readonly [name: string, bytes: Uint8Array | ByteParts | EncryptedFile];

/** How an artefact is written. */
export interface WriteOptions {
  /** All in one `.wasm`. Default false. */
  readonly singleFile?: boolean;
  /** Encrypts all of it by AES-GCM; `load` needs the same key. There is then no glue beside it. */
  readonly key?: ModelKey;
}

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
  const { name } = parts.manifest;
  const files = await filesOf(parts, options);
  const { fileURLToPath } = await import("node:url");
  const folder = directory instanceof URL ? fileURLToPath(directory) : directory;
  return (await writeAll(folder, files, (file) => isPartOf(name, file))).reverse();
}

async function filesOf(parts: ArtifactParts, { singleFile = false, key }: WriteOptions): Promise<FileToWrite[]> {
  const { name, weights } = parts.manifest;
  if (key !== undefined)
    return singleFile ? [[`${name}.wasm`, await encryptSingleFile(parts, key)]] : [...(await encryptFiles(parts, key))];
  return singleFile
    ? [[`${name}.wasm`, await encodeSingleFile(parts)]]
    : [[weights.file, weightsOf(parts)], ...(await encodeModules(parts))];
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
  const { mkdir } = await import("node:fs/promises");
  const { join } = await import("node:path");
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
