/** Sums of products in simple kernels. */

import type { Dim } from "../../../ir/dim.js";
import type { DType } from "../../../ir/dtype.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import { registerOf } from "../core/kernel-builder.js";
import { settle } from "../elementwise/registers.js";
import type { Kernel } from "../elementwise/structured.js";

/** a·b + c in a register; integers wrap. */
export function multiplyAdd(a: Expr, b: Expr, c: Expr): Expr {
  return a.type === "f32" || a.type === "f64" ? B.fma(a, b, c) : B.add(B.mul(a, b), c);
}

/** Zero of the register in which sums of the dtype accumulate. */
export const zeroOf = (dtype: DType): Expr => B.constant(registerOf(dtype), 0);

/** A sum over nested loops. `term` adds to the accumulator through the callback. */
export function sumOver(
  k: Kernel,
  sizes: readonly Dim[],
  dtype: DType,
  term: (index: readonly Dim[], add: (a: Expr, b: Expr) => void) => void,
): Expr {
  const acc = k.block.mut("acc", zeroOf(dtype));
  const add = (a: Expr, b: Expr) => k.block.assign(acc, multiplyAdd(a, b, acc));
  const open = (from: number, index: readonly Dim[]): void => {
    const size = sizes[from];
    if (size === undefined) term(index, add);
    else k.loop(size, (i) => open(from + 1, [...index, i]));
  };
  open(0, []);
  return settle(dtype, acc);
}
