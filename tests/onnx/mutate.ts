/** Damages ONNX files: their bytes, or what they say. */
import { decodeModel, encodeModel } from "../../compiler/onnx/protobuf.js";
import { damages, graphsOf } from "./damages.js";

export type Random = () => number;

/** mulberry32 */
export function random(seed: number): Random {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function mutateBytes(bytes: Uint8Array, next: Random): Uint8Array {
  const pick = (n: number) => Math.floor(next() * n);
  const copy = Uint8Array.from(bytes);
  switch (pick(5)) {
    case 0:
      return copy.subarray(0, pick(copy.length));
    case 1: {
      for (let i = 1 + pick(8); i > 0; i--) copy[pick(copy.length)]! ^= 1 << pick(8);
      return copy;
    }
    case 2: {
      for (let i = 1 + pick(4); i > 0; i--) copy[pick(copy.length)] = [0, 1, 0x7f, 0x80, 0xff][pick(5)]!;
      return copy;
    }
    case 3: {
      const from = pick(copy.length);
      const length = pick(Math.min(64, copy.length - from));
      copy.copyWithin(pick(copy.length - length), from, from + length);
      return copy;
    }
    default: {
      const at = pick(copy.length);
      const removed = pick(16);
      return Uint8Array.from([...copy.subarray(0, at), ...copy.subarray(at + removed)]);
    }
  }
}

/** One to three changes of what the model says, in any of its graphs. */
export function mutateModel(bytes: Uint8Array, next: Random): Uint8Array {
  const pick = (n: number) => Math.floor(next() * n);
  // What is decoded shares its empty lists, which nothing may change.
  const damaged = structuredClone(decodeModel(bytes));
  const graphs = graphsOf(damaged);
  for (let i = 1 + pick(3); i > 0; i--) damages[pick(damages.length)]!(graphs[pick(graphs.length)]!, pick, damaged);
  return encodeModel(damaged);
}
