/** Reductions, running sums, sorting. */

import { type DType, isFloat } from "../../../../ir/dtype.js";
import { flag, int, type Ref } from "../draft.js";
import type { Emitter } from "../emitter.js";
import type { Node, Row, SomeRows } from "./row.js";

type ReduceName = "sum" | "prod" | "reduceMax" | "reduceMin" | "all";
type ReduceNode = { [N in ReduceName]: Node<N> }[ReduceName];

/**
 * Runtimes sum floats, i32 and i64: other integers go through one of these, which wraps to the same bits. Neither ONNX nor they
 * compare all integers.
 */
const summed = (dtype: DType): DType =>
  isFloat(dtype) || dtype === "i32" || dtype === "i64" ? dtype : /^u(32|64)$/.test(dtype) ? "i64" : "i32";
const compared = (dtype: DType): DType => (/^[iu]16$|^bool$/.test(dtype) ? "i32" : dtype);

function reduction(op: string, through: (dtype: DType) => DType) {
  return (e: Emitter, node: ReduceNode): Ref => {
    const x = node.operands[0]!;
    const { axes, keepDims } = node.attrs;
    if (axes.length === 0) return e.ref(x);
    const { dtype } = x.type;
    return e.via([e.ref(x)], dtype, through(dtype), ([v]) => e.op(op, [v, e.ints(axes)], { keepdims: flag(keepDims) }));
  };
}

function position(op: "ArgMax" | "ArgMin") {
  return (e: Emitter, node: Node<"argMax"> | Node<"argMin">): Ref => {
    const { axis, keepDims, last } = node.attrs;
    const x = node.operands[0]!;
    const attrs = { axis: int(axis), keepdims: flag(keepDims), select_last_index: flag(last ?? false) };
    return e.op(op, [e.cast(e.ref(x), x.type.dtype, x.type.dtype === "bool" ? "u8" : x.type.dtype)], attrs);
  };
}

const running =
  (op: "CumSum" | "CumProd") =>
  (e: Emitter, node: Node<"cumSum"> | Node<"cumProd">): Ref => {
    const { axis, exclusive, reverse } = node.attrs;
    const x = node.operands[0]!;
    const attrs = { exclusive: flag(exclusive), reverse: flag(reverse) };
    return e.via([e.ref(x)], x.type.dtype, summed(x.type.dtype), ([v]) => e.op(op, [v, e.scalar("i64", axis)], attrs));
  };

/** TopK breaks ties by the lower index, as a stable sort does. */
const sort: Row<"sort"> = (e, node) => {
  const { axis, descending } = node.attrs;
  const x = node.operands[0]!;
  const attrs = { axis: int(axis), largest: flag(descending), sorted: int(1) };
  return selection(e, node, (v) => e.ops("TopK", [v, e.sizes.shape([x.type.shape[axis]!])], attrs, 2));
};

const topK: Row<"topK"> = (e, node) => {
  const { axis, k, largest } = node.attrs;
  const attrs = { axis: int(axis), largest: flag(largest), sorted: int(1) };
  return selection(e, node, (v) => e.ops("TopK", [v, e.sizes.shape([k])], attrs, 2));
};

/** Values and indices, in a type that ONNX compares. */
function selection(e: Emitter, node: Node<"sort"> | Node<"topK">, select: (x: Ref) => readonly Ref[]): readonly Ref[] {
  const x = node.operands[0]!;
  const { dtype } = x.type;
  const through = dtype === "u32" ? "i64" : /^[iu](8|16)$|^bool$/.test(dtype) ? "i32" : dtype;
  const [values, indices] = select(e.cast(e.ref(x), dtype, through)) as [Ref, Ref];
  return [e.cast(values, through, dtype), indices];
}

/** The maximum of nothing is the smallest integer, which is true as a bool. */
const any: Row<"any"> = (e, node) => {
  const { axes, keepDims } = node.attrs;
  const x = e.ref(node.operands[0]!);
  if (axes.length === 0) return x;
  const most = e.op("ReduceMax", [e.cast(x, "bool", "i32"), e.ints(axes)], { keepdims: flag(keepDims) });
  return e.op("Greater", [most, e.scalar("i32", 0)]);
};

export const reduce = {
  sum: reduction("ReduceSum", summed),
  prod: reduction("ReduceProd", summed),
  reduceMax: reduction("ReduceMax", compared),
  reduceMin: reduction("ReduceMin", compared),
  all: reduction("ReduceMin", compared),
  any,
  argMax: position("ArgMax"),
  argMin: position("ArgMin"),
  cumSum: running("CumSum"),
  cumProd: running("CumProd"),
  sort,
  topK,
} satisfies SomeRows;
