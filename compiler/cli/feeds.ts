/** Inputs for `run` and `bench` from a safetensors file. */

import { readFile } from "node:fs/promises";
import type { DType } from "../../ir/dtype.js";
import { type Tensor, zeros } from "../../ir/tensor.js";
import { readSafetensors, storedDtype } from "../../runtime/safetensors.js";
import { onDisk } from "./download.js";

/** Tensors of a safetensors file, by name. */
export async function readTensors(given: string): Promise<Record<string, Tensor>> {
  const path = await onDisk(given);
  const { tensors } = readSafetensors(new Uint8Array(await readFile(path)), path);
  const found: Record<string, Tensor> = {};
  for (const t of tensors.values()) {
    const copy = zeros(t.dtype, t.shape);
    new Uint8Array(copy.data.buffer).set(t.data);
    found[t.name] = copy;
  }
  return found;
}

/** A tensor of a file as one of the dtype, where the file has no name for it and holds its elements as another's. */
export function asStored(t: Tensor, dtype: DType): Tensor {
  return t.dtype !== dtype && t.dtype === storedDtype(dtype) ? { ...t, dtype } : t;
}
