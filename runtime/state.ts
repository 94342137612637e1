/** What outlives runs, as a session shows, keeps and exchanges it. */
import { describe, ModelError, modelError } from "./errors.js";
import { arrayTypes, type DType, type StateInfo, type StateRole } from "./format.js";
import type { Machine } from "./machine.js";
import { type BinarySource, read } from "./read.js";
import type { Place, Stored } from "./store.js";
import { byteSize, bytesOf, holds, type Tensor, type TensorData } from "./tensor.js";

/** A part of the state: the tensors whose names begin so. In files they have the rest of their names, as if it were the whole. */
export interface PartOptions {
  readonly prefix?: string | undefined;
}

/** A tensor of state, without its values. */
export interface StateSignature {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly role: StateRole;
}

const tools = { ModelError, modelError, describe };
const isWeight = (s: StateInfo): boolean => s.role === "param" || s.role === "buffer";

const namesOf = (state: readonly StateInfo[]): string => state.map((s) => s.name).join(", ") || "none";

/** Where there is nothing to take: weights that are compiled in are no state. */
export const nothing = (where: string) =>
  modelError(
    where,
    "no state here takes any of it",
    "weights are state in what program(net, { … }) makes, not in toGraph(net, …)",
  );

export abstract class HoldsState {
  /** @throws ModelError after dispose. */
  protected abstract get machine(): Machine;

  /** Runs one thing after the other. */
  protected abstract enqueue<T>(job: () => T | Promise<T>): Promise<T>;

  /** Names, types and roles of all state: parameters, buffers, and what optimisers and entries keep. */
  get state(): readonly StateSignature[] {
    return this.machine.manifest.state.map(({ name, dtype, shape, role }) => ({ name, dtype, shape, role }));
  }

  /** A copy of one tensor of state. */
  getState(name: string): Tensor {
    const { dtype, shape } = this.stateOf(name);
    return { dtype, shape, data: new arrayTypes[dtype](this.bytesOf(name).slice().buffer as ArrayBuffer) } as Tensor;
  }

  /** Overwrites one tensor of state. Takes effect with the next run. */
  setState(name: string, value: Tensor | TensorData): void {
    const s = this.stateOf(name);
    const { dtype, shape, data } = ArrayBuffer.isView(value) ? { dtype: s.dtype, shape: s.shape, data: value } : value;
    const fits =
      dtype === s.dtype &&
      holds(s.dtype, data) &&
      data.byteLength === byteSize(s.dtype, s.shape) &&
      String(shape) === String(s.shape);
    if (!fits)
      throw modelError(
        `state "${name}"`,
        `expected ${s.dtype}[${s.shape.join(", ")}], got ${dtype}[${shape}] in ${describe(data)}`,
      );
    this.bytesOf(name).set(bytesOf(data));
    this.machine.changed();
  }

  /** Sets state to zeros: what has this name, or a name that begins so (`"cache."`). */
  clearState(prefix: string): void {
    for (const [, s] of this.#part(prefix)) this.bytesOf(s.name).fill(0);
    this.machine.changed();
  }

  /**
   * Copies state to that of other names: `copyState("online.", "target.")` copies `online.fc.weight` to `target.fc.weight`. Or takes
   * it from another session: all that has the same name (and begins with `prefix`). What both have must be of the same types; what only
   * one of them has stays as it is.
   */
  copyState(from: string, to: string): void;
  copyState(from: HoldsState, options?: PartOptions): void;
  copyState(from: string | HoldsState, to: string | PartOptions = {}): void {
    const source = typeof from === "string" ? this : from;
    const [begin, prefix] = typeof from === "string" ? [from, to as string] : ["", (to as PartOptions).prefix ?? ""];
    const there = new Set(source.state.map((s) => s.name));
    const pairs = this.#part(prefix).flatMap(([rest, s]): (readonly [string, StateInfo])[] => {
      const name = typeof from === "string" ? begin + rest : s.name;
      return there.has(name) ? [[name, s]] : [];
    });
    if (!pairs.length) throw nothing("copyState");
    // All are read before any is written.
    const copies = pairs.map(([name, s]) => [s.name, source.getState(name)] as const);
    for (const [name, value] of copies) this.setState(name, value);
  }

  /**
   * All state (parameters, buffers, optimisers, counters, random generator) with a checksum, as a safetensors file from which all goes
   * on bit for bit. With a path (Node) it is written there atomically.
   */
  async save(path?: string | URL): Promise<Uint8Array<ArrayBuffer>> {
    const { encodeCheckpoint } = await import("./store.js");
    return this.write(() => encodeCheckpoint(this.machine.bytes, this.#part(), this.position?.()), path);
  }

  /** Goes on from what `save` wrote. @throws ModelError listing all that does not fit; then nothing was changed. */
  async restore(source: BinarySource): Promise<void> {
    const { openCheckpoint, decodeState } = await import("./store.js");
    const { file, position } = await openCheckpoint(await read(await source), tools);
    await this.enqueue(() => decodeState(this.machine, this.#part(), file, "checkpoint", false, tools));
    this.position = position;
  }

  /** The parameters and buffers by their names, as PyTorch's `state_dict` has them. */
  async exportSafetensors(path?: string | URL, { prefix }: PartOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const { encodeState } = await import("./store.js");
    return this.write(() => encodeState(this.machine.bytes, this.#part(prefix, isWeight), { format: "pt" }), path);
  }

  /**
   * Takes parameters and buffers from a safetensors file (of PyTorch, or of exportSafetensors); optimisers stay as they are. All must be
   * in the file, unless `partial`.
   */
  async loadSafetensors(
    source: BinarySource,
    { prefix, partial }: PartOptions & { readonly partial?: boolean | undefined } = {},
  ): Promise<void> {
    const { openWeights, decodeState } = await import("./store.js");
    const file = openWeights(await read(await source), tools);
    await this.enqueue(() => {
      const part = this.#part(prefix, isWeight).filter(([name]) => !partial || file.tensors.has(name));
      if (!part.length) throw nothing("loadSafetensors");
      decodeState(this.machine, part, file, "safetensors file", true, tools);
    });
  }

  /**
   * The model that predicts as an ONNX file, with the weights as they are now under their names.
   * @throws ModelError with what ONNX can't express
   */
  async exportOnnx(path?: string | URL): Promise<Uint8Array<ArrayBuffer>> {
    const { onnxFile } = await import("./onnx.js");
    return this.write(() => onnxFile(this.machine, modelError), path);
  }

  /** Tells where its training stands, for a checkpoint. */
  protected position: (() => Place) | null = null;

  protected async write(
    make: () => Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>,
    path: string | URL | undefined,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await this.enqueue(make);
    if (path !== undefined) {
      const { writeAtomically } = await import("./store.js");
      await writeAtomically(path, bytes, modelError);
    }
    return bytes;
  }

  /** @throws ModelError where there is none of this name */
  protected stateOf(name: string): StateInfo {
    const all = this.machine.manifest.state;
    const found = all.find((s) => s.name === name);
    if (found) return found;
    throw modelError(`state "${name}"`, "the model has no such state", `there are: ${namesOf(all)}`);
  }

  /** The memory of one tensor of state. */
  protected bytesOf(name: string): Uint8Array {
    const { offset, dtype, shape } = this.stateOf(name);
    return this.machine.bytes.subarray(offset, offset + byteSize(dtype, shape));
  }

  /** State whose name begins with the prefix, by the rest of the name. @throws ModelError where there is none */
  #part(prefix = "", which: (s: StateInfo) => boolean = () => true): Stored {
    const all = this.machine.manifest.state;
    const found = all.filter((s) => which(s) && s.name.startsWith(prefix));
    if (prefix && !found.length)
      throw modelError("option prefix", `no state begins with "${prefix}"`, `there are: ${namesOf(all)}`);
    return found.map((s) => [s.name.slice(prefix.length), s]);
  }
}
