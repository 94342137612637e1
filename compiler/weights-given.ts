/** Weights of a trained session in what is compiled, and programs as graphs that hold their weights. */

import { describe } from "../ir/describe.js";
import { isFloat } from "../ir/dtype.js";
import { ModelError, type Problem } from "../ir/errors.js";
import { type Graph, graph, paramName, type Value } from "../ir/graph.js";
import { copyWith } from "../ir/graph-rebuild.js";
import { choices } from "../ir/names.js";
import { castTensor } from "../ir/ops/cast.js";
import { constant } from "../ir/ops/constant.js";
import type { Tensor } from "../ir/tensor.js";
import { node, rule } from "../passes/pattern.js";
import { rewritePass } from "../passes/rewrite.js";
import { readWeights } from "./dsl/weights-file.js";
import type { Program } from "./program.js";

/** Tensors by name, or a safetensors file such as a session's `save()` or `exportSafetensors()` gives. */
export type GivenWeights = ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>> | Uint8Array;

export function weightsByName(given: GivenWeights | undefined): ReadonlyMap<string, Tensor> {
  if (given === undefined) return new Map();
  if (given instanceof Uint8Array) return readWeights(given);
  return given instanceof Map ? given : new Map(Object.entries(given as Readonly<Record<string, Tensor>>));
}

/** Optimiser state and the like, which a checkpoint holds beside the weights. */
export const isTrainingState = (name: string): boolean =>
  /^(.*\.)?optimizer\d*\.|^metric\.|^rng\.(key|counter)$/.test(name);

const isProgram = (of: Graph | Program): of is Program => "entries" in of;

/**
 * The graph or program with other weights: state of a program begins with them, named constants of graphs have their values. Floats are
 * converted to the dtype that the weight has.
 *
 * @throws ModelError listing names that nothing has, and values of other shapes
 */
export function withWeights<T extends Graph | Program>(of: T, given: GivenWeights): T {
  const weights = weightsByName(given);
  const used = new Set<string>();
  const problems: Problem[] = [];
  const names = new Set<string>();
  const newValue = (name: string, old: Tensor): Tensor => {
    names.add(name);
    const value = weights.get(name);
    if (value === undefined) return old;
    used.add(name);
    const floats = isFloat(value.dtype) && isFloat(old.dtype);
    if (String(value.shape) === String(old.shape) && (value.dtype === old.dtype || floats))
      return value.dtype === old.dtype ? value : castTensor(value, old.dtype);
    const message = `its new value is ${value.dtype}[${value.shape}], but the weight is ${old.dtype}[${old.shape}]`;
    problems.push({ where: name, message });
    return old;
  };
  // A weight that several entries hold is one.
  const made = new Map<Tensor, Tensor>();
  const placed = new Set<Tensor>();
  const held = rewritePass("with-weights", [
    rule("with-weights", node(["constant"], "n"), ({ n }) => {
      const { name, value } = n.attrs as { readonly name?: string; readonly value: Tensor };
      if (name === undefined || placed.has(value)) return undefined;
      const next = made.get(value) ?? newValue(name, value);
      if (next === value) return undefined;
      made.set(value, next);
      placed.add(next);
      return constant([], { value: next, name });
    }),
  ]);
  const result = isProgram(of)
    ? {
        ...of,
        state: of.state.map((s) => {
          const tensor = newValue(s.name, s.tensor);
          return tensor === s.tensor ? s : { name: s.name, role: s.role, tensor };
        }),
        entries: Object.fromEntries(Object.entries(of.entries).map(([name, g]) => [name, held.run(g)])),
      }
    : held.run(of);
  for (const name of weights.keys())
    if (!used.has(name) && !isTrainingState(name) && !name.endsWith("num_batches_tracked"))
      problems.push({
        where: name,
        message: "a new value is given, but the model has no weight of this name",
        hint: choices(name, [...names], "its weights are"),
      });
  if (problems.length > 0) throw new ModelError(unique(problems));
  if (used.size === 0)
    throw new ModelError({ where: "weights", message: "none of the names is a weight of the model" });
  return result as T;
}

function unique(problems: readonly Problem[]): readonly Problem[] {
  return problems.filter((p, i) => problems.findIndex((q) => q.where === p.where && q.message === p.message) === i);
}

/**
 * An entry of a program as a graph: its state is constant, so that compiling folds and packs it.
 *
 * @param entry default: `predict` of a training program, else `main` or the only one
 * @throws ModelError where there is none of this name, or it changes state
 */
export function inferenceGraph(program: Program, entry?: string): Graph {
  const names = Object.keys(program.entries);
  const name = entry ?? program.training?.fit?.predict ?? (names.includes("main") ? "main" : names[0]!);
  const g = Object.hasOwn(program.entries, name) ? program.entries[name]! : undefined;
  if (!g)
    throw new ModelError({
      message: `the program has no entry ${describe(name)}`,
      hint: choices(name, names, "its entries are"),
    });
  if (g.donations?.size)
    throw new ModelError({
      where: `entry "${name}"`,
      message: "it changes state, which a graph without state can't",
      hint: `take another entry: ${names.join(", ")}`,
    });
  const state = new Map(program.state.map((s) => [s.name, s.tensor]));
  const replaced = new Map<Value, Value>();
  for (const p of g.params) {
    const value = state.get(paramName(p));
    if (value) replaced.set(p, constant([], { value, name: paramName(p) }));
  }
  if (replaced.size === 0) return g;
  const sizes = g.sizes ?? [];
  const copied = copyWith([...g.results, ...sizes], new Map(replaced));
  const params = g.params.filter((p) => !replaced.has(p));
  const [results, finders] = [copied.slice(0, g.results.length), copied.slice(g.results.length)];
  return graph(g.name, params, results, g.resultNames, undefined, finders);
}
