/** External data of a model on disk: a reader that never leaves the model's folder. Node only. */
import { closeSync, fstatSync, openSync, readSync, realpathSync } from "node:fs";
import { isAbsolute, relative, resolve, sep } from "node:path";
import { ModelError } from "../../ir/errors.js";
import type { ExternalData } from "./external-data.js";

/**
 * Reads external data from a folder. Symbolic links are followed only as far as they stay inside the folder.
 * @param folder the folder of the .onnx file
 */
export function readExternalDataFrom(folder: string): ExternalData {
  const root = realpathSync(folder);
  return ({ where, location, offset, length }) => {
    let path: string;
    try {
      path = realpathSync(resolve(root, location));
    } catch (cause) {
      throw new ModelError(
        { where, message: `external data file "${location}" is missing`, hint: `put it into ${folder}` },
        { cause },
      );
    }
    const inside = relative(root, path);
    if (inside === "" || inside === ".." || inside.startsWith(`..${sep}`) || isAbsolute(inside))
      throw new ModelError({
        where,
        message: `external data file "${location}" leads outside the model's folder`,
        hint: "replace the link with the file itself",
      });
    const fd = openSync(path, "r");
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw new ModelError({ where, message: `external data "${location}" is not a regular file` });
      if (offset + length > stat.size)
        throw new ModelError({
          where,
          message: `external data needs bytes ${offset} to ${offset + length} of "${location}", which has ${stat.size}`,
          hint: "the weights file is truncated or belongs to another model",
        });
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        const got = readSync(fd, bytes, at, length - at, offset + at);
        if (got === 0) throw new ModelError({ where, message: `external data file "${location}" ended early` });
        at += got;
      }
      return bytes;
    } finally {
      closeSync(fd);
    }
  };
}
