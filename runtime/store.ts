/**
 * State as safetensors: checkpoints, weights, and files of them. A module of its own, which is loaded by those who save, export or
 * restore; it is given the runtime's errors, of which there is one of each.
 */
import type { describe, ModelError, modelError, Problem } from "./errors.js";
import { arrayTypes, type DType, type StateInfo } from "./format.js";
import type { Machine } from "./machine.js";
import { isNode } from "./platform.js";
import { readSafetensors, type Safetensors, type StoredTensor, storedDtype, writeSafetensors } from "./safetensors.js";
import { byteSize, bytesOf, type Tensor } from "./tensor.js";

export interface Tools {
  readonly ModelError: typeof ModelError;
  readonly modelError: typeof modelError;
  readonly describe: typeof describe;
}

/** Where training stands, as a checkpoint holds it. */
export interface Place {
  readonly text: string;
  readonly tensors: Readonly<Record<string, Tensor>>;
}

/** Names of the place's tensors in files begin so. */
const placePrefix = "position/";

/** Tensors of state with the names that they have in the file. */
export type Stored = readonly (readonly [name: string, state: StateInfo])[];

const checkpointFormat = "2";
const width = (s: { readonly dtype: DType }): number => byteSize(s.dtype, []);
const typeOf = (t: { dtype: string; shape: readonly number[] }): string => `${t.dtype}[${t.shape.join(", ")}]`;

/** Copies tensors of state out of memory, widest dtype first so that each lies aligned in the file. */
export function encodeState(
  memory: Uint8Array,
  state: Stored,
  metadata: Readonly<Record<string, string>>,
  more: Place["tensors"] = {},
): Uint8Array<ArrayBuffer> {
  const tensors = [
    ...state.map(([name, { dtype, shape, offset }]) => {
      return { name, dtype, shape, data: memory.subarray(offset, offset + byteSize(dtype, shape)) };
    }),
    ...Object.entries(more).map(([name, { dtype, shape, data }]) => {
      return { name: placePrefix + name, dtype, shape, data: bytesOf(data) };
    }),
  ];
  return writeSafetensors(
    tensors.sort((a, b) => width(b) - width(a)),
    { metadata },
  );
}

/** The tensors of a file. @param tools whose errors are thrown */
export const openWeights = (bytes: Uint8Array, { modelError }: Tools): Safetensors =>
  readSafetensors(bytes, undefined, modelError);

/** All of a session's state and where its training stands, with a checksum. */
export async function encodeCheckpoint(
  memory: Uint8Array,
  state: Stored,
  place: Place | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const metadata = { wasmith_checkpoint: checkpointFormat, ...(place ? { position: place.text } : {}) };
  const draft = encodeState(memory, state, metadata, place?.tensors);
  const checksum = await checksumOf(readSafetensors(draft));
  // From the draft, since the session may go on.
  return checksum === null
    ? draft
    : encodeState(draft, placedIn(draft, state), { ...metadata, checksum }, place?.tensors);
}

/** The state as it lies in a file. */
function placedIn(file: Uint8Array, state: Stored): Stored {
  const { tensors } = readSafetensors(file);
  return state.map(([name, s]) => [name, { ...s, offset: tensors.get(name)!.data.byteOffset - file.byteOffset }]);
}

/** SHA-256 in hex over names, types and bytes; null where WebCrypto is missing (an insecure page). */
async function checksumOf({ tensors, metadata }: Safetensors): Promise<string | null> {
  const { subtle } = globalThis.crypto ?? {};
  if (!subtle) return null;
  const list = [...tensors.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const head = new TextEncoder().encode(
    JSON.stringify([metadata.position ?? null, list.map((t) => [t.name, typeOf(t)])]),
  );
  const parts = [head, ...list.map((t) => t.data)];
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  const hash = new Uint8Array(await subtle.digest("SHA-256", all));
  return Array.from(hash, (b) => b.toString(16).padStart(2, "0")).join("");
}

/** @returns the file and where its training stood. @throws ModelError where it is no whole checkpoint */
export async function openCheckpoint(
  bytes: Uint8Array,
  { modelError, describe }: Tools,
): Promise<{ readonly file: Safetensors; readonly position: (() => Place) | null }> {
  const file = readSafetensors(bytes, "checkpoint", modelError);
  const { wasmith_checkpoint: version, checksum, position: text } = file.metadata;
  if (version === undefined)
    throw modelError("checkpoint", "not a checkpoint (a file of weights alone?)", "use loadSafetensors");
  if (version !== checkpointFormat)
    throw modelError(
      "checkpoint",
      `of format ${describe(version)}, this runtime reads ${checkpointFormat}`,
      "use the runtime that wrote it",
    );
  const found = await checksumOf(file);
  if (checksum !== undefined && found !== null && checksum !== found)
    throw modelError("checkpoint", "its contents do not have its checksum: the file is damaged", "use another copy");
  const state = new Map<string, StoredTensor>();
  const tensors: Record<string, Tensor> = {};
  for (const [name, t] of file.tensors)
    if (name.startsWith(placePrefix)) tensors[name.slice(placePrefix.length)] = copied(t);
    else state.set(name, t);
  return { file: { ...file, tensors: state }, position: text === undefined ? null : () => ({ text, tensors }) };
}

const copied = ({ dtype, shape, data }: StoredTensor): Tensor =>
  ({ dtype, shape, data: new arrayTypes[dtype](data.slice().buffer as ArrayBuffer) }) as Tensor;

/**
 * Copies a file's tensors into memory; all of `state` must be there, with its types. Nothing is changed unless all fits.
 * @param allowMore leave out what the file holds beyond `state` instead of calling it a problem.
 */
export function decodeState(
  machine: Machine,
  state: Stored,
  file: Safetensors,
  what: string,
  allowMore: boolean,
  { ModelError }: Tools,
): void {
  const problems: Problem[] = [];
  const names = new Set(state.map(([name]) => name));
  for (const [name, s] of state) {
    const found = file.tensors.get(name);
    const expected = typeOf({ dtype: storedDtype(s.dtype), shape: s.shape });
    if (!found) problems.push({ where: what, message: `"${name}" (${expected}) is missing` });
    else if (typeOf(found) !== expected)
      problems.push({ where: what, message: `"${name}" is ${typeOf(found)}, the model has ${expected}` });
  }
  for (const name of file.tensors.keys())
    if (!allowMore && !names.has(name)) problems.push({ where: what, message: `the model has no "${name}"` });
  if (problems.length > 0) throw new ModelError(problems);
  for (const [name, s] of state) machine.bytes.set(file.tensors.get(name)!.data, s.offset);
  machine.changed();
}

/** Writes a file: after a crash there is the old one or the new one. */
export async function writeAtomically(path: string | URL, bytes: Uint8Array, error: typeof modelError): Promise<void> {
  if (!isNode) throw error("save", "a browser has no files", "call save() and keep the bytes it returns");
  const { writeWhole } = await import("./files.js");
  await writeWhole(path, bytes, error);
}
