/** Compiled models in a folder. Node only. */

import { cacheFolder } from "../compiler/env.js";
import { modelError } from "../runtime/errors.js";
import { importModule } from "../runtime/platform.js";
import { evicted, type Store } from "./store.js";

/** The folder that is given, or the one that the operating system has for caches. */
export async function folderStore(folder: string | undefined, limit: number): Promise<Store> {
  const fs = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
  const { join, dirname } = await importModule<typeof import("node:path")>("node:path");
  const { homedir } = await importModule<typeof import("node:os")>("node:os");
  const root = folder ?? join(cacheFolder(process.platform, homedir()), "wasmith", "ort");
  const at = (name: string): string => join(root, ...name.split("/"));
  const missing = (error: NodeJS.ErrnoException): undefined => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  };

  /** Another process may remove what is listed here at any time. */
  async function tidy(kept: string): Promise<void> {
    const names = await fs.readdir(root, { recursive: true });
    const found = await Promise.all(
      names.map(async (name) => {
        const stat = await fs.stat(join(root, name)).catch(missing);
        return stat?.isFile() ? [{ name: name.replaceAll("\\", "/"), bytes: stat.size, used: stat.mtimeMs }] : [];
      }),
    );
    for (const name of evicted(found.flat(), limit, kept)) {
      await fs.rm(at(name), { force: true });
      // Only folders that are empty can be removed so.
      await fs.rmdir(dirname(at(name))).catch(() => {});
    }
  }

  return {
    read: (name) => fs.readFile(at(name)).catch(missing),
    async open(name) {
      const now = new Date();
      const exists = await fs.utimes(at(name), now, now).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          // A folder that can only be read serves as well.
          if (error.code === "EROFS" || error.code === "EPERM" || error.code === "EACCES") return true;
          return missing(error) ?? false;
        },
      );
      return exists ? at(name) : undefined;
    },
    async write(name, bytes) {
      const { writeWhole } = await import("../runtime/files.js");
      await fs.mkdir(dirname(at(name)), { recursive: true });
      await writeWhole(at(name), bytes, modelError);
      await tidy(name);
    },
    remove: (name) => fs.rm(at(name), { force: true }),
  };
}
