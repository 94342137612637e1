/** Gathers and scatters. */

import type { DType } from "../../../../ir/dtype.js";
import type { Value } from "../../../../ir/graph.js";
import { int, type Ref, string } from "../draft.js";
import type { Emitter } from "../emitter.js";
import type { Row, SomeRows } from "./row.js";

/** Indices in a type that ONNX takes. */
const indices = (e: Emitter, v: Value, allowed: readonly DType[]): Ref =>
  e.cast(e.ref(v), v.type.dtype, allowed.includes(v.type.dtype) ? v.type.dtype : "i64");

const EITHER: readonly DType[] = ["i32", "i64"];
const LONG: readonly DType[] = ["i64"];

const gather: Row<"gather"> = (e, { operands: [x, at], attrs }) =>
  e.op("Gather", [e.ref(x!), indices(e, at!, EITHER)], { axis: int(attrs.axis) });

const gatherElements: Row<"gatherElements"> = (e, { operands: [x, at], attrs }) =>
  e.op("GatherElements", [e.ref(x!), indices(e, at!, EITHER)], { axis: int(attrs.axis) });

const gatherND: Row<"gatherND"> = (e, { operands: [x, at], attrs }) =>
  e.op("GatherND", [e.ref(x!), indices(e, at!, LONG)], { batch_dims: int(attrs.batchDims) });

const scatterElements: Row<"scatterElements"> = (e, { operands: [x, at, updates], attrs }) =>
  e.op("ScatterElements", [e.ref(x!), indices(e, at!, EITHER), e.ref(updates!)], {
    axis: int(attrs.axis),
    reduction: string(attrs.reduction),
  });

const scatterND: Row<"scatterND"> = (e, { operands: [x, at, updates], attrs }) =>
  e.op("ScatterND", [e.ref(x!), indices(e, at!, LONG), e.ref(updates!)], { reduction: string(attrs.reduction) });

/** ONNX leaves open what becomes of indices that are none. */
const checkIndices: Row<"checkIndices"> = (e, { operands: [x] }) => e.op("Identity", [e.ref(x!)]);

export const indexing = {
  checkIndices,
  gather,
  gatherElements,
  gatherND,
  scatterElements,
  scatterND,
} satisfies SomeRows;
