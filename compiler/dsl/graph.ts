/** Models as graphs for inference, and what inputs look like. */

import { type Dim, dimSymbol } from "../../ir/dim.js";
import { type DType, requireDType } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, graph, param, type TensorType, type Value } from "../../ir/graph.js";
import { withResults } from "../../ir/graph-rebuild.js";
import { isValue, requireValue } from "../../ir/op.js";
import { constant } from "../../ir/ops/constant.js";
import {
  anObject,
  aString,
  type Checks,
  checkOptions,
  describe,
  listOf,
  oneOf,
  recordOf,
  sizeOrRange,
} from "../options.js";
import { Context } from "./context.js";
// Models use the methods of values; bundlers leave F out where it is not named.
import "./f/methods.js";
import { located, type Module, type Variable } from "./module.js";

/** A size, or the name of a size that each run chooses, such as "batch". */
export type DimSpec = number | string;

/** What goes in: a shape of f32 values, or another dtype and a shape, which may be written as types are printed: `i64[batch,5]`. */
export type InputSpec =
  | readonly DimSpec[]
  | { readonly dtype: DType; readonly shape: readonly DimSpec[] }
  | `${DType}[${string}]`;

/** By name, in the order in which the model takes them. */
export type Inputs = Readonly<Record<string, InputSpec>>;

/** Ranges of named sizes, inclusive, or one value. Default: from 1 on. */
export type DimRanges = Readonly<Record<string, number | readonly [min: number, max: number]>>;

/** What a model may give: a value, a list of values, or values by name. */
export type Outputs = Value | readonly Value[] | Readonly<Record<string, Value>>;

export interface GraphOptions {
  readonly inputs: Inputs;
  readonly dims?: DimRanges;
  /** Name of the graph. Default: the model's class. */
  readonly name?: string;
  /** Names of the outputs, where the model gives values without names. Default: `output`, or `output0`, `output1`, … */
  readonly outputs?: readonly string[];
  /** Whether the weights are part of the graph ("constants", the default) or its first parameters ("params"). */
  readonly weights?: "constants" | "params";
}

const graphChecks: Checks<GraphOptions> = {
  inputs: anObject,
  dims: recordOf(sizeOrRange),
  name: aString,
  outputs: listOf(aString),
  weights: oneOf("constants", "params"),
};

function parsed(name: string, spec: InputSpec): { readonly dtype: DType; readonly shape: readonly DimSpec[] } {
  if (Array.isArray(spec)) return { dtype: "f32", shape: spec };
  if (typeof spec === "object" && spec !== null && "shape" in spec) return spec;
  const [, dtype, sizes] = (typeof spec === "string" && /^\s*(\w+)\s*\[([\w\s,]*)\]\s*$/.exec(spec)) || [];
  const shape = sizes?.trim() === "" ? [] : sizes?.split(",").map((d) => d.trim());
  if (dtype === undefined || shape === undefined || shape.includes(""))
    throw new ModelError({
      where: name,
      message: `an input is a shape, { dtype, shape } or a type as text, not ${describe(spec)}`,
      hint: `such as ["batch", 3], { dtype: "i64", shape: ["batch"] } or "i64[batch]"`,
    });
  return { dtype: dtype as DType, shape: shape.map((d) => (/^\d/.test(d) ? Number(d) : d)) };
}

/** Types of inputs, with one symbol for each name; `known` are symbols that exist already. */
export function inputTypes(
  inputs: Inputs,
  ranges: DimRanges = {},
  known: ReadonlyMap<string, Dim> = new Map(),
): ReadonlyMap<string, TensorType> {
  const symbols = new Map(known);
  const dim = (d: DimSpec): Dim => {
    if (typeof d !== "string") {
      if (Number.isInteger(d) && d >= 0) return d;
      throw new ModelError({
        message: `a size is a whole number or a name, not ${describe(d)}`,
        hint: 'a size that each run chooses has a name: ["batch", 3]',
      });
    }
    const known = symbols.get(d);
    if (known !== undefined) return known;
    const range = Object.hasOwn(ranges, d) ? ranges[d]! : ([1, Infinity] as const);
    const symbol = typeof range === "number" ? range : dimSymbol(d, { min: range[0], max: range[1] });
    symbols.set(d, symbol);
    return symbol;
  };
  const types = new Map(
    Object.entries(inputs).map(([name, spec]): [string, TensorType] => {
      const { dtype, shape } = parsed(name, spec);
      requireDType(dtype, name);
      return [name, located(name, name, () => ({ dtype, shape: shape.map(dim) }))];
    }),
  );
  for (const name of Object.keys(ranges)) {
    if (!symbols.has(name))
      throw new ModelError(`a range is given for "${name}", but no input has a size of that name`);
  }
  return types;
}

/** Outputs as a list of names and values. */
export function namedOutputs(outputs: unknown, names?: readonly string[]): readonly (readonly [string, Value])[] {
  const expected = "a model's forward gives a value, a list of values, or values by name";
  if (typeof outputs !== "object" || outputs === null)
    throw new ModelError({ message: `${expected}, but gave ${describe(outputs)}`, hint: "does it return its result?" });
  if (typeof (outputs as { then?: unknown }).then === "function")
    throw new ModelError({ message: `${expected}, but gave a promise`, hint: "graphs are built at once: no async" });
  const list: (readonly [string, Value])[] = isValue(outputs)
    ? [["output", outputs]]
    : Array.isArray(outputs)
      ? outputs.map((v: Value, i) => [`output${i}`, v] as const)
      : Object.entries(outputs as Readonly<Record<string, Value>>);
  if (list.length === 0) throw new ModelError(`${expected}, but gave none`);
  for (const [name, v] of list) requireValue(v, name);
  if (names === undefined) return list;
  if (names.length !== list.length)
    throw new ModelError(`${names.length} output names are given, but the model has ${list.length}`);
  return list.map(([, v], i) => [names[i]!, v] as const);
}

/** A module with any inputs and outputs. */
export type AnyModule = Module<never, unknown>;

/** Applies a model to values in order. */
export function applyModel(model: AnyModule, ctx: Context, inputs: readonly Value[]): unknown {
  return (model as unknown as Module<readonly Value[], unknown>).apply(ctx, ...inputs);
}

/**
 * The model for inference as a graph. Layers that do not fit are ModelErrors that name the layer.
 *
 * ```ts
 * const graph = toGraph(net, { inputs: { x: ["batch", 1, 32, 32] }, outputs: ["logits"] });
 * ```
 */
export function toGraph(model: AnyModule, options: GraphOptions): Graph {
  checkOptions("toGraph", options, graphChecks);
  const { inputs, dims, outputs, weights = "constants", name = model.constructor.name } = options;
  const feeds = [...inputTypes(inputs, dims)].map(([n, type]) => param(n, type));
  const values = new Map<Variable, Value>();
  const params: Value[] = [];
  const state = model.state();
  for (const [n, v] of model.variables()) {
    if (weights === "constants") {
      values.set(v, constant([], { value: state.get(n)!, name: n }));
      continue;
    }
    if (n in inputs)
      throw new ModelError({ where: n, message: "an input has the name of a weight", hint: "rename the input" });
    const value = param(n, { dtype: v.dtype, shape: v.shape });
    values.set(v, value);
    params.push(value);
  }
  const ctx = new Context(model, (v) => values.get(v));
  const results = namedOutputs(applyModel(model, ctx, feeds), outputs);
  const made = graph(
    name,
    [...params, ...feeds],
    results.map(([, v]) => v),
    results.map(([n]) => n),
  );
  return withResults(made, made.results, ctx.finders);
}
