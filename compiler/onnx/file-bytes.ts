/** The bytes of a file, however they are given. */

import { ModelError } from "../../ir/errors.js";
import { describe } from "../options.js";

export type FileBytes = ArrayBuffer | ArrayBufferView;

/** The bytes of what was given as a file. @throws ModelError that says what to pass instead */
export function fileBytes(file: FileBytes): Uint8Array {
  if (file instanceof Uint8Array) return file;
  if (file instanceof ArrayBuffer) return new Uint8Array(file);
  if (ArrayBuffer.isView(file)) return new Uint8Array(file.buffer as ArrayBuffer, file.byteOffset, file.byteLength);
  const given: unknown = file;
  const has = (name: string) => typeof given === "object" && given !== null && name in given;
  const hint =
    typeof given === "string" || given instanceof URL
      ? "importOnnx takes the file's bytes: importOnnx(readFileSync(path), { path }), or in a page new Uint8Array(await (await fetch(url)).arrayBuffer())"
      : has("then")
        ? "await it first"
        : has("arrayBuffer")
          ? "pass await it.arrayBuffer()"
          : "pass the file as a Uint8Array or ArrayBuffer";
  throw new ModelError({ message: `expected the bytes of an ONNX file, got ${describe(given)}`, hint });
}
