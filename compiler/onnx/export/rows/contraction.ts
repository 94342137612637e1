/** dotGeneral as MatMul, or Gemm where that saves a transposition. */

import type { Dim } from "../../../../ir/dim.js";
import { type DType, isFloat } from "../../../../ir/dtype.js";
import type { Value } from "../../../../ir/graph.js";
import { productOf } from "../../../../ir/ops/movement.js";
import { flag, type Ref } from "../draft.js";
import type { Emitter } from "../emitter.js";
import { reshapeRef } from "./movement.js";
import type { Row, SomeRows } from "./row.js";

interface Side {
  readonly value: Value;
  readonly batch: readonly number[];
  readonly free: readonly number[];
  readonly contract: readonly number[];
}

const sideOf = (value: Value, batch: readonly number[], contract: readonly number[]): Side => ({
  value,
  batch,
  contract,
  free: value.type.shape.map((_, a) => a).filter((a) => !batch.includes(a) && !contract.includes(a)),
});

const sizes = ({ value }: Side, axes: readonly number[]): readonly Dim[] => axes.map((a) => value.type.shape[a]!);

/** The side's axes in an order, with the free and the contracted ones as one axis each where `merge` says so. */
function arranged(e: Emitter, x: Ref, side: Side, last: "free" | "contract", merge: boolean): Ref {
  const { batch, free, contract } = side;
  const [front, back] = last === "contract" ? [free, contract] : [contract, free];
  const perm = [...batch, ...front, ...back];
  const ordered = e.transpose(x, perm);
  if (!merge) return ordered;
  return reshapeRef(e, ordered, sizes(side, perm), [
    ...sizes(side, batch),
    productOf(sizes(side, front)),
    productOf(sizes(side, back)),
  ]);
}

/** The type that the product is computed in: MatMul takes f16 as it is, but may not widen or wrap. */
function productType(a: DType, b: DType, result: DType): DType {
  if (isFloat(result)) return result;
  if (result === "i64" || result === "u64" || result === "i32" || result === "u32") return result;
  return a === b && a.startsWith("u") ? "u32" : "i32";
}

const dotGeneral: Row<"dotGeneral"> = (e, node) => {
  const { batchA, batchB, contractA, contractB } = node.attrs;
  const [x, y] = node.operands as [Value, Value];
  const a = sideOf(x, batchA, contractA);
  const b = sideOf(y, batchB, contractB);
  const { dtype, shape } = node.results[0]!.type;
  const bytes = /^[iu]8$/.test(x.type.dtype) && /^[iu]8$/.test(y.type.dtype) && dtype === "i32";
  const through = productType(x.type.dtype, y.type.dtype, dtype);
  const typed = (v: Value) => (bytes ? e.ref(v) : e.cast(e.ref(v), v.type.dtype, through));
  const [left, right] = [typed(x), typed(y)];
  const product = (p: Ref, q: Ref) => e.op(bytes ? "MatMulInteger" : "MatMul", [p, q]);

  const plain = a.batch.length === 0 && a.free.length === 1 && b.free.length === 1 && a.contract.length === 1;
  // Two matrices: Gemm transposes as it goes, and takes a bias.
  if (plain && isFloat(through)) {
    const attrs = { transA: flag(a.contract[0] === 0), transB: flag(b.contract[0] === 1) };
    return e.cast(e.op("Gemm", [left, right], attrs), through, dtype);
  }
  // MatMul multiplies any number of leading axes of its first operand with one matrix.
  if (a.batch.length === 0 && a.contract.length === 1 && a.free.length > 0 && b.free.length === 1) {
    const made = product(arranged(e, left, a, "contract", false), arranged(e, right, b, "free", false));
    return e.cast(made, through, dtype);
  }
  const simple = a.free.length === 1 && b.free.length === 1 && a.contract.length === 1;
  const made = product(arranged(e, left, a, "contract", !simple), arranged(e, right, b, "free", !simple));
  const merged = [...sizes(a, a.batch), productOf(sizes(a, a.free)), productOf(sizes(b, b.free))];
  return e.cast(simple ? made : reshapeRef(e, made, merged, shape), through, dtype);
};

export const contraction = { dotGeneral } satisfies SomeRows;
