/** Writes an artefact to disk (Node only): each file under a temporary name first, so that a crash leaves no half file. */

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
  const { mkdir, rename, rm, writeFile } = await import("node:fs/promises");
  const { join } = await import("node:path");
  await mkdir(directory, { recursive: true });
  const paths: string[] = [];
  for (const [name, bytes] of files) {
    const path = join(directory, name);
    const temporary = `${path}.${process.pid}.tmp`;
    try {
      await writeFile(temporary, bytes);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    paths.push(path);
  }
  return paths;
}
