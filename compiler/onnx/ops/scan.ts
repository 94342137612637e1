/** Scan: a region run once for each row of its inputs. */
import { flip, moveAxis, stack, takeAt } from "../../../ir/build.js";
import { param, type Value } from "../../../ir/graph.js";
import { scan } from "../../../ir/ops/control.js";
import { closeRegion } from "../../../ir/regions.js";
import type { Bound, ImportOp, NodeContext } from "../context.js";
import type { OnnxGraph } from "../model.js";
import { trace } from "./region.js";

export const scanRow: ImportOp = (c): readonly Bound[] => {
  if (c.since < 9) return oldScan(c);
  const body = c.attrs.graph("body");
  const inputs = c.attrs.requiredInt("num_scan_inputs");
  const values = c.values();
  return scanOver(c, body, values.slice(0, values.length - inputs), values.slice(values.length - inputs), {
    inputAxes: c.attrs.ints("scan_input_axes", []),
    inputDirections: c.attrs.ints("scan_input_directions", []),
    outputAxes: c.attrs.ints("scan_output_axes", []),
    outputDirections: c.attrs.ints("scan_output_directions", []),
  });
};

interface ScanLayout {
  readonly inputAxes: readonly number[];
  readonly inputDirections: readonly number[];
  readonly outputAxes: readonly number[];
  readonly outputDirections: readonly number[];
}

function scanOver(
  c: NodeContext,
  body: OnnxGraph,
  state: readonly Value[],
  inputs: readonly Value[],
  layout: ScanLayout,
): readonly Bound[] {
  const rows = inputs.map((v, i) => {
    const first = moveAxis(v, layout.inputAxes[i] ?? 0, 0);
    return layout.inputDirections[i] === 1 ? flip(first, 0) : first;
  });
  const length = rows[0]?.type.shape[0];
  if (length === undefined) throw c.error("it has no input to scan");
  const params = [
    ...state.map((v, i) => param(`x${i}`, v.type)),
    ...rows.map((v, i) => param(`row${i}`, { dtype: v.type.dtype, shape: v.type.shape.slice(1) })),
  ];
  for (const p of params) c.services.needs.origin(p, [...state, ...rows]);
  const traced = trace(c, params, (ps) => c.services.inline(body, ps, c.scope));
  if (!traced) return [];
  if (traced.shells.some((s) => s.kind !== "value")) throw c.error("its body gives sequences");
  const { region } = traced;
  const captures = region.captured;
  const results = scan(
    [...state, ...rows, ...captures],
    { carried: state.length, inputs: rows.length, length, reverse: false },
    [closeRegion("body", region, captures)],
  );
  return results.map((v, i) => {
    if (i < state.length) return v;
    const k = i - state.length;
    return moveAxis(layout.outputDirections[k] === 1 ? flip(v, 0) : v, 0, layout.outputAxes[k] ?? 0);
  });
}

/** Before opset 9 every value had a batch axis first, and each batch was scanned by itself. */
function oldScan(c: NodeContext): readonly Bound[] {
  const body = c.attrs.graph("body");
  if (c.has(0)) throw c.error("sequence_lens is not supported", "export with opset 9 or later");
  const inputs = c.attrs.requiredInt("num_scan_inputs");
  const values = c.inputs.slice(1).map((_, i) => c.input(i + 1));
  const batch = values[0]?.type.shape[0];
  if (typeof batch !== "number") throw c.error("the batch must be of fixed size", "export with opset 9 or later");
  const layout: ScanLayout = {
    inputAxes: [],
    inputDirections: c.attrs.ints("directions", []),
    outputAxes: [],
    outputDirections: [],
  };
  const rows = Array.from({ length: batch }, (_, b) => {
    const own = values.map((v) => takeAt(v, 0, b));
    return scanOver(c, body, own.slice(0, own.length - inputs), own.slice(own.length - inputs), layout);
  });
  if (rows.some((r) => r.length === 0)) return [];
  return rows[0]!.map((_, i) => stack(rows.map((r) => r[i] as Value)));
}
