/** The folder of compiled models: a folder for each, whose name is a hash of all that it was made of. */

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

/** In each folder: what is told of the model. It is written last. */
const noteFile = "built.json";

/** What is known of a compiled model beside its files. */
export interface BuiltNote {
  /** Stem of the files. */
  readonly name: string;
  /** Sizes, in words. */
  readonly report: string;
  /** Files beside the model that were read for it, which decide about it as well. */
  readonly beside: readonly string[];
}

export interface BuiltModel extends BuiltNote {
  readonly folder: string;
}

/** The cache of the package that a folder belongs to. */
export function cacheFolderOf(root: string): string {
  for (let folder = resolve(root); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "package.json")) || dirname(folder) === folder)
      return join(dirname(folder) === folder ? resolve(root) : folder, "node_modules/.cache/wasmith");
  }
}

export const hashOf = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(String(part.length)).update(":").update(part);
  return hash.digest("hex").slice(0, 32);
};

/** What is there of this name; it counts as used now. */
export async function readBuilt(cache: string, key: string): Promise<BuiltModel | undefined> {
  const folder = join(cache, key);
  const text = await readFile(join(folder, noteFile), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const now = new Date();
  await utimes(join(folder, noteFile), now, now).catch(() => {});
  return { ...(JSON.parse(text) as BuiltNote), folder };
}

/** Fills a new folder, which appears as a whole. Who else writes the same at the same time writes the same files. */
export async function writeBuilt(
  cache: string,
  key: string,
  note: BuiltNote,
  write: (folder: string) => Promise<unknown>,
): Promise<BuiltModel> {
  const folder = join(cache, key);
  const temporary = `${folder}.${process.pid}.tmp`;
  await mkdir(temporary, { recursive: true });
  try {
    await write(temporary);
    await writeFile(join(temporary, noteFile), JSON.stringify(note));
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder).catch((error) => {
      if (!existsSync(join(folder, noteFile))) throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return { ...note, folder };
}

/** Files that models with these bytes and options were found to be made of, by the hash of both: none where nothing is known. */
export async function readBeside(cache: string, key: string): Promise<readonly string[] | undefined> {
  const text = await readFile(join(cache, `${key}.files.json`), "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as readonly string[]);
}

export async function writeBeside(cache: string, key: string, files: readonly string[]): Promise<void> {
  await mkdir(cache, { recursive: true });
  await writeFile(join(cache, `${key}.files.json`), JSON.stringify(files));
}

/** Removes what was not used for the longest time, until the rest fits. @param keep keys that are in use */
export async function prune(cache: string, maxBytes: number, keep: ReadonlySet<string>): Promise<void> {
  const entries = await Promise.all(
    (await readdir(cache).catch(() => [])).map(async (name) => {
      const path = join(cache, name);
      const files = (await readdir(path).catch(() => [])).map((file) => join(path, file));
      const found = await Promise.all((files.length > 0 ? files : [path]).map((f) => stat(f).catch(() => undefined)));
      const bytes = found.reduce((n, s) => n + (s?.size ?? 0), 0);
      return { name, path, bytes, used: found.reduce((n, s) => Math.max(n, s?.mtimeMs ?? 0), 0) };
    }),
  );
  let total = entries.reduce((n, e) => n + e.bytes, 0);
  for (const { name, path, bytes } of entries.sort((a, b) => a.used - b.used)) {
    if (total <= maxBytes) return;
    if (keep.has(name)) continue;
    await rm(path, { recursive: true, force: true });
    total -= bytes;
  }
}
