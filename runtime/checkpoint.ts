/** State of a training session as safetensors, and files of it. */
import { ModelError, modelError, type Problem } from "./errors.js";
import type { StateInfo } from "./format.js";
import { isNode } from "./platform.js";
import { type Safetensors, storedDtype, writeSafetensors } from "./safetensors.js";
import { byteSize } from "./tensor.js";

export const stateBytes = (s: StateInfo): number => byteSize(s.dtype, s.shape);
const width = (s: StateInfo): number => byteSize(s.dtype, []);
const typeOf = (t: { dtype: string; shape: readonly number[] }): string => `${t.dtype}[${t.shape.join(", ")}]`;

/** Copies tensors of state out of memory, widest dtype first so that each lies aligned in the file. */
export function encodeState(
  memory: Uint8Array,
  state: readonly StateInfo[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const order = [...state].sort((a, b) => width(b) - width(a));
  return writeSafetensors(
    order.map((s) => ({
      name: s.name,
      dtype: s.dtype,
      shape: s.shape,
      data: memory.subarray(s.offset, s.offset + stateBytes(s)),
    })),
    { metadata },
  );
}

/**
 * Copies a file's tensors into memory; all of `state` must be there, with its types. Nothing is changed unless all fits.
 * @param allowMore leave out what the file holds beyond `state` instead of calling it a problem.
 */
export function decodeState(
  memory: Uint8Array,
  state: readonly StateInfo[],
  file: Safetensors,
  what: string,
  allowMore: boolean,
): void {
  const problems: Problem[] = [];
  for (const s of state) {
    const found = file.tensors.get(s.name);
    const expected = typeOf({ dtype: storedDtype(s.dtype), shape: s.shape });
    if (!found) problems.push({ where: what, message: `"${s.name}" (${expected}) is missing` });
    else if (typeOf(found) !== expected)
      problems.push({ where: what, message: `"${s.name}" is ${typeOf(found)}, the model has ${expected}` });
  }
  for (const name of file.tensors.keys()) {
    if (!allowMore && !state.some((s) => s.name === name))
      problems.push({ where: what, message: `the model has no "${name}"` });
  }
  if (problems.length > 0) throw new ModelError(problems);
  for (const s of state) memory.set(file.tensors.get(s.name)!.data, s.offset);
}

/** Writes a file: after a crash there is the old one or the new one. */
export async function writeAtomically(path: string | URL, bytes: Uint8Array): Promise<void> {
  if (!isNode) throw modelError("save", "a browser has no files", "call save() and keep the bytes it returns");
  const { writeWhole } = await import("./files.js");
  await writeWhole(path, bytes, modelError);
}
