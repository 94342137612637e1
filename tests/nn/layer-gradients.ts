/** A layer's outputs and gradients of Σ output · upstream, as one graph of its inputs and variables. */

import { Context } from "../../compiler/dsl/context.js";
import type { AnyModule } from "../../compiler/dsl/graph.js";
import type { Variable } from "../../compiler/dsl/module.js";
import { addAll, np, sum } from "../../ir/build.js";
import { type Graph, graph, param, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { type Executor, executors } from "../ops/executors.js";

export interface LayerCase {
  readonly model: AnyModule;
  /** Tensors of the variables and of whatever `apply` takes. */
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly apply: (ctx: Context, inputs: Readonly<Record<string, Value>>) => readonly Value[];
  readonly upstream: readonly Tensor[];
  /** Names of the feeds whose gradients follow the outputs. */
  readonly wrt: readonly string[];
  readonly training?: boolean;
  /** Names of the buffers whose next values follow the gradients. */
  readonly after?: readonly string[];
}

export function gradientGraph(c: LayerCase): Graph {
  const { model, feeds, apply, upstream, wrt, training = false, after = [] } = c;
  const params = Object.entries(feeds).map(([name, t]) => param(name, { dtype: t.dtype, shape: t.shape }));
  const named = Object.fromEntries(Object.keys(feeds).map((name, i) => [name, params[i]!]));
  const variables = model.variables();
  const values = new Map<Variable, Value>([...variables].map(([name, v]) => [v, named[name]!]));
  const ctx = new Context(model, (v) => values.get(v), { training });
  const outputs = apply(ctx, named);
  const loss = addAll(upstream.map((u, i) => sum(np.mul(outputs[i]!, constant([], { value: u })))));
  return graph("case", params, [
    ...outputs,
    ...gradients(
      loss,
      wrt.map((name) => named[name]!),
    ),
    ...after.map((name) => ctx.value(variables.get(name)!)),
  ]);
}

const reference = { name: "reference", run: async (g: Graph, feeds: readonly Tensor[]) => evaluate(g, feeds) };
/** The reference, and the baseline compiled for 1 and 2 threads. */
export const everywhere: readonly Executor[] = [reference, ...executors];
