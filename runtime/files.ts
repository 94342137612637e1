/**
 * Files in Node, written whole or not at all. A module of its own, which is loaded where a path is given: pages never need it.
 *
 * Everything is written under temporary names that no other writer has, brought to the disk, and renamed. A killed process leaves
 * its temporaries behind; the next writer in the folder removes them.
 */
import type { EncryptedFile } from "./encryption.js";
import type { modelError } from "./errors.js";
import type { ByteParts } from "./format.js";
import { importModule } from "./platform.js";

type FileSystem = typeof import("node:fs/promises");
type File = readonly [name: string, bytes: Uint8Array | ByteParts | EncryptedFile];

/** `.wasmith.HOST.PID.RANDOM.tmp` */
const temporaryName = /^\.wasmith\.([0-9a-f]{8})\.(\d+)\.[0-9a-z]+\.tmp$/;
/** A temporary of another machine (on a shared disk) is taken for abandoned after this time, in ms. */
const abandonedAfter = 3_600_000;
/** Files that are compared with what is there before they are written. */
const smallBytes = 65_536;

const causes: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  ENOSPC: ["the disk is full", "free some space, or choose another folder"],
  EDQUOT: ["the disk quota is used up", "free some space, or choose another folder"],
  EROFS: ["the file system is read-only", "choose another folder"],
  EACCES: ["permission denied", "choose another folder, or change its permissions"],
  EPERM: ["permission denied", "choose another folder, or change its permissions"],
  ENOENT: ["its folder does not exist", "make the folder first"],
  ENOTDIR: ["a part of the path is a file, not a folder", "choose another folder"],
  EEXIST: ["a file is where the folder should be", "choose another folder"],
  EISDIR: ["a folder has this name", "choose another name"],
  EFBIG: ["the file is larger than a limit allows", "raise the limit (ulimit -f), or choose another file system"],
  EMFILE: ["too many files are open", "close some, or raise the limit (ulimit -n)"],
  ENAMETOOLONG: ["the name is too long for the file system", "choose a shorter one"],
};

/** The ModelError of what the file system said. @param make makes it, of the caller's own class */
export function diskError(path: string, verb: string, cause: unknown, make: typeof modelError): Error {
  const { code = "", message } = cause as NodeJS.ErrnoException;
  const [what, hint] = causes[code] ?? [];
  return make(path, `can't be ${verb}: ${what ? `${code}: ${what}` : message}`, hint, cause);
}

async function myPrefix(): Promise<string> {
  const { hostname } = await importModule<typeof import("node:os")>("node:os");
  const { createHash } = await importModule<typeof import("node:crypto")>("node:crypto");
  return `.wasmith.${createHash("sha256").update(hostname()).digest("hex").slice(0, 8)}.`;
}

async function writeSynced(fs: FileSystem, path: string, bytes: File[1]): Promise<bigint> {
  const file = await fs.open(path, "wx");
  try {
    for await (const part of "parts" in bytes ? bytes.parts() : [bytes]) await file.writeFile(part);
    await file.sync();
    return (await file.stat({ bigint: true })).ino;
  } finally {
    await file.close();
  }
}

/** Makes renames in the folder last. Some platforms can't open folders, and need not. */
async function syncFolder(fs: FileSystem, folder: string): Promise<void> {
  const handle = await fs.open(folder, "r").catch(() => null);
  await handle?.sync().catch(() => {});
  await handle?.close();
}

async function isSame(fs: FileSystem, path: string, bytes: File[1]): Promise<boolean> {
  if (bytes.length > smallBytes || "parts" in bytes) return false;
  const found = await fs.stat(path).catch(() => null);
  if (!found?.isFile() || found.size !== bytes.length) return false;
  const there = await fs.readFile(path);
  return bytes.every((b, i) => b === there[i]);
}

/**
 * Writes files so that whoever looks, at any moment and after any crash, finds the last of them with all the others that it needs:
 * it is renamed after them. Files that only older versions of the last one need are then removed.
 *
 * @param isGenerated names of files that are removed when they are not among `files`
 * @throws the error made by `make` where the disk is full or does not allow it; what was there is then still whole
 */
export async function writeTogether(
  folder: string,
  files: readonly File[],
  isGenerated: (name: string) => boolean,
  make: typeof modelError,
): Promise<void> {
  const fs = await importModule<FileSystem>("node:fs/promises");
  const { join } = await importModule<typeof import("node:path")>("node:path");
  const prefix = await myPrefix();
  const temporaries = new Map<string, string>();
  const last = files.at(-1)![0];
  let inode = 0n;
  let place = folder;
  try {
    for (const [name, bytes] of files) {
      place = join(folder, name);
      if (name !== last && (await isSame(fs, place, bytes))) continue;
      const random = Math.random().toString(36).slice(2, 12) || "0";
      const temporary = join(folder, `${prefix}${process.pid}.${random}.tmp`);
      temporaries.set(name, temporary);
      inode = await writeSynced(fs, temporary, bytes);
    }
    for (const [name, temporary] of temporaries) {
      place = join(folder, name);
      // What the last one names is on the disk before it.
      if (name === last) await syncFolder(fs, folder);
      await fs.rename(temporary, place);
      temporaries.delete(name);
    }
    await syncFolder(fs, folder);
  } catch (cause) {
    await Promise.all([...temporaries.values()].map((path) => fs.rm(path, { force: true }).catch(() => {})));
    throw diskError(place, "written", cause, make);
  }
  await tidy(fs, folder, prefix, (name) => isGenerated(name) && !files.some(([kept]) => kept === name), {
    path: join(folder, last),
    inode,
  }).catch(() => {});
}

/** Removes abandoned temporaries, and, if no other writer is about and `last` is still ours, what `isOld`. */
async function tidy(
  fs: FileSystem,
  folder: string,
  prefix: string,
  isOld: (name: string) => boolean,
  last: { readonly path: string; readonly inode: bigint },
): Promise<void> {
  const at = (name: string): string => `${folder}/${name}`;
  const identify = async (path: string): Promise<string> => {
    const { ino, ctimeNs } = await fs.lstat(path, { bigint: true });
    return `${ino} ${ctimeNs}`;
  };
  const names = await fs.readdir(folder);
  const old = await Promise.all(names.filter(isOld).map(async (name) => [at(name), await identify(at(name))] as const));
  let others = false;
  for (const name of names) {
    const match = temporaryName.exec(name);
    if (!match) continue;
    if (await isAbandoned(fs, at(name), name.startsWith(prefix), Number(match[2])))
      await fs.rm(at(name), { force: true });
    else others = true;
  }
  // Another writer may be about to name them; the last one to end tidies up.
  if (others || (await fs.stat(last.path, { bigint: true })).ino !== last.inode) return;
  for (const [path, identity] of old) if ((await identify(path)) === identity) await fs.rm(path, { force: true });
}

async function isAbandoned(fs: FileSystem, path: string, ours: boolean, pid: number): Promise<boolean> {
  if (ours && !isAlive(pid)) return true;
  const found = await fs.stat(path).catch(() => null);
  return found === null || Date.now() - found.mtimeMs > abandonedAfter;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Writes one file. @throws the error made by `make` */
export async function writeWhole(path: string | URL, bytes: Uint8Array, make: typeof modelError): Promise<void> {
  const { dirname, basename, resolve } = await importModule<typeof import("node:path")>("node:path");
  const { fileURLToPath } = await importModule<typeof import("node:url")>("node:url");
  let target: string;
  try {
    target = resolve(typeof path === "string" && !/^file:/.test(path) ? path : fileURLToPath(path));
  } catch (cause) {
    throw diskError(String(path), "written", cause, make);
  }
  await writeTogether(dirname(target), [[basename(target), bytes]], () => false, make);
}
