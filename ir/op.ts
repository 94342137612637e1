/**
 * How an op is defined: once, with everything that is true of it on every target.
 *
 * A primitive states its inference, reference, gradient, accuracy and samples. A composite states a decomposition, from
 * which inference, reference and gradient follow.
 */

import { checkTime } from "./deadline.js";
import { describe } from "./describe.js";
import { type Dim, dimBounds } from "./dim.js";
import type { DType } from "./dtype.js";
import { ModelError } from "./errors.js";
import {
  type Attrs,
  activeLoc,
  type Graph,
  type GraphNode,
  makeValue,
  type NodeOf,
  type TensorType,
  typeText,
  type Value,
} from "./graph.js";
import { assumeNotNegative } from "./infer.js";
import type { LoopAttrs, ScanAttrs } from "./ops/control.js";
import type { CheckpointAttrs } from "./ops/gradient.js";
import { inScope, scope } from "./scope.js";
import type { Tensor } from "./tensor.js";

/** What a kernel must meet, against the f64 reference. */
export type Accuracy =
  | "exact"
  /** Units in the last place of the result dtype. */
  | { readonly ulp: number }
  /** |got − want| ≤ atol + rtol·|want|, in f32; scaled by the dtype's epsilon for others. */
  | { readonly rtol: number; readonly atol: number };

/** One operand of a sample: shape, dtype and how its values are drawn. */
export interface SampleOperand {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Range of uniform values (floats) or inclusive integers. Default: [−2, 2] for floats, a small range for integers. */
  readonly range?: readonly [number, number];
  /** All elements differ by at least a margin (for max, sort: away from ties, where no gradient exists). */
  readonly distinct?: boolean;
  /** Exact values instead of drawn ones. */
  readonly values?: readonly number[];
  /** Left out of gradient checks (the function is not smooth in it, or it is a parameter such as a probability). */
  readonly noGrad?: boolean;
}

export interface Sample<A> {
  readonly operands: readonly SampleOperand[];
  readonly attrs: A;
  readonly regions?: () => readonly Graph[];
  /** Skip the finite-difference check for this sample (kinks, discontinuities at these values). */
  readonly noGrad?: boolean;
}

/** What a gradient rule sees. */
export interface VjpContext<A> {
  readonly node: GraphNode;
  readonly operands: readonly Value[];
  readonly attrs: A;
  readonly results: readonly Value[];
  /** First (usually only) result. */
  readonly y: Value;
  /** Cotangent of the first result. Only valid where the first result has one: use `dys` for multi-result ops. */
  readonly dy: Value;
  /** Cotangent of each result, undefined where nothing flows back. */
  readonly dys: readonly (Value | undefined)[];
  /** Which operands' gradients are wanted. Rules may skip the others. */
  readonly needs: readonly boolean[];
  /** What rules of control flow need of differentiation itself. */
  readonly regions: RegionGradients;
}

/** How regions are differentiated: see passes/graph/differentiate. */
export interface RegionGradients {
  /**
   * For a region g(params) → results, builds the graph (params…, dResults…) → dParams… . Entries of `wrt` say which parameters'
   * cotangents are produced, in order; cotangents of non-float results are not taken as parameters.
   */
  readonly differentiate: (region: Graph, wrt: readonly boolean[]) => Graph;
  /** The results of a region applied to arguments. */
  readonly inline: (region: Graph, args: readonly Value[]) => readonly Value[];
  /** Cotangents of the operands of a scan. */
  readonly scan: (context: Omit<VjpContext<ScanAttrs>, "dy">) => readonly (Value | undefined)[];
  /** Cotangents of the operands of a loop. */
  readonly loop: (context: Omit<VjpContext<LoopAttrs>, "dy">) => readonly (Value | undefined)[];
  /** Cotangents of the operands of a checkpoint. */
  readonly recompute: (context: Omit<VjpContext<CheckpointAttrs>, "dy">) => readonly (Value | undefined)[];
}

export type Vjp<A> =
  /** No gradient exists. Asking for one is an error that names the node. */
  | "none"
  /** The gradient is zero everywhere it exists (floor, sign, comparisons). */
  | "zero"
  /** Cotangents of the operands, undefined where zero. Shapes and dtypes equal the operands'. */
  | ((context: VjpContext<A>) => readonly (Value | undefined)[]);

export interface ReferenceContext<A> {
  readonly attrs: A;
  /** Inferred result types; shapes are numbers except where data decides. */
  readonly types: readonly TensorType[];
  readonly regions: readonly Graph[];
  /** Evaluates a region. */
  readonly run: (region: Graph, operands: readonly Tensor[]) => readonly Tensor[];
  /** Value of a dim known at this point. */
  readonly dim: (d: Dim) => number;
  /** Sets a data-dependent size that the op finds and that no result's shape shows. */
  readonly bind: (d: Dim, size: number) => void;
}

interface Common<N extends string, A extends Attrs> {
  readonly name: N;
  /** Operand names. A last name that starts with `...` takes any number; one that ends in `?` may be left out (only at the end). */
  readonly operands: readonly string[];
  /** What it computes, for the generated op reference: formula, special values, overflow, source. */
  readonly summary: string;
  /** Attributes: meaning and units, for the generated op reference. */
  readonly attrs?: { readonly [K in keyof A & string]: string };
  /** What kernels must meet. A composite's default is the sum of its parts, checked at 1e-5 relative. */
  readonly accuracy: Accuracy;
  /** An element takes many times as long as an addition, so it is not computed twice to save memory traffic. */
  readonly cost?: "expensive";
  readonly samples: readonly Sample<A>[];
}

export interface Primitive<N extends string, A extends Attrs> extends Common<N, A> {
  readonly kind: "primitive";
  /**
   * Result types of operand types. Throws ModelError with what was expected. Builder, parser and verifier call this one
   * function.
   */
  readonly infer: (
    operands: readonly TensorType[],
    attrs: A,
    regions: readonly Graph[],
  ) => TensorType | readonly TensorType[];
  /** The definition: slow, obvious, in f64 (floats) or exact integers, then rounded to the result dtype. */
  readonly reference: (operands: readonly Tensor[], context: ReferenceContext<A>) => Tensor | readonly Tensor[];
  readonly vjp: Vjp<A>;
}

export interface Composite<N extends string, A extends Attrs> extends Common<N, A> {
  readonly kind: "composite";
  /** The definition in terms of other ops. */
  readonly decompose: (operands: readonly Value[], attrs: A, regions: readonly Graph[]) => Value | readonly Value[];
  /** A better gradient than the decomposition's (stability, less memory). */
  readonly vjp?: Vjp<A>;
}

export type OpFacts<N extends string, A extends Attrs> = Primitive<N, A> | Composite<N, A>;

/** An op is callable: `tanh([x])`, `transpose([x], { perm })`. Ops with several results return them all. */
type Callable<A extends Attrs, R extends "one" | "many"> = (
  operands: readonly Value[],
  ...rest: keyof A extends never ? [attrs?: A, regions?: readonly Graph[]] : [attrs: A, regions?: readonly Graph[]]
) => R extends "one" ? Value : readonly Value[];

export type Op<N extends string, A extends Attrs, R extends "one" | "many" = "one"> = OpFacts<N, A> & Callable<A, R>;
export type PrimitiveOp<N extends string, A extends Attrs, R extends "one" | "many" = "one"> = Primitive<N, A> &
  Callable<A, R>;
export type CompositeOp<N extends string, A extends Attrs, R extends "one" | "many" = "one"> = Composite<N, A> &
  Callable<A, R>;

function callText(name: string, operands: readonly Value[]): string {
  return `${name}(${operands.map((v) => typeText(v.type)).join(", ")})`;
}

/** Throws ModelError when the op does not take that many operands. */
export function checkCount(facts: { name: string; operands: readonly string[] }, given: number): void {
  const names = facts.operands;
  const variadic = names.at(-1)?.startsWith("...") ?? false;
  const most = variadic ? Infinity : names.length;
  const least = names.filter((n) => !n.startsWith("...") && !n.endsWith("?")).length;
  if (given < least || given > most) {
    throw new ModelError(`${facts.name} takes operands (${names.join(", ")}), but ${given} were given`);
  }
}

export function isValue(x: unknown): x is Value {
  return typeof x === "object" && x !== null && "def" in x && "type" in x;
}

/** The value. Throws ModelError where something else came: what it is, and how to get a value of it. */
export function requireValue(x: unknown, what = "an operand"): Value {
  if (isValue(x)) return x;
  throw new ModelError({ message: `${what} must be a value, but got ${describe(x)}`, hint: valueHint(x) });
}

function valueHint(x: unknown): string | undefined {
  if (typeof x === "number" || typeof x === "boolean") return "make it a constant: F.constant(…)";
  if (typeof x === "function")
    return "forward" in x
      ? "call the module, and pass what it gives: module(ctx, x)"
      : "call it, and pass what it gives";
  if (typeof x !== "object" || x === null) return undefined;
  if (Object.values(x).some(isValue)) return "it holds several values: pass one of them";
  if ("initializer" in x) return "a variable has a value in a context: ctx.value(variable)";
  if ("kind" in x) return "a size is a value by F.size(x, dim)";
  if ("dtype" in x && "data" in x) return "make it a constant: F.constant(tensor)";
  return undefined;
}

/** Makes a node without going through an op's call signature. Types are inferred. */
export function makeNode<N extends string, A extends Attrs>(
  facts: OpFacts<N, A>,
  operands: readonly Value[],
  attrs: A,
  regions: readonly Graph[] = [],
  loc: string | undefined = activeLoc(),
): NodeOf<N, A> {
  checkTime(loc);
  checkCount(facts, operands.length);
  operands.forEach((v, i) => {
    if (!isValue(v)) requireValue(v, `operand ${facts.operands[i] ?? i} of ${facts.name}`);
  });
  let types: readonly TensorType[];
  try {
    types = inferTypes(facts, operands, attrs, regions);
  } catch (error) {
    if (!(error instanceof ModelError) || error.problems.some((p) => p.where !== undefined)) throw error;
    throw new ModelError(
      error.problems.map((p) => ({
        where: loc ?? facts.name,
        message: `${callText(facts.name, operands)}: ${p.message}`,
        hint: p.hint,
      })),
      { cause: error },
    );
  }
  const results: Value[] = [];
  const node: NodeOf<N, A> = { op: facts.name, operands, attrs, regions, results, loc };
  // The union GraphNode is closed over ops/index.ts; a facts object always belongs to it.
  types.forEach((type, index) => {
    results.push(makeValue(type, node as unknown as GraphNode, index));
  });
  scope().made?.(node as unknown as GraphNode);
  return node;
}

/**
 * Runs `body` and tells which nodes it made: how a region finds out what it captured from outside. `own`: without those that were
 * made for regions inside.
 */
export function recordNodes<T>(body: () => T): {
  readonly value: T;
  readonly made: ReadonlySet<GraphNode>;
  readonly own: ReadonlySet<GraphNode>;
} {
  const outer = scope().made;
  const made = new Set<GraphNode>();
  const own = new Set<GraphNode>();
  const record = (node: GraphNode, inner = false) => {
    made.add(node);
    if (!inner) own.add(node);
  };
  const value = inScope({ made: record }, body);
  if (outer) for (const node of made) outer(node, true);
  return { value, made, own };
}

/** More are a damaged file: loop nests and index arithmetic grow with each. */
const mostAxes = 64;

/** Sizes are not negative: refused where that is certain, else for the run to check. */
function requireSizes(t: TensorType): void {
  if (t.shape.length > mostAxes)
    throw new ModelError(`the result would have ${t.shape.length} axes; at most ${mostAxes} are supported`);
  for (const d of t.shape) {
    if (typeof d === "number" && !Number.isInteger(d))
      throw new ModelError({
        message: `the result would be ${typeText(t)}, whose size ${d} is no whole number`,
        hint: Number.isNaN(d)
          ? "sizes with names are no numbers of JavaScript: let −1 stand for a product, or x.flatten() make it"
          : "a size does not divide another one as the op needs it",
      });
    if (dimBounds(d).max < 0)
      throw new ModelError({
        message: `the result would be ${typeText(t)}, of a negative size`,
        hint: "the input is too small for the op",
      });
    assumeNotNegative(d);
  }
}

/** Result types of an op on operands; for a composite, those of its decomposition. */
export function inferTypes<N extends string, A extends Attrs>(
  facts: OpFacts<N, A>,
  operands: readonly Value[],
  attrs: A,
  regions: readonly Graph[] = [],
): readonly TensorType[] {
  if (facts.kind === "primitive") {
    const types = facts.infer(
      operands.map((v) => v.type),
      attrs,
      regions,
    );
    const all: readonly TensorType[] = Array.isArray(types) ? types : [types as TensorType];
    for (const t of all) requireSizes(t);
    return all;
  }
  const values = facts.decompose(operands, attrs, regions);
  return Array.isArray(values) ? values.map((v: Value) => v.type) : [(values as Value).type];
}

function callable<F extends OpFacts<string, A>, A extends Attrs, R extends "one" | "many">(
  facts: F,
  results: R,
): F & Callable<A, R> {
  const call = (operands: readonly Value[], attrs: A = {} as A, regions: readonly Graph[] = []) => {
    const node = makeNode(facts, operands, attrs, regions);
    return results === "one" ? node.results[0] : node.results;
  };
  Object.defineProperty(call, "name", { value: facts.name });
  const { name: _, ...rest } = facts;
  return Object.assign(call, rest) as unknown as F & Callable<A, R>;
}

export function defineOp<N extends string, A extends Attrs>(facts: Omit<Primitive<N, A>, "kind">): PrimitiveOp<N, A> {
  return callable<Primitive<N, A>, A, "one">({ kind: "primitive", ...facts }, "one");
}

/** An op with several results. */
export function defineMultiOp<N extends string, A extends Attrs>(
  facts: Omit<Primitive<N, A>, "kind">,
): PrimitiveOp<N, A, "many"> {
  return callable<Primitive<N, A>, A, "many">({ kind: "primitive", ...facts }, "many");
}

export function defineComposite<N extends string, A extends Attrs>(
  facts: Omit<Composite<N, A>, "kind">,
): CompositeOp<N, A> {
  return callable<Composite<N, A>, A, "one">({ kind: "composite", ...facts }, "one");
}

export function defineMultiComposite<N extends string, A extends Attrs>(
  facts: Omit<Composite<N, A>, "kind">,
): CompositeOp<N, A, "many"> {
  return callable<Composite<N, A>, A, "many">({ kind: "composite", ...facts }, "many");
}
