/** Tensors of safetensors files. */

import { dtypeInfo } from "../../ir/dtype.js";
import { type Tensor, tensor } from "../../ir/tensor.js";
import { readSafetensors } from "../../runtime/safetensors.js";

/** All tensors of a safetensors file by name. Throws ModelError where the file is damaged. */
export function readWeights(bytes: Uint8Array, what?: string): Map<string, Tensor> {
  const weights = new Map<string, Tensor>();
  for (const [name, t] of readSafetensors(bytes, what).tensors) {
    const { array } = dtypeInfo[t.dtype];
    const data = new array(t.shape.reduce((n, d) => n * d, 1));
    new Uint8Array(data.buffer).set(t.data);
    weights.set(name, tensor(t.dtype, t.shape, data));
  }
  return weights;
}
