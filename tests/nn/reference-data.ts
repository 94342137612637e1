/** Reads the reference data of PyTorch that lies beside the repository, where it is present. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { DType } from "../../ir/dtype.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { element, type Tensor, tensor } from "../../ir/tensor.js";
import { readSafetensors } from "../../runtime/safetensors.js";

export const dataFolder = process.env.WASMITH_DATA ?? join(import.meta.dirname, "../../../shared");
export const hasData = existsSync(join(dataFolder, "reference"));

/** Tensors of a safetensors file by name. */
export function readTensors(path: string): Map<string, Tensor> {
  const file = readSafetensors(new Uint8Array(readFileSync(path)), path);
  return new Map(
    [...file.tensors].map(([name, t]) => {
      const bytes = t.data.slice();
      const Data = dtypeInfo[t.dtype as DType].array as unknown as new (b: ArrayBuffer) => Tensor["data"];
      return [name, tensor(t.dtype as DType, t.shape, new Data(bytes.buffer))];
    }),
  );
}

export const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;

/** The largest excess of |got − want| over atol + rtol·|want|; 0 when all elements agree. NaN matches NaN. */
export function disagreement(got: Tensor, want: Tensor, rtol: number, atol: number): string | undefined {
  if (got.dtype !== want.dtype || got.shape.join() !== want.shape.join()) {
    return `${got.dtype}[${got.shape}] instead of ${want.dtype}[${want.shape}]`;
  }
  for (let i = 0; i < got.data.length; i++) {
    const [g, w] = [element(got, i), element(want, i)];
    if (g === w || (Number.isNaN(g) && Number.isNaN(w))) continue;
    if (!(Math.abs(g - w) <= atol + rtol * Math.abs(w))) return `element ${i} is ${g} instead of ${w}`;
  }
  return undefined;
}
