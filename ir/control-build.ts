/** Control flow out of closures. What a closure uses from outside is captured through operands. */

import type { Dim } from "./dim.js";
import { ModelError } from "./errors.js";
import { param, type Value } from "./graph.js";
import { scalarConstant } from "./ops/constant.js";
import { type IfAttrs, ifElse, loop, type Resized, scan } from "./ops/control.js";
import { closeRegion, requireCount, traceRegion, unionOfCaptures } from "./regions.js";

/** `ifOp(condition, () => [x], () => [y])`: values from outside are captured. */
export function ifOp(
  condition: Value,
  yes: () => readonly Value[],
  no: () => readonly Value[],
  attrs: IfAttrs = {},
): readonly Value[] {
  const traced = [traceRegion([], yes), traceRegion([], no)] as const;
  const captures = unionOfCaptures(...traced);
  return ifElse([condition, ...captures], attrs, [
    closeRegion("yes", traced[0], captures),
    closeRegion("no", traced[1], captures),
  ]);
}

/** A while or for loop: `body(iteration, carried)` gives the condition, the carried values and what to stack. */
export function loopOp(
  start: { tripCount?: Value; condition?: Value; carried: readonly Value[]; trips?: Dim } & Resized,
  body: (
    iteration: Value,
    carried: readonly Value[],
  ) => { condition?: Value; carried: readonly Value[]; scanned?: readonly Value[] },
): { readonly carried: readonly Value[]; readonly scanned: readonly Value[] } {
  const { tripCount, condition, carried, ...attrs } = start;
  const yes = scalarConstant("bool", 1);
  const params = [
    param("i", { dtype: "i64", shape: [] }),
    param("condition", { dtype: "bool", shape: [] }),
    ...carried.map((v, i) => param(`x${i}`, v.type)),
  ];
  const traced = traceRegion(params, ([i, , ...state]) => {
    const made = body(i!, state);
    requireCount(made.carried, carried.length, "the loop's body");
    return [made.condition ?? yes, ...made.carried, ...(made.scanned ?? [])];
  });
  const results = loop(
    [tripCount ?? scalarConstant("i64", (1n << 63n) - 1n), condition ?? yes, ...carried, ...traced.captured],
    { carried: carried.length, ...attrs },
    [closeRegion("body", traced, traced.captured)],
  );
  return { carried: results.slice(0, carried.length), scanned: results.slice(carried.length) };
}

/** `scanOp({ carried, inputs }, (state, rows) => ({ carried, scanned }))`: values from outside are captured. */
export function scanOp(
  start: { carried: readonly Value[]; inputs?: readonly Value[]; length?: Dim; reverse?: boolean },
  body: (
    carried: readonly Value[],
    rows: readonly Value[],
  ) => { carried: readonly Value[]; scanned?: readonly Value[] },
): { readonly carried: readonly Value[]; readonly scanned: readonly Value[] } {
  const { carried, inputs = [], reverse = false } = start;
  const length = start.length ?? inputs[0]?.type.shape[0];
  if (length === undefined) throw new ModelError("a scan without inputs needs a length");
  const params = [
    ...carried.map((v, i) => param(`x${i}`, v.type)),
    ...inputs.map((v, i) => param(`row${i}`, { dtype: v.type.dtype, shape: v.type.shape.slice(1) })),
  ];
  const traced = traceRegion(params, (all) => {
    const made = body(all.slice(0, carried.length), all.slice(carried.length));
    requireCount(made.carried, carried.length, "the scan's body");
    return [...made.carried, ...(made.scanned ?? [])];
  });
  const results = scan(
    [...carried, ...inputs, ...traced.captured],
    { carried: carried.length, inputs: inputs.length, length, reverse },
    [closeRegion("body", traced, traced.captured)],
  );
  return { carried: results.slice(0, carried.length), scanned: results.slice(carried.length) };
}
