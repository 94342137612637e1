/** Control flow out of closures. What a closure uses from outside is captured through operands. */

import type { Dim } from "./dim.js";
import { ModelError } from "./errors.js";
import { param, type Value } from "./graph.js";
import { scalarConstant } from "./ops/constant.js";
import { type IfAttrs, ifElse, loop, type Resized, scan } from "./ops/control.js";
import { closeRegion, regionFrame, requireCount, traceRegion, unionOfCaptures, withFurtherResults } from "./regions.js";
import type { Carried, RegionFrame, Replaced } from "./scope.js";

/** What code inside a branch asks for: values that are others from there on. */
class BranchFrame implements RegionFrame {
  readonly outer?: RegionFrame;
  readonly outside: RegionFrame["outside"];
  readonly replaced = new Map<object, Replaced>();

  constructor() {
    const { outer, outside } = regionFrame();
    if (outer) this.outer = outer;
    this.outside = outside;
  }

  replace(key: object, replaced: Replaced): void {
    this.replaced.set(key, replaced);
  }
}

/**
 * `ifOp(condition, () => [x], () => [y])`: values from outside are captured. What a branch replaces is a further result, which the
 * other one passes through.
 */
export function ifOp(
  condition: Value,
  yes: () => readonly Value[],
  no: () => readonly Value[],
  attrs: IfAttrs = {},
): readonly Value[] {
  const branches = [yes, no].map((body) => {
    const frame = new BranchFrame();
    let own = 0;
    const traced = traceRegion(
      [],
      () => {
        const made = body();
        own = made.length;
        return [...made, ...[...frame.replaced.values()].map((r) => r.next)];
      },
      frame,
    );
    return { frame, traced, own };
  });
  const all = new Map<object, Replaced>(branches.flatMap(({ frame }) => [...frame.replaced]));
  const regions = branches.map(({ frame, traced, own }) => {
    const made = new Map([...frame.replaced.keys()].map((key, i) => [key, traced.results[own + i]!]));
    const extra = [...all].map(([key, { before }]) => made.get(key) ?? before);
    const passed = [...all].flatMap(([key, { before }]) => (made.has(key) ? [] : [before]));
    return withFurtherResults(traced, own, extra, passed);
  });
  const { own } = branches[0]!;
  const captures = unionOfCaptures(...regions);
  const shapes = attrs.shapes && [...attrs.shapes, ...[...all.values()].map((r) => r.before.type.shape)];
  const results = ifElse([condition, ...captures], shapes ? { ...attrs, shapes } : attrs, [
    closeRegion("yes", regions[0]!, captures),
    closeRegion("no", regions[1]!, captures),
  ]);
  [...all.values()].forEach(({ after }, i) => {
    after(results[own + i]!);
  });
  return results.slice(0, own);
}

/** What code inside a loop's body asks for: further carried values, and rows that differ from round to round. */
class LoopFrame implements RegionFrame {
  readonly outer?: RegionFrame;
  readonly outside: RegionFrame["outside"];
  readonly carried: { readonly first: Value; readonly value: Carried }[] = [];
  readonly rows: { readonly all: Value; readonly now: Value }[] = [];
  readonly row?: (make: (rounds: Dim) => Value) => Value;

  /** @param rounds how often the body runs, where that is known before */
  constructor(rounds?: Dim) {
    const { outer, outside } = regionFrame();
    if (outer) this.outer = outer;
    this.outside = outside;
    if (rounds !== undefined)
      this.row = (make) => {
        const all = outside(() => make(rounds));
        const now = param(`own${this.rows.length}`, { dtype: all.type.dtype, shape: all.type.shape.slice(1) });
        this.rows.push({ all, now });
        return now;
      };
  }

  carry(first: Value): Carried {
    const now = param(`kept${this.carried.length}`, first.type);
    const value: Carried = { now, next: now };
    this.carried.push({ first, value });
    return value;
  }

  get firsts(): readonly Value[] {
    return this.carried.map((c) => c.first);
  }
  get nows(): readonly Value[] {
    return this.carried.map((c) => c.value.now);
  }
  get nexts(): readonly Value[] {
    return this.carried.map((c) => c.value.next);
  }

  /** Hands the last values of what was carried to those who asked for it. */
  finish(lasts: readonly Value[]): void {
    this.carried.forEach(({ value }, i) => {
      value.after?.(lasts[i]!);
    });
  }
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
  const frame = new LoopFrame();
  const params = [
    param("i", { dtype: "i64", shape: [] }),
    param("condition", { dtype: "bool", shape: [] }),
    ...carried.map((v, i) => param(`x${i}`, v.type)),
  ];
  const traced = traceRegion(
    params,
    ([i, , ...state]) => {
      const made = body(i!, state);
      requireCount(made.carried, carried.length, "the loop's body");
      return [made.condition ?? yes, ...made.carried, ...frame.nexts, ...(made.scanned ?? [])];
    },
    frame,
    () => frame.nows,
  );
  const region = { ...traced, params: [...params, ...frame.nows] };
  const count = carried.length + frame.firsts.length;
  const results = loop(
    [
      tripCount ?? scalarConstant("i64", (1n << 63n) - 1n),
      condition ?? yes,
      ...carried,
      ...frame.firsts,
      ...traced.captured,
    ],
    { carried: count, ...attrs },
    [closeRegion("body", region, traced.captured)],
  );
  frame.finish(results.slice(carried.length, count));
  return { carried: results.slice(0, carried.length), scanned: results.slice(count) };
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
  const frame = new LoopFrame(length);
  const states = carried.map((v, i) => param(`x${i}`, v.type));
  const rows = inputs.map((v, i) => param(`row${i}`, { dtype: v.type.dtype, shape: v.type.shape.slice(1) }));
  const traced = traceRegion(
    [...states, ...rows],
    () => {
      const made = body(states, rows);
      requireCount(made.carried, carried.length, "the scan's body");
      return [...made.carried, ...frame.nexts, ...(made.scanned ?? [])];
    },
    frame,
    () => [...frame.nows, ...frame.rows.map((r) => r.now)],
  );
  const region = { ...traced, params: [...states, ...frame.nows, ...rows, ...frame.rows.map((r) => r.now)] };
  const all = [...inputs, ...frame.rows.map((r) => r.all)];
  const count = carried.length + frame.firsts.length;
  const results = scan(
    [...carried, ...frame.firsts, ...all, ...traced.captured],
    { carried: count, inputs: all.length, length, reverse },
    [closeRegion("body", region, traced.captured)],
  );
  frame.finish(results.slice(carried.length, count));
  return { carried: results.slice(0, carried.length), scanned: results.slice(count) };
}
