/** Writes artefacts and other files to disk (Node only): each under a temporary name first, so that a crash leaves no half file. */

import { encodeFiles, encodeSingleFile } from "../runtime/encode.js";
import type { ArtifactParts } from "../runtime/format.js";

/** Paths of the files written. */
export async function writeArtifact(
  parts: ArtifactParts,
  directory: string,
  singleFile: boolean,
): Promise<readonly string[]> {
  const files = singleFile
    ? new Map([[`${parts.manifest.name}.wasm`, await encodeSingleFile(parts)]])
    : await encodeFiles(parts);
  const { mkdir } = await import("node:fs/promises");
  const { join } = await import("node:path");
  await mkdir(directory, { recursive: true });
  const paths: string[] = [];
  for (const [name, bytes] of files) {
    const path = join(directory, name);
    await writeWhole(path, bytes);
    paths.push(path);
  }
  return paths;
}

/** Writes a file under a temporary name beside its place, then renames it. */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const { rename, rm, writeFile } = await import("node:fs/promises");
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, bytes);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
