/** Subgraphs as regions of the IR: values pass through as they are, sequences by their items. */
import type { Value } from "../../../ir/graph.js";
import { type TracedRegion, traceRegion } from "../../../ir/regions.js";
import { type Bound, isValue, type NodeContext } from "../context.js";

/** Whether one of them could not be imported. */
export const failed = (bounds: readonly Bound[]): boolean => bounds.some((b) => !isValue(b) && b.kind === "failed");

/** How bounds are made of values, so that they can pass through a region. */
export type Shell =
  | { readonly kind: "value" }
  | { readonly kind: "sequence"; readonly items: readonly Shell[] }
  | { readonly kind: "stacked" }
  | { readonly kind: "other"; readonly bound: Bound };

function flattenBound(bound: Bound, into: Value[]): Shell {
  if (isValue(bound)) {
    into.push(bound);
    return { kind: "value" };
  }
  if (bound.kind === "sequence") return { kind: "sequence", items: bound.items.map((b) => flattenBound(b, into)) };
  if (bound.kind === "stacked") {
    into.push(bound.value);
    return { kind: "stacked" };
  }
  return { kind: "other", bound };
}

export function rebuild(shell: Shell, values: Iterator<Value>): Bound {
  switch (shell.kind) {
    case "value":
      return values.next().value as Value;
    case "stacked":
      return { kind: "stacked", value: values.next().value as Value };
    case "sequence":
      return { kind: "sequence", items: shell.items.map((s) => rebuild(s, values)) };
    case "other":
      return shell.bound;
  }
}

export interface TracedBody {
  readonly region: TracedRegion;
  readonly shells: readonly Shell[];
}

/** Imports a subgraph as a region over parameters; undefined if a node of it could not be imported. */
export function trace(
  c: NodeContext,
  params: readonly Value[],
  body: (params: readonly Value[]) => readonly Bound[],
): TracedBody | undefined {
  let shells: readonly Shell[] | undefined;
  const region = c.services.inRegion(() =>
    traceRegion(params, (ps) => {
      const bounds = body(ps);
      if (failed(bounds)) return [];
      const values: Value[] = [];
      shells = bounds.map((b) => flattenBound(b, values));
      return values;
    }),
  );
  return shells && { region, shells };
}
