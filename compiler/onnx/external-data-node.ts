/** External data of a model on disk: a reader that never leaves the model's folder, and never waits. Node only. */

import { ModelError } from "../../ir/errors.js";
import type { ExternalData } from "./external-data.js";

/** Node's builtins, where the code runs in Node: bundles for pages neither contain nor look for them. */
function builtins(): {
  readonly fs: typeof import("node:fs");
  readonly path: typeof import("node:path");
  readonly url: typeof import("node:url");
} {
  const load = typeof process === "undefined" ? undefined : process.getBuiltinModule;
  if (!load)
    throw new ModelError({
      where: "option path",
      message: "there are no files to read here",
      hint: "pass the bytes of the files by name with the option externalData",
    });
  return { fs: load("node:fs"), path: load("node:path"), url: load("node:url") };
}

/** The largest piece that is read at once. */
const piece = 2 ** 30;

/** Reads external data from the folder of a `.onnx` file. */
export function readExternalDataBeside(path: string | URL): ExternalData {
  const { path: paths, url } = builtins();
  const isUrl = path instanceof URL || /^file:/.test(path);
  return readExternalDataFrom(paths.dirname(paths.resolve(isUrl ? url.fileURLToPath(path) : path)));
}

/**
 * Reads external data from a folder. Symbolic links are followed only as far as they stay inside the folder.
 * @param folder the folder of the .onnx file
 */
export function readExternalDataFrom(folder: string): ExternalData {
  const { fs, path: paths } = builtins();
  return ({ where, location, offset, length }) => {
    const problem = (message: string, hint?: string, cause?: unknown): ModelError =>
      new ModelError({ where, message, hint }, { cause });
    let root: string;
    let path: string;
    try {
      root = fs.realpathSync(folder);
      path = fs.realpathSync(paths.resolve(root, location));
    } catch (cause) {
      throw problem(`external data file "${location}" is missing`, `put it into ${folder}`, cause);
    }
    const inside = paths.relative(root, path);
    if (inside === "" || inside === ".." || inside.startsWith(`..${paths.sep}`) || paths.isAbsolute(inside))
      throw problem(
        `external data file "${location}" leads outside the model's folder`,
        "replace the link with the file itself",
      );
    const regular = (stat: { isFile(): boolean }): void => {
      if (!stat.isFile()) throw problem(`external data "${location}" is not a regular file`);
    };
    let fd: number | undefined;
    try {
      // Opening a pipe would wait for its writer.
      regular(fs.statSync(path));
      fd = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
      const stat = fs.fstatSync(fd);
      regular(stat);
      if (offset + length > stat.size)
        throw problem(
          `external data needs bytes ${offset} to ${offset + length} of "${location}", which has ${stat.size}`,
          "the weights file is truncated or belongs to another model",
        );
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        const got = fs.readSync(fd, bytes, at, Math.min(piece, length - at), offset + at);
        if (got === 0) throw problem(`external data file "${location}" ended early`);
        at += got;
      }
      return bytes;
    } catch (cause) {
      if (cause instanceof ModelError) throw cause;
      throw problem(`external data file "${location}" can't be read: ${(cause as Error).message}`, undefined, cause);
    } finally {
      if (fd !== undefined) fs.closeSync(fd);
    }
  };
}
