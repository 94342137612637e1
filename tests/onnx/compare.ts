/** Compares what imported graphs give with test data, by ONNX's own rule. */
import type { ModelValue } from "../../compiler/late/binding.js";
import { isDType } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { element, type Tensor } from "../../ir/tensor.js";
import type { OnnxValue } from "./data.js";

export function toTensor(value: OnnxValue): Tensor {
  if (value === null || Array.isArray(value)) throw new Error("not a tensor");
  const { dtype, shape, data } = value as Exclude<OnnxValue, null | readonly OnnxValue[]>;
  if (!isDType(dtype)) throw new ModelError(`tensors of ${dtype} are not supported`);
  return { dtype, shape, data: data as Tensor["data"] };
}

export interface Comparison {
  /** Random outputs: only shape and dtype can agree. */
  readonly shapeOnly?: boolean;
  readonly rtol?: number;
  readonly atol?: number;
  readonly test?: string;
}

/** What is wrong, or undefined. */
export function compareValue(got: ModelValue, want: OnnxValue, how: Comparison = {}): string | undefined {
  if (want === null) return got === null ? undefined : "expected an absent value";
  if (Array.isArray(want)) {
    if (!Array.isArray(got)) return "expected a sequence";
    if (got.length !== want.length) return `expected ${want.length} items, got ${got.length}`;
    for (const [i, item] of want.entries()) {
      const wrong = compareValue(got[i] as ModelValue, item as OnnxValue, how);
      if (wrong) return `item ${i}: ${wrong}`;
    }
    return undefined;
  }
  if (got === null || Array.isArray(got)) return "expected a tensor";
  return compareTensors(got as Tensor, toTensor(want), how);
}

export function compareTensors(got: Tensor, want: Tensor, how: Comparison = {}): string | undefined {
  if (got.dtype !== want.dtype) return `expected ${want.dtype}, got ${got.dtype}`;
  if (got.shape.length !== want.shape.length || !got.shape.every((d, i) => d === want.shape[i]))
    return `expected shape [${want.shape}], got [${got.shape}]`;
  if (how.shapeOnly) return undefined;
  const { rtol = 1e-3, atol = 1e-7 } = tolerance(how);
  let bad = 0;
  let first = "";
  for (let i = 0; i < want.data.length; i++) {
    const a = element(got, i);
    const b = element(want, i);
    if (a === b || (Number.isNaN(a) && Number.isNaN(b)) || Math.abs(a - b) <= atol + rtol * Math.abs(b)) continue;
    if (bad++ === 0) first = `element ${i} is ${a}, expected ${b}`;
  }
  return bad === 0 ? undefined : `${bad} of ${want.data.length} elements differ: ${first}`;
}

/** The relaxations that ONNX makes for its own reference implementation. */
function tolerance({ test = "", rtol, atol }: Comparison): { rtol?: number; atol?: number } {
  if (/^test_dft(_axis|_inverse)?(_opset19)?$/.test(test)) return { atol: 1e-6 };
  if (test === "test_celu_bfloat16_expanded") return { rtol: 1e-2, atol: 1e-2 };
  return { ...(rtol === undefined ? {} : { rtol }), ...(atol === undefined ? {} : { atol }) };
}
