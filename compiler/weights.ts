/** The weights file: constants of the schedules, the ONNX template of a training program, then first values of the state. */

import { bytesOf, sameTensor, type Tensor } from "../ir/tensor.js";
import { alignment, type StateInfo } from "../runtime/format.js";
import { placeTensors, type StoredTensor, writeSafetensors } from "../runtime/safetensors.js";
import type { ProgramState } from "./program.js";
import type { Buffer } from "./schedule.js";

export interface PlacedWeights {
  /** The safetensors file. */
  readonly file: Uint8Array;
  /** Bytes at the start of its data section that are loaded into the weights region. */
  readonly weightsBytes: number;
  /** Offset of each weight buffer from the region's start. */
  readonly offsets: ReadonlyMap<Buffer, number>;
  /** State with addresses relative to the state region. */
  readonly state: readonly StateInfo[];
  readonly stateBytes: number;
  /** Offset of the ONNX template from the region's start, if there is one. */
  readonly templateOffset: number | undefined;
}

/** Same dtype, shape and bits: the key under which constants are stored once. */
function contentKey(t: Tensor): string {
  const bytes = bytesOf(t);
  let h1 = 0x811c9dc5;
  let h2 = 0x1b873593;
  for (let i = 0; i < bytes.length; i++) {
    h1 = Math.imul(h1 ^ bytes[i]!, 0x01000193);
    h2 = Math.imul(h2 ^ bytes[i]!, 0x85ebca6b) + i;
  }
  return `${t.dtype}:${t.shape}:${h1}:${h2}`;
}

/** Numbers for tensors, the same for those that are alike bit for bit. */
export class Contents {
  readonly #ids = new Map<Tensor, number>();
  readonly #byKey = new Map<string, Tensor[]>();

  id(t: Tensor): number {
    const known = this.#ids.get(t);
    if (known !== undefined) return known;
    const key = contentKey(t);
    const candidates = this.#byKey.get(key) ?? [];
    const same = candidates.find((c) => sameTensor(c, t));
    const id = same === undefined ? this.#ids.size : this.#ids.get(same)!;
    this.#ids.set(t, id);
    if (same === undefined) this.#byKey.set(key, [...candidates, t]);
    return id;
  }
}

const isZero = (t: Tensor): boolean => bytesOf(t).every((v) => v === 0);

export function placeWeights(
  weights: readonly Buffer[],
  state: readonly ProgramState[],
  contents: Contents,
  template?: Uint8Array,
): PlacedWeights {
  const byId = new Map<number, { readonly value: Tensor; readonly buffers: Buffer[] }>();
  for (const b of weights) {
    if (b.source.kind !== "weight") continue;
    const { value } = b.source;
    const id = contents.id(value);
    const same = byId.get(id);
    if (same) same.buffers.push(b);
    else byId.set(id, { value, buffers: [b] });
  }
  const unique = [...byId.values()];
  const stored = (name: string, t: Tensor): StoredTensor => ({
    name,
    dtype: t.dtype as StoredTensor["dtype"],
    shape: t.shape,
    data: bytesOf(t),
  });
  const initialised = state.filter((s) => !isZero(s.tensor));
  const constants = unique.map(({ value }, i) => stored(`constant.${i}`, value));
  if (template) constants.push({ name: "onnx.template", dtype: "u8", shape: [template.length], data: template });
  const tensors = [...constants, ...initialised.map((s) => stored(s.name, s.tensor))];
  const placed = placeTensors(
    tensors.map((t) => t.data.length),
    alignment,
  );
  const last = constants.length - 1;
  const offsets = new Map<Buffer, number>();
  unique.forEach(({ buffers }, i) => {
    for (const b of buffers) offsets.set(b, placed.offsets[i]!);
  });
  let at = 0;
  const infos = state.map((s): StateInfo => {
    const index = initialised.indexOf(s);
    const info: StateInfo = {
      name: s.name,
      dtype: s.tensor.dtype as StateInfo["dtype"],
      shape: s.tensor.shape,
      role: s.role,
      offset: at,
      init: index < 0 ? null : placed.offsets[constants.length + index]!,
    };
    at = Math.ceil((at + s.tensor.data.byteLength) / alignment) * alignment;
    return info;
  });
  return {
    file: writeSafetensors(tensors, { align: alignment }),
    weightsBytes: last < 0 ? 0 : placed.offsets[last]! + tensors[last]!.data.length,
    offsets,
    state: infos,
    stateBytes: at,
    templateOffset: template && placed.offsets[last]!,
  };
}
