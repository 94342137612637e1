/**
 * Caches of decoders as state. A decoder as exporters write it takes the keys and values of all tokens before and gives them back with those
 * of now behind: its caller carries them from run to run. `withCache` makes a program of it in which the session keeps them:
 *
 *   past: f32[1, 3, P, 64]                          past: state f32[1, 3, 2048, 64],  P: state i64
 *   present = concat(past, now)             ⇒       past' = updateSlice(past, now at row P),  P' = P + rows of now
 *   … present …                                     … past'[:, :, 0 … P + rows] …
 *
 * Rows behind the first P mean nothing, so a run that ends before its time, or a smaller P, leaves nothing to be undone.
 */

import { type Dim, dimAdd, dimEqual, dimSymbol, dimSymbols } from "../ir/dim.js";
import { type DType, dtypeInfo, isFloat } from "../ir/dtype.js";
import { ModelError, type Problem } from "../ir/errors.js";
import { type Graph, type GraphNode, graph, graphNodes, param, paramName, typeText, type Value } from "../ir/graph.js";
import { remake, withDims } from "../ir/graph-rebuild.js";
import { choices } from "../ir/names.js";
import { cast } from "../ir/ops/cast.js";
import { dimSize } from "../ir/ops/constant.js";
import { slice, updateSlice } from "../ir/ops/movement.js";
import { elementCount, scalar, type Tensor } from "../ir/tensor.js";
import { simplify } from "../passes/graph/simplify.js";
import { aString, atLeast, type Checks, checkOptions, oneOf, recordOf } from "./options.js";
import type { Program, ProgramState } from "./program.js";

export interface CacheOptions {
  /** Most tokens that a session holds: caches have room for as many. Pages of memory that no token has reached take none. */
  readonly length: number;
  /**
   * Outputs by the inputs that they are fed to in the next run. Default: those whose names are equal but that one begins with `present` and
   * the other with `past` or `past_key_values`.
   */
  readonly carry?: Readonly<Record<string, string>>;
  /** What floats are kept in; `"f16"` takes half of the memory of f32, and rounds. Default: as in the model. */
  readonly dtype?: "f32" | "f16";
}

const cacheChecks: Checks<CacheOptions> = {
  length: atLeast(1, 2 ** 31 - 1),
  carry: recordOf(aString),
  dtype: oneOf("f32", "f16"),
};

/** An input of the model and the output that is its next value. */
interface Carried {
  readonly input: Value;
  readonly output: number;
  /** The axis of tokens. */
  readonly axis: number;
}

/**
 * The decoder with its caches in the session's memory, as a program with the entry `main`: it has neither these inputs nor these outputs any more.
 * How many tokens there are is a state of the size's own name (`past_sequence_length`), i64: each run adds its own to it, and
 * `session.setState` takes back tokens, or all of them for a new text.
 *
 * @throws ModelError that names inputs and outputs that are not carried so
 */
export function withCache(model: Graph, options: CacheOptions): Program {
  checkOptions("withCache", options, cacheChecks, ["length"]);
  // Exporters write reshapes and casts that do nothing around what is joined.
  const simple = simplify.run(model);
  const names = pairsOf(simple, options.carry);
  const found = names.map(([input, output]) => carriedOf(simple, input, output));
  const wrong = found.filter((f): f is Problem => "message" in f);
  if (wrong.length > 0) throw new ModelError(wrong);
  const { name: past, min } = countOf(simple, found as readonly Carried[]);
  const bounded = dimSymbol(past, { min, max: options.length });
  const g = withDims(simple, (s) => (s.name === past ? bounded : undefined));
  const carried = names.map(([input, output]) => carriedOf(g, input, output) as Carried);
  return new Caching(g, bounded, carried, options).program();
}

const endOf = (name: string, begins: RegExp): string | undefined =>
  begins.test(name) ? name.replace(begins, "") : undefined;

/** Names of inputs and of the outputs that are fed to them. */
function pairsOf(g: Graph, carry: CacheOptions["carry"]): readonly (readonly [input: string, output: string])[] {
  const inputs = g.params.map(paramName);
  if (carry !== undefined) {
    const problems: Problem[] = [];
    const known = (kind: string, name: string, all: readonly string[]): void => {
      if (!all.includes(name))
        problems.push({
          where: "option carry",
          message: `the model has no ${kind} ${JSON.stringify(name)}`,
          hint: choices(name, all, `its ${kind}s are`),
        });
    };
    for (const [input, output] of Object.entries(carry)) {
      known("input", input, inputs);
      known("output", output, g.resultNames);
    }
    if (problems.length > 0) throw new ModelError(problems);
    return Object.entries(carry);
  }
  const outputs = new Map(g.resultNames.map((name) => [endOf(name, /^present(_key_values)?/), name]));
  return inputs.flatMap((input) => {
    const end = endOf(input, /^past(_key_values)?/);
    const output = end === undefined ? undefined : outputs.get(end);
    return output === undefined ? [] : [[input, output] as const];
  });
}

/** How an input is carried; or why it is not. */
function carriedOf(g: Graph, name: string, to: string): Carried | Problem {
  const input = g.params.find((p) => paramName(p) === name)!;
  const output = g.resultNames.indexOf(to);
  const { def } = g.results[output]!;
  const where = `input "${name}" and output "${to}"`;
  const open = input.type.shape.flatMap((d, a) => (typeof d === "number" ? [] : [a]));
  const isJoined = def.op === "concat" && def.operands[0] === input && def.operands.length === 2;
  if (!isJoined)
    return {
      where,
      message: "the output is not what the input holds with rows of now behind it",
      hint: "only caches that grow at their end are kept in the session: leave this one out by the option carry",
    };
  const { axis } = def.attrs;
  const others = open.filter((a) => a !== axis);
  if (others.length > 0 || open.length === 0)
    return {
      where,
      message: `the only open size of ${typeText(input.type)} is to be its number of tokens, axis ${axis}`,
      hint: "fix the others when importing: importOnnx(bytes, { dims: { batch_size: 1 } })",
    };
  return { input, output, axis };
}

/** The size that counts the tokens in all caches. */
function countOf(g: Graph, carried: readonly Carried[]): { readonly name: string; readonly min: number } {
  const [first, ...others] = carried.map(({ input, axis }) => input.type.shape[axis]!);
  if (first === undefined)
    throw new ModelError({
      message: "no output of the model is an input of the next run",
      hint: `say which are with the option carry: { input: output }. Its inputs are ${g.params.map(paramName).join(", ")}; its outputs ${g.resultNames.join(", ")}`,
    });
  const [symbol, ...more] = dimSymbols(first).values();
  if (symbol === undefined || more.length > 0 || !others.every((d) => dimEqual(d, first)))
    throw new ModelError({
      message: `the caches have no one number of tokens: ${carried.map(({ input }) => `${paramName(input)} is ${typeText(input.type)}`).join(", ")}`,
      hint: "give it one name with the option shapes of importOnnx",
    });
  return { name: symbol.name, min: symbol.min };
}

/** Zeros that several states may begin as. */
class Zeros {
  readonly #known = new Map<string, Tensor["data"]>();

  of(dtype: DType, shape: readonly number[]): Tensor {
    const count = elementCount(shape);
    const key = `${dtype} ${count}`;
    const data = this.#known.get(key) ?? new dtypeInfo[dtype].array(count);
    this.#known.set(key, data);
    return { dtype, shape, data } as Tensor;
  }
}

class Caching {
  readonly #graph: Graph;
  readonly #past: Dim;
  readonly #carried: readonly Carried[];
  readonly #options: CacheOptions;
  readonly #name: string;
  /** What stands for values of the model. */
  readonly #now = new Map<Value, Value>();
  readonly #next = new Map<Value, Value>();

  constructor(g: Graph, past: Dim & { readonly key: string }, carried: readonly Carried[], options: CacheOptions) {
    this.#graph = g;
    this.#past = past;
    this.#name = past.key;
    this.#carried = carried;
    this.#options = options;
  }

  program(): Program {
    const g = this.#graph;
    const inputs = new Set(this.#carried.map((c) => c.input));
    const joins = new Map(this.#carried.map((c) => [g.results[c.output]!.def as GraphNode, c]));
    const caches = new Map(this.#carried.map((c) => [c, this.#cache(c)]));
    for (const [{ input, axis }, cache] of caches) this.#now.set(input, this.#rows(cache, axis, this.#past, input));
    for (const node of graphNodes(g)) {
      const operands = node.operands.map((v) => this.#now.get(v) ?? v);
      const join = joins.get(node);
      if (join !== undefined) this.#append(node, operands[1]!, join, caches.get(join)!);
      else if (operands.some((v, i) => v !== node.operands[i])) {
        const copy = remake(node, operands);
        node.results.forEach((r, i) => {
          this.#now.set(r, copy.results[i]!);
        });
      }
    }
    return this.#assembled(inputs, [...caches.values()]);
  }

  #cache({ input, axis }: Carried): Value {
    const { dtype, shape } = input.type;
    const kept = this.#options.dtype ?? dtype;
    const name = paramName(input);
    if (!isFloat(dtype) && kept !== dtype)
      throw new ModelError({ where: `input "${name}"`, message: `it is ${dtype}, which can't be kept as ${kept}` });
    return param(name, { dtype: kept, shape: shape.map((d, a) => (a === axis ? this.#options.length : d)) });
  }

  /** The first rows of a cache, as values of the model's dtype. */
  #rows(cache: Value, axis: number, count: Dim, like: Value): Value {
    const { shape } = cache.type;
    const sizes = shape.map((d, a) => (a === axis ? count : d));
    const rows = slice([cache], { starts: shape.map(() => 0), sizes, steps: shape.map(() => 1) });
    return this.#as(rows, like.type.dtype);
  }

  #as(v: Value, dtype: DType): Value {
    return v.type.dtype === dtype ? v : cast([v], { to: dtype });
  }

  /** Puts rows of now into the cache, in place of joining them to those of before. */
  #append(node: GraphNode, now: Value, { axis }: Carried, cache: Value): void {
    const { length } = this.#options;
    const next = updateSlice([cache, this.#as(now, cache.type.dtype)], {
      starts: cache.type.shape.map((_, a) => (a === axis ? this.#past : 0)),
      hint: `the session holds ${length} tokens: set the state ${JSON.stringify(this.#name)} to 0 for a new text, or to less than it is; or give withCache a larger length`,
    });
    const joined = node.results[0]!;
    this.#next.set(joined, next);
    this.#now.set(joined, this.#rows(next, axis, dimAdd(this.#past, now.type.shape[axis]!), joined));
  }

  #assembled(inputs: ReadonlySet<Value>, caches: readonly Value[]): Program {
    const g = this.#graph;
    const carried = new Map(this.#carried.map((c, i) => [c.output, i]));
    const { shape } = g.results[this.#carried[0]!.output]!.type;
    const count = param(this.#name, { dtype: "i64", shape: [] });
    const grown = dimSize([], { size: shape[this.#carried[0]!.axis]! });
    const plain = g.results.flatMap((r, i) =>
      carried.has(i) ? [] : [{ name: g.resultNames[i]!, value: this.#now.get(r) ?? r }],
    );
    const next = this.#carried.map(({ output }) => this.#next.get(g.results[output]!)!);
    const others = g.params.filter((p) => !inputs.has(p));
    const donations = new Map([...caches, count].map((_, i) => [plain.length + i, others.length + i]));
    const main = graph(
      g.name,
      [...others, ...caches, count],
      [...plain.map((p) => p.value), ...next, grown],
      [...plain.map((p) => p.name), ...[...caches, count].map(paramName)],
      donations,
    );
    const zeros = new Zeros();
    const state = caches.map(
      (c): ProgramState => ({
        name: paramName(c),
        role: "cache",
        tensor: zeros.of(c.type.dtype, c.type.shape as readonly number[]),
      }),
    );
    const counter: ProgramState = { name: this.#name, role: "counter", tensor: scalar("i64", 0n) };
    const fixed = g.fixedInputs ? { fixedInputs: g.fixedInputs } : {};
    return { entries: { main: { ...main, ...fixed } }, state: [...state, counter] };
  }
}
