/** The weights file: constants of the schedules, the ONNX template of a training program, then first values of the state. */

import { dtypeInfo } from "../ir/dtype.js";
import { bytesOf, elementCount, sameTensor, type Tensor } from "../ir/tensor.js";
import { alignment, type ByteParts, type StateInfo } from "../runtime/format.js";
import { layOut, placeTensors, type StoredTensor } from "../runtime/safetensors.js";
import type { ProgramState } from "./program.js";
import type { Buffer, Derived } from "./schedule.js";

export interface PlacedWeights {
  /** The safetensors file. Weights that are computed from others are, whenever its parts are asked for. */
  readonly file: ByteParts;
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

type Weight = Tensor | Derived;

/** Bytes that a weight takes in the file. */
export const storedBytes = ({ dtype, shape }: Weight): number => elementCount(shape) * dtypeInfo[dtype].bytes;

/** Same dtype, shape and bits: the key under which constants are stored once. */
function contentKey(t: Tensor): string {
  const bytes = bytesOf(t);
  const isAligned = bytes.byteOffset % 4 === 0;
  const words = isAligned ? new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2) : new Int32Array();
  let h1 = 0x811c9dc5;
  let h2 = 0x1b873593;
  const add = (value: number, i: number) => {
    h1 = Math.imul(h1 ^ value, 0x01000193);
    h2 = Math.imul(h2 ^ value, 0x85ebca6b) + i;
  };
  for (let i = 0; i < words.length; i++) add(words[i]!, i);
  for (let i = words.length * 4; i < bytes.length; i++) add(bytes[i]!, i);
  return `${t.dtype}:${t.shape}:${h1}:${h2}`;
}

/** Numbers for weights, the same for those that are alike bit for bit. */
export class Contents {
  readonly #ids = new Map<Weight, number>();
  readonly #byKey = new Map<string, Tensor[]>();
  readonly #ways = new Map<string, number>();

  id(w: Weight): number {
    const known = this.#ids.get(w);
    if (known !== undefined) return known;
    const id = ("fill" in w ? this.#sameWay(w) : this.#sameBits(w)) ?? this.#ids.size;
    this.#ids.set(w, id);
    return id;
  }

  #sameWay({ from, how, dtype, shape }: Derived): number | undefined {
    const key = `${this.id(from)} ${how} ${dtype}[${shape}]`;
    const known = this.#ways.get(key);
    if (known === undefined) this.#ways.set(key, this.#ids.size);
    return known;
  }

  #sameBits(t: Tensor): number | undefined {
    const key = contentKey(t);
    const candidates = this.#byKey.get(key) ?? [];
    const same = candidates.find((c) => sameTensor(c, t));
    if (same === undefined) this.#byKey.set(key, [...candidates, t]);
    return same && this.#ids.get(same);
  }
}

const isZero = (t: Tensor): boolean => bytesOf(t).every((v) => v === 0);

interface Stored extends Omit<StoredTensor, "data"> {
  readonly bytes: number;
  data(memory: Memory): Uint8Array;
}

/** Memory for what is only needed until the next is: zeros. */
class Memory {
  #buffer = new ArrayBuffer(0);

  zeros(bytes: number): ArrayBuffer {
    if (this.#buffer.byteLength < bytes) this.#buffer = new ArrayBuffer(bytes);
    else new Uint8Array(this.#buffer, 0, bytes).fill(0);
    return this.#buffer;
  }
}

/** The bytes of a weight; of one that is computed, until the next is. */
function bytesOfWeight(w: Weight, memory: Memory): Uint8Array {
  if (!("fill" in w)) return bytesOf(w);
  const { dtype, shape } = w;
  const data = new dtypeInfo[dtype].array(memory.zeros(storedBytes(w)), 0, elementCount(shape));
  w.fill({ dtype, shape, data });
  return new Uint8Array(data.buffer, 0, data.byteLength);
}

function fileOf(tensors: readonly Stored[]): ByteParts {
  const sizes = tensors.map((t) => t.bytes);
  const { header, offsets, bytes } = layOut(tensors, sizes, { align: alignment });
  function* parts(): Generator<Uint8Array> {
    yield header;
    const memory = new Memory();
    let end = 0;
    for (const [i, t] of tensors.entries()) {
      if (offsets[i]! > end) yield new Uint8Array(offsets[i]! - end);
      yield t.data(memory);
      end = offsets[i]! + sizes[i]!;
    }
  }
  return { length: header.length + bytes, parts };
}

export function placeWeights(
  weights: readonly Buffer[],
  state: readonly ProgramState[],
  contents: Contents,
  template?: Uint8Array,
): PlacedWeights {
  const byId = new Map<number, { readonly value: Weight; readonly buffers: Buffer[] }>();
  for (const b of weights) {
    if (b.source.kind !== "weight") continue;
    const { value } = b.source;
    const id = contents.id(value);
    const same = byId.get(id);
    if (same) same.buffers.push(b);
    else byId.set(id, { value, buffers: [b] });
  }
  const unique = [...byId.values()];
  const stored = (name: string, w: Weight): Stored => ({
    name,
    dtype: w.dtype as StoredTensor["dtype"],
    shape: w.shape,
    bytes: storedBytes(w),
    data: (memory) => bytesOfWeight(w, memory),
  });
  const initialised = state.filter((s) => !isZero(s.tensor));
  const constants = unique.map(({ value }, i) => stored(`constant.${i}`, value));
  if (template) {
    const bytes = template.length;
    constants.push({ name: "onnx.template", dtype: "u8", shape: [bytes], bytes, data: () => template });
  }
  const tensors = [...constants, ...initialised.map((s) => stored(s.name, s.tensor))];
  const placed = placeTensors(
    tensors.map((t) => t.bytes),
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
    file: fileOf(tensors),
    weightsBytes: last < 0 ? 0 : placed.offsets[last]! + tensors[last]!.bytes,
    offsets,
    state: infos,
    stateBytes: at,
    templateOffset: template && placed.offsets[last]!,
  };
}
