/** Weights stored beside the model: what the file may refer to, and where they are read from. */
import { ModelError } from "../../ir/errors.js";
import { readExternalDataBeside } from "./external-data-node.js";
import { type FileBytes, fileBytes } from "./file-bytes.js";
import type { TensorProto } from "./proto-types.js";

export interface ExternalReference {
  /** The tensor, for messages. */
  readonly where: string;
  /** Path relative to the model's folder, in POSIX form, without "..". */
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** Gives exactly `length` bytes at `offset` of the file, or throws ModelError. */
export type ExternalData = (reference: ExternalReference) => Uint8Array;

export interface ExternalDataOptions {
  /** Path (or file URL) of the .onnx file, in Node: weights that are stored in files beside it are read there. */
  readonly path?: string | URL | undefined;
  /** Where there are no paths: the bytes of those files by name, or a function that reads them. */
  readonly externalData?: ExternalData | Readonly<Record<string, FileBytes>> | undefined;
  /** Most bytes to read from other files. Default 4 GiB, which is what a module can hold. */
  readonly maxExternalBytes?: number | undefined;
}

/** Reads external data from where the options say, within their budget; undefined where they say nothing. */
export function externalReader(options: ExternalDataOptions): ExternalData | undefined {
  const { path, externalData, maxExternalBytes = 2 ** 32 } = options;
  const read =
    typeof externalData === "function"
      ? externalData
      : externalData
        ? externalDataIn(externalData)
        : path === undefined
          ? undefined
          : readExternalDataBeside(path);
  if (!read) return undefined;
  let left = maxExternalBytes;
  return (reference) => {
    left -= reference.length;
    if (left >= 0) return read(reference);
    throw new ModelError({
      where: reference.where,
      message: `its ${reference.length} bytes exceed what may be read from other files (${maxExternalBytes} bytes in all)`,
      hint: "raise maxExternalBytes, if the file is to be trusted",
    });
  };
}

function entryNumber(text: string | undefined, key: string, where: string): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value))
    throw new ModelError({ where, message: `external data has a bad ${key} "${text.slice(0, 40)}"` });
  return value;
}

/**
 * What a tensor's external_data entries refer to.
 * @param expected bytes that the tensor's shape and type ask for
 * @throws ModelError if the path is absolute or climbs out of the folder, or the length differs
 */
export function externalReference(tensor: TensorProto, expected: number, where: string): ExternalReference {
  const entries = new Map((tensor.externalData ?? []).map(({ key, value }) => [key ?? "", value ?? ""]));
  const location = entries.get("location");
  if (!location) throw new ModelError({ where, message: "the data is external, but no location is given" });
  const parts = location.split(/[\\/]/);
  if (/^[A-Za-z]:/.test(location) || parts.includes("..") || location.includes("\0") || parts[0] === "")
    throw new ModelError({
      where,
      message: `external data at "${location.slice(0, 200)}" is outside the model's folder`,
      hint: "external data must be a relative path inside the folder of the .onnx file",
    });
  const offset = entryNumber(entries.get("offset"), "offset", where) ?? 0;
  const length = entryNumber(entries.get("length"), "length", where) ?? expected;
  if (length !== expected)
    throw new ModelError({ where, message: `the tensor takes ${expected} bytes, but its external data has ${length}` });
  return { where, location: parts.filter((p) => p !== "" && p !== ".").join("/"), offset, length };
}

/** External data given as bytes by file name, as a browser would have it. */
export function externalDataIn(files: Readonly<Record<string, FileBytes>>): ExternalData {
  return ({ where, location, offset, length }) => {
    const given = Object.hasOwn(files, location) ? files[location] : undefined;
    if (!given)
      throw new ModelError({
        where,
        message: `external data file "${location}" was not given`,
        hint: `given: ${Object.keys(files).join(", ") || "none"}`,
      });
    const file = fileBytes(given);
    if (offset + length > file.length)
      throw new ModelError({
        where,
        message: `external data needs bytes ${offset} to ${offset + length} of "${location}", which has ${file.length}`,
      });
    return file.subarray(offset, offset + length);
  };
}
