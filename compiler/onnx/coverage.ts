/** What of a model can be imported, op by op, without importing it. */
import { subgraphsOf } from "./check.js";
import { inlineFunctions } from "./functions.js";
import type { OnnxGraph, OnnxModel } from "./model.js";
import { findOp } from "./ops/index.js";

/** One op of one version, as a model uses it. */
export interface OpUse {
  readonly domain: string;
  readonly op: string;
  /** Opset that holds where it stands; undefined if its domain is not imported. */
  readonly opset: number | undefined;
  /** The version of its definition. */
  readonly since: number | undefined;
  /** Names of the nodes (of their first outputs, where they have none). */
  readonly nodes: readonly string[];
  /** Absent if the op is supported. */
  readonly problem?: { readonly reason: string; readonly hint: string };
}

function collect(graph: OnnxGraph, into: Map<string, OpUse>): void {
  for (const node of graph.nodes) {
    const found = findOp(node);
    const key = JSON.stringify([node.domain, node.opType, node.version]);
    const name = node.name || (node.outputs.find((o) => o !== "") ?? "");
    const old = into.get(key);
    const { domain, opType: op, version: opset } = node;
    into.set(key, {
      ...(old ?? {
        domain,
        op,
        opset,
        since: "use" in found ? undefined : found.since,
        ...("use" in found ? { problem: { reason: found.use.reason, hint: found.use.hint } } : {}),
      }),
      nodes: [...(old?.nodes ?? []), name],
    });
    for (const sub of subgraphsOf(node)) collect(sub, into);
  }
}

/** All ops of the model, subgraphs and functions included; unsupported ones first, then by name. */
export function coverage(model: OnnxModel): readonly OpUse[] {
  const uses = new Map<string, OpUse>();
  collect(inlineFunctions(model).graph, uses);
  const rank = (u: OpUse) => (u.problem ? 0 : 1);
  return [...uses.values()].sort(
    (a, b) => rank(a) - rank(b) || (`${a.domain}:${a.op}` < `${b.domain}:${b.op}` ? -1 : 1),
  );
}
