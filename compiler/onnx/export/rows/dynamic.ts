/** Ops that find sizes in data. The emitter reads the sizes off their results. */

import { definedSymbols } from "../../../../ir/graph.js";
import { flag, int } from "../draft.js";
import type { Row, SomeRows } from "./row.js";

/**
 * The value as the length of a slice of as many elements as the size's bound: so an importer learns that it is a size, and its
 * bound, without knowing the value.
 */
const bindDim: Row<"bindDim"> = (e, node) => {
  const x = node.operands[0]!;
  const [symbol] = definedSymbols(node);
  const value = e.op("Reshape", [e.cast(e.ref(x), x.type.dtype, "i64"), e.ints([1])]);
  const most = e.op("ConstantOfShape", [e.sizes.shape([symbol!.bound!])]);
  const size = e.op("Shape", [e.op("Slice", [most, e.ints([0]), value, e.ints([0])])]);
  e.sizes.define(symbol!.name, size);
  return e.op("Squeeze", [size, e.ints([0])]);
};

const nonMaxSuppression: Row<"nonMaxSuppression"> = (e, node) =>
  e.op("NonMaxSuppression", e.refs(node.operands), { center_point_box: flag(node.attrs.centerPointBox) });

/** Range counts in these types only; the others are counted in a wider one. */
const range: Row<"range"> = (e, node) => {
  const { dtype } = node.results[0]!.type;
  const through = /^(f32|f64|i16|i32|i64)$/.test(dtype) ? dtype : /^[bf]/.test(dtype) ? "f32" : "i64";
  return e.via(e.refs(node.operands), dtype, through, (x) => e.op("Range", x));
};

const unique: Row<"unique"> = (e, node) => {
  const { sorted, axis } = node.attrs;
  const { dtype } = node.operands[0]!.type;
  // Runtimes have the op for some types only; these hold the others, in the same order.
  const through = dtype === "bool" ? "i8" : /^([iu]16|u8|[iu]32)$/.test(dtype) ? "i64" : dtype;
  const [values, ...rest] = e.ops(
    "Unique",
    [e.cast(e.ref(node.operands[0]!), dtype, through)],
    { sorted: flag(sorted), ...(axis === undefined ? {} : { axis: int(axis) }) },
    4,
  );
  return [e.cast(values!, through, dtype), ...rest];
};

export const dynamic = {
  bindDim,
  nonMaxSuppression,
  nonZero: (e, node) => e.op("NonZero", [e.ref(node.operands[0]!)]),
  range,
  unique,
} satisfies SomeRows;
