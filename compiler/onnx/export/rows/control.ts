/** If, Loop and Scan. Captures are names of the outer graph. */

import type { Value } from "../../../../ir/graph.js";
import { inline } from "../../../../ir/graph-rebuild.js";
import { int, ints, type Ref, subgraph } from "../draft.js";
import type { Emitter } from "../emitter.js";
import type { Row, SomeRows } from "./row.js";

const ifRow: Row<"if"> = (e, node) => {
  const [condition, ...captures] = node.operands as [Value, ...Value[]];
  const [yes, no] = node.regions.map((r) => e.region(r, 0, captures));
  return e.ops(
    "If",
    [e.ref(condition)],
    // The order of attributes in a file is free; this is the order that runs.
    { then_branch: subgraph(yes!), else_branch: subgraph(no!) },
    node.results.length,
  );
};

const loop: Row<"loop"> = (e, node) => {
  const { carried } = node.attrs;
  const [trips, condition, ...values] = node.operands as [Value, Value, ...Value[]];
  const body = e.region(node.regions[0]!, carried + 2, values.slice(carried));
  const start = values.slice(0, carried);
  return e.ops("Loop", e.refs([trips, condition, ...start]), { body: subgraph(body) }, node.results.length);
};

/** ONNX scans at least one input: a scan of none goes over zeros. */
const scan: Row<"scan"> = (e, node) => {
  const { carried, inputs, length, reverse } = node.attrs;
  const [region] = node.regions;
  const formal = carried + inputs;
  const body = e.region(region!, formal, node.operands.slice(formal));
  const refs = [...e.refs(node.operands.slice(0, formal))];
  const idle: Ref[] = inputs > 0 ? [] : [zeros(e, e.sizes.shape([length]))];
  const steps = inputs + idle.length;
  const scanned = node.results.length - carried;
  const all = idle.map((): { ref: Ref; type: { dtype: "f32"; shape: [] } } => ({
    ref: { hint: "step" },
    type: { dtype: "f32", shape: [] },
  }));
  const directions = (n: number) => ints(new Array<number>(n).fill(1));
  return e.ops(
    "Scan",
    [...refs, ...idle],
    {
      body: subgraph({ ...body, inputs: [...body.inputs, ...all] }),
      num_scan_inputs: int(steps),
      ...(reverse
        ? {
            scan_input_directions: directions(steps),
            ...(scanned > 0 ? { scan_output_directions: directions(scanned) } : {}),
          }
        : {}),
    },
    node.results.length,
  );
};

const zeros = (e: Emitter, shape: Ref): Ref => e.op("ConstantOfShape", [shape]);

/** The kernels that a fusion stands for don't exist in ONNX: its region's nodes do. */
const fusion: Row<"fusion"> = (e, node) => e.emitValues(inline(node.regions[0]!, node.operands));

export const control = { if: ifRow, loop, scan, fusion } satisfies SomeRows;
