/** dotGeneral for any dtype: one sum after the other. */

import type { Dim } from "../../ir/dim.js";
import { type DType, isFloat } from "../../ir/dtype.js";
import type { Expr } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { freeAxes } from "../../ir/ops/contraction.js";
import type { LowerContext } from "./context.js";
import { settle } from "./elementwise.js";
import { registerOf } from "./kernel-builder.js";
import { type Kernel, mapKernel, type Node, workOf } from "./structured.js";

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

export function lowerDotSimple(ctx: LowerContext, node: Node<"dotGeneral">): void {
  const [a, b] = node.operands;
  const y = node.results[0]!;
  const { batchA, batchB, contractA, contractB } = node.attrs;
  const freeA = freeAxes(a!.type.shape.length, batchA, contractA);
  const freeB = freeAxes(b!.type.shape.length, batchB, contractB);
  const depth = contractA.map((axis) => a!.type.shape[axis]!);
  const name = `${y.type.dtype}_dot${isFloat(y.type.dtype) ? "" : `_${a!.type.dtype}_${b!.type.dtype}`}`;
  mapKernel(ctx, node, name, y.type.shape, workOf(...depth), (k) => {
    const pa = k.read(a!);
    const pb = k.read(b!);
    const out = k.write(y);
    return (index) => {
      const place = (
        rank: number,
        batch: readonly number[],
        contract: readonly number[],
        free: readonly number[],
        first: number,
        c: readonly Dim[],
      ) => {
        const at: Dim[] = new Array<Dim>(rank).fill(0);
        batch.forEach((axis, i) => {
          at[axis] = index[i]!;
        });
        contract.forEach((axis, i) => {
          at[axis] = c[i]!;
        });
        free.forEach((axis, i) => {
          at[axis] = index[first + i]!;
        });
        return at;
      };
      const sum = sumOver(k, depth, y.type.dtype, (c, add) => {
        const x = k.load(pa, place(pa.shape.length, batchA, contractA, freeA, batchA.length, c));
        const w = k.load(pb, place(pb.shape.length, batchB, contractB, freeB, batchA.length + freeA.length, c));
        add(x, w);
      });
      k.store(out, index, sum);
    };
  });
}
