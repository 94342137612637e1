/**
 * Control flow. Regions are isolated graphs: what they use from outside comes through trailing operands, which are the regions'
 * trailing parameters. `ifOp`, `scanOp` and `loopOp` (ir/control-build.ts)
 * make regions out of closures and capture by themselves.
 *
 * Shapes that differ between branches or iterations: the attribute `shapes` gives the result shapes, whose unknown sizes the
 * node finds (`defines`). Sizes known outside are known in regions; sizes found in a region are not known outside.
 */

import type { Dim, DimExpr } from "../dim.js";
import { isFloat } from "../dtype.js";
import { ModelError } from "../errors.js";
import { type Graph, graph, param, type Shape, type TensorType, typeText, type Value } from "../graph.js";
import { mergeDims, mergeShapes, recordAssumptions, requireDType, requireRank } from "../infer.js";
import { defineMultiOp, type PrimitiveOp, type Vjp, type VjpContext } from "../op.js";
import { bool, exactly, f32, i32, i64, of } from "../sample.js";
import { bigElement, elementCount, scalar, type Tensor, zeros } from "../tensor.js";
import { constantLike, scalarConstant } from "./constant.js";
import { dotGeneral } from "./contraction.js";
import { requireFit, requireKnownSizes, requireParams, requireRegions, requireResizable } from "./control-check.js";
import { add, mul, neg, sin, tanh } from "./elementwise.js";
import { lt } from "./logic.js";
import { broadcast } from "./movement.js";
import { sum } from "./reduce.js";

export type Resized = { readonly shapes?: readonly Shape[]; readonly defines?: readonly DimExpr[] };

const resizedDocs = {
  shapes: "shape of each result, where regions leave it open. Default: the regions'",
  defines: "unknown sizes in `shapes` that this node finds",
} as const;

function resized(type: TensorType, i: number, { shapes }: Resized): TensorType {
  if (shapes === undefined) return type;
  const shape = shapes[i];
  if (shape === undefined) throw new ModelError("attribute shapes needs one shape for each result");
  // The run sets these sizes to what the region gives.
  recordAssumptions(() => requireFit({ dtype: type.dtype, shape }, type, `shape of result ${i}`));
  return { dtype: type.dtype, shape };
}

const bothFloats = ["f32", "f64"] as const;

const scalarOf = (dtype: TensorType["dtype"]): TensorType => ({ dtype, shape: [] });

/** Cotangents of the float results: zeros where nothing flows back. */
const floatCotangents = ({ results, dys }: Pick<VjpContext<unknown>, "results" | "dys">): readonly Value[] =>
  results.flatMap((r, i) => (isFloat(r.type.dtype) ? [dys[i] ?? constantLike(r, 0)] : []));

// ------------------------------------------------------------------------------------------------------- if

export type IfAttrs = Resized;

const ifVjp: Vjp<IfAttrs> = (context) => {
  const { operands, needs, node } = context;
  const wrt = operands.slice(1).map((v, i) => needs[i + 1]! && isFloat(v.type.dtype));
  if (!wrt.includes(true)) return operands.map(() => undefined);
  const regions = node.regions.map((r) => context.regions.differentiate(r, wrt));
  const found = [...ifElse([...operands, ...floatCotangents(context)], {}, regions)];
  return [undefined, ...wrt.map((wanted) => (wanted ? found.shift() : undefined))];
};

export const ifElse: PrimitiveOp<"if", IfAttrs, "many"> = defineMultiOp<"if", IfAttrs>({
  name: "if",
  operands: ["condition", "...captures"],
  summary:
    "The results of the first region where the condition holds, else of the second; only that region runs. Both take the captures.",
  attrs: resizedDocs,
  infer: ([condition, ...captures], attrs, regions) => {
    requireRank(requireDType(condition!, "bool", "the condition"), 0, "the condition");
    const [yes, no] = requireRegions(regions, 2) as [Graph, Graph];
    requireParams(yes, captures);
    requireParams(no, captures);
    if (yes.results.length !== no.results.length) {
      throw new ModelError(`the branches give ${yes.results.length} and ${no.results.length} results`);
    }
    const types = yes.results.map((r, i) => {
      const other = no.results[i]!.type;
      if (attrs.shapes === undefined) {
        requireFit(r.type, other, `result ${i} of the first branch`);
        return { dtype: r.type.dtype, shape: mergeShapes(r.type.shape, other.shape) };
      }
      resized(other, i, attrs);
      return resized(r.type, i, attrs);
    });
    return requireKnownSizes(types, regions);
  },
  reference: ([condition, ...captures], { regions, run }) => run(regions[condition!.data[0] ? 0 : 1]!, captures),
  vjp: ifVjp,
  accuracy: "exact",
  samples: bothFloats.flatMap((dtype) =>
    [true, false].map((c) => ({
      operands: [exactly([Number(c)], bool()), of(dtype, 3), of(dtype, 3)],
      attrs: {},
      regions: () => {
        const branch = (name: string, body: (a: Value, b: Value) => Value) => {
          const a = param("a", { dtype, shape: [3] });
          const b = param("b", { dtype, shape: [3] });
          return graph(name, [a, b], [body(a, b), neg([b])]);
        };
        return [branch("yes", (a, b) => mul([a, b])), branch("no", (a) => sin([a]))];
      },
    })),
  ),
});

// ----------------------------------------------------------------------------------------------------- loop

export type LoopAttrs = Resized & { readonly carried: number; readonly trips?: Dim };

export const loop: PrimitiveOp<"loop", LoopAttrs, "many"> = defineMultiOp<"loop", LoopAttrs>({
  name: "loop",
  operands: ["tripCount", "condition", "...values"],
  summary:
    "Runs the region while the condition holds and fewer than tripCount (i64) iterations were made. Operands: carried values, then captures. Region: (iteration: i64, condition: bool, carried …, captures …) → (condition, carried …, scanned …). Results: final carried values, then each scanned value of all iterations stacked along a new first axis of size `trips` (ONNX Loop). It has a gradient where the number of its iterations has a bound (a constant trip count, or `trips`) and sizes stay the same.",
  attrs: {
    carried: "number of carried values",
    trips: "iterations made, where there are scanned values: a number, or an unknown size listed in `defines`",
    ...resizedDocs,
  },
  infer: ([tripCount, condition, ...values], attrs, regions) => {
    requireRank(requireDType(tripCount!, ["i64"], "tripCount"), 0, "tripCount");
    requireRank(requireDType(condition!, "bool", "the condition"), 0, "the condition");
    const { carried, trips } = attrs;
    const [body] = requireRegions(regions, 1) as [Graph];
    // Sizes of carried values that change are set anew each round.
    const fits = attrs.shapes === undefined ? requireFit : requireResizable;
    requireParams(body, [scalarOf("i64"), scalarOf("bool"), ...values], fits);
    const [next, ...results] = body.results;
    if (next === undefined || results.length < carried)
      throw new ModelError(`region ${body.name} must give a condition and ${carried} carried values`);
    requireFit(next.type, scalarOf("bool"), "the condition");
    const types = results.map((r, i) => {
      if (i >= carried) {
        if (trips === undefined) throw new ModelError("a loop with scanned values needs the attribute trips");
        return resized({ dtype: r.type.dtype, shape: [trips, ...r.type.shape] }, i, attrs);
      }
      fits(r.type, body.params[i + 2]!.type, `carried value ${i}`);
      return resized(
        attrs.shapes === undefined
          ? { dtype: r.type.dtype, shape: mergeShapes(values[i]!.shape, r.type.shape) }
          : r.type,
        i,
        attrs,
      );
    });
    return requireKnownSizes(types, regions);
  },
  reference: ([tripCount, condition, ...values], { attrs: { carried, trips }, regions, run, types, dim, bind }) => {
    const captures = values.slice(carried);
    let state: readonly Tensor[] = values.slice(0, carried);
    let goOn = condition!;
    const rows: (readonly Tensor[])[] = [];
    for (let i = 0n; i < bigElement(tripCount!, 0) && goOn.data[0]; i++) {
      const [next, ...results] = run(regions[0]!, [scalar("i64", i), goOn, ...state, ...captures]);
      goOn = next!;
      state = results.slice(0, carried);
      rows.push(results.slice(carried));
    }
    if (trips !== undefined && typeof trips !== "number") bind(trips, rows.length);
    return [
      ...state,
      ...types.slice(carried).map((t, j) =>
        stack(
          rows.map((row) => row[j]!),
          t,
          dim,
        ),
      ),
    ];
  },
  vjp: (context) => context.regions.loop(context),
  accuracy: { rtol: 1e-5, atol: 1e-5 },
  samples: [3, 0].map((n) => ({
    operands: [exactly([n], i64()), exactly([1], bool()), f32(4), f32(4)],
    attrs: { carried: 1, trips: n },
    regions: () => {
      const i = param("i", scalarOf("i64"));
      const c = param("c", scalarOf("bool"));
      const x = param("x", { dtype: "f32", shape: [4] });
      const k = param("k", { dtype: "f32", shape: [4] });
      const next = add([mul([x, k]), x]);
      return [graph("body", [i, c, x, k], [lt([i, scalarConstant("i64", 100)]), next, neg([next])])];
    },
  })),
});

/** Tensors of equal shape along a new first axis. With none of them the inferred type tells the shape. */
function stack(rows: readonly Tensor[], type: TensorType, dim: (d: Dim) => number): Tensor {
  const shape = rows[0]?.shape ?? type.shape.slice(1).map(dim);
  const out = zeros(type.dtype, [rows.length, ...shape]);
  rows.forEach((row, i) => {
    out.data.set(row.data as never, i * elementCount(shape));
  });
  return out;
}

// ----------------------------------------------------------------------------------------------------- scan

export type ScanAttrs = {
  readonly carried: number;
  readonly inputs: number;
  readonly length: Dim;
  readonly reverse: boolean;
};

export const scan: PrimitiveOp<"scan", ScanAttrs, "many"> = defineMultiOp<"scan", ScanAttrs>({
  name: "scan",
  operands: ["...values"],
  summary:
    "Runs the region once for each row of the inputs. Operands: carried values, inputs, captures. Region: (carried …, a row of each input …, captures …) → (carried …, scanned …). Results: final carried values, then scanned values stacked along a new first axis. In reverse it runs from the last row to the first; row i of a scanned value still belongs to row i of the inputs.",
  attrs: {
    carried: "number of carried values",
    inputs: "number of inputs, whose first axis is stepped through",
    length: "number of steps, the size of that axis",
    reverse: "run from the last row to the first",
  },
  infer: (values, { carried, inputs, length }, regions) => {
    const [body] = requireRegions(regions, 1) as [Graph];
    if (values.length < carried + inputs || body.results.length < carried) {
      throw new ModelError(
        `a scan with ${carried} carried values and ${inputs} inputs needs as many operands, and ${carried} results of its region`,
      );
    }
    const rows = values.slice(carried, carried + inputs).map((t) => {
      if (t.shape.length === 0) throw new ModelError(`input ${typeText(t)} of a scan needs an axis to step through`);
      mergeDims(t.shape[0]!, length);
      return { dtype: t.dtype, shape: t.shape.slice(1) };
    });
    requireParams(body, [...values.slice(0, carried), ...rows, ...values.slice(carried + inputs)]);
    const types = body.results.map((r, i) => {
      if (i >= carried) return { dtype: r.type.dtype, shape: [length, ...r.type.shape] };
      requireFit(r.type, body.params[i]!.type, `carried value ${i}`);
      return { dtype: r.type.dtype, shape: mergeShapes(values[i]!.shape, r.type.shape) };
    });
    return requireKnownSizes(types, regions);
  },
  reference: (operands, { attrs: { carried, inputs, length, reverse }, regions, run, types, dim }) => {
    const steps = dim(length);
    const captures = operands.slice(carried + inputs);
    let state: readonly Tensor[] = operands.slice(0, carried);
    const rows: (readonly Tensor[])[] = [];
    for (let s = 0; s < steps; s++) {
      const at = reverse ? steps - 1 - s : s;
      const inputRows = operands.slice(carried, carried + inputs).map((t) => rowOf(t, at));
      const results = run(regions[0]!, [...state, ...inputRows, ...captures]);
      state = results.slice(0, carried);
      rows[at] = results.slice(carried);
    }
    return [
      ...state,
      ...types.slice(carried).map((t, j) =>
        stack(
          rows.map((row) => row[j]!),
          t,
          dim,
        ),
      ),
    ];
  },
  vjp: (context) => context.regions.scan(context),
  accuracy: { rtol: 1e-5, atol: 1e-5 },
  samples: bothFloats.flatMap((dtype) => [
    ...[false, true].flatMap((reverse) =>
      [5, 1, 0].map((length) => ({
        operands: [of(dtype, 2, 3), of(dtype, length, 2, 3), of(dtype, 3, 3)],
        attrs: { carried: 1, inputs: 1, length, reverse },
        regions: () => [recurrentCell(dtype)],
      })),
    ),
    ...[false, true].map((reverse) => ({
      operands: [of(dtype, 3), i32(), of(dtype)],
      attrs: { carried: 2, inputs: 0, length: 4, reverse },
      regions: () => [growingBody(dtype)],
    })),
  ]),
});

/** x' = k·x and a counter, of which only a sum of x' is scanned out. */
function growingBody(dtype: "f32" | "f64"): Graph {
  const x = param("x", { dtype, shape: [3] });
  const n = param("n", scalarOf("i32"));
  const k = param("k", scalarOf(dtype));
  const next = mul([x, broadcast([k], { shape: [3], axes: [] })]);
  const total = sum([next], { axes: [0], keepDims: false });
  return graph("body", [x, n, k], [next, add([n, scalarConstant("i32", 1)]), total]);
}

/** h' = tanh(h·w + x), scanned out. */
function recurrentCell(dtype: "f32" | "f64"): Graph {
  const h = param("h", { dtype, shape: [2, 3] });
  const x = param("x", { dtype, shape: [2, 3] });
  const w = param("w", { dtype, shape: [3, 3] });
  const product = dotGeneral([h, w], { batchA: [], batchB: [], contractA: [1], contractB: [0] });
  const next = tanh([add([product, x])]);
  return graph("cell", [h, x, w], [next, next]);
}

/** Row i of the first axis: a view. */
function rowOf(t: Tensor, i: number): Tensor {
  const shape = t.shape.slice(1);
  const n = elementCount(shape);
  return { dtype: t.dtype, shape, data: t.data.subarray(i * n, (i + 1) * n) };
}
