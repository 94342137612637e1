/** Short forms for op samples. */

import type { DType } from "./dtype.js";
import type { NoAttrs } from "./graph.js";
import type { Sample, SampleOperand } from "./op.js";

/** Operand of a dtype and shape: `of("f32", 2, 3)`. */
export const of = (dtype: DType, ...shape: number[]): SampleOperand => ({ dtype, shape });
export const f32 = (...shape: number[]): SampleOperand => of("f32", ...shape);
export const i32 = (...shape: number[]): SampleOperand => of("i32", ...shape);
export const i64 = (...shape: number[]): SampleOperand => of("i64", ...shape);
export const bool = (...shape: number[]): SampleOperand => of("bool", ...shape);

/** Values drawn from [lo, hi]. */
export const within = (lo: number, hi: number, operand: SampleOperand): SampleOperand => ({
  ...operand,
  range: [lo, hi],
});
export const distinct = (operand: SampleOperand): SampleOperand => ({ ...operand, distinct: true });
export const exactly = (values: readonly number[], operand: SampleOperand): SampleOperand => ({ ...operand, values });
export const noGrad = (operand: SampleOperand): SampleOperand => ({ ...operand, noGrad: true });

/** A sample of an op without attributes. */
export const sample = (...operands: SampleOperand[]): Sample<NoAttrs> => ({ operands, attrs: {} });
/** A sample with attributes. */
export const sampleWith = <A>(attrs: A, ...operands: SampleOperand[]): Sample<A> => ({ operands, attrs });
