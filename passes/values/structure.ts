/** What ops that move, choose and combine elements make of what is known of their operands. */

import { type Dim, dimBounds, dimMul, dimSub } from "../../ir/dim.js";
import { type DType, isFloat, isInt } from "../../ir/dtype.js";
import { type Attr, type Attrs, type GraphNode, type NodeOf, param, type Value } from "../../ir/graph.js";
import type { ReduceName } from "../../ir/ops/classes.js";
import { opOf } from "../../ir/ops/index.js";
import { productOf } from "../../ir/ops/movement.js";
import { reducedShape } from "../../ir/ops/reduce.js";
import { element, stridesOf, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { type Contents, contentsOfElements, elementsOf, fewElements, tensorOf } from "./contents.js";
import { elementwiseFact } from "./elementwise.js";
import { dimOf, type Fact, factOfDim, factOfDType, factOfNumber, factWithin, hull, hullOf } from "./fact.js";

const symbolic = (a: Attr): boolean =>
  Array.isArray(a) ? (a as readonly Attr[]).some(symbolic) : typeof a === "object" && "kind" in a;

/** Whether an attribute names a size. */
export const hasSymbols = (n: GraphNode): boolean => Object.values(n.attrs as Attrs).some(symbolic);

/** A fact for each result element: that of the element whose number the op's reference finds in its place. */
function byNumbers(
  n: GraphNode,
  operands: readonly Contents[],
  indices: number | undefined,
  fill?: Fact,
): Contents | undefined {
  const [result] = n.results;
  if (fewElements(result!) === undefined || hasSymbols(n)) return undefined;
  // Where nothing tells elements apart, what holds of all says as much.
  if (!operands.some((c, i) => i !== indices && (c.tensor !== undefined || c.elements !== undefined))) return undefined;
  const elements: Fact[] = [];
  const inputs: Tensor[] = [];
  for (const [i, v] of n.operands.entries()) {
    if (i === indices) {
      const tensor = tensorOf(v, operands[i]!);
      if (tensor === undefined) return undefined;
      inputs.push(tensor);
      continue;
    }
    const own = elementsOf(v, operands[i]!);
    if (own === undefined) return undefined;
    const first = elements.length;
    for (const fact of own) elements.push(fact);
    inputs.push(
      tensorFrom(
        "i32",
        v.type.shape as readonly number[],
        own.map((_, k) => first + k),
      ),
    );
  }
  const facts = opOf(n);
  if (facts.kind !== "primitive") return undefined;
  const attrs = fill === undefined ? (n.attrs as Attrs) : { ...(n.attrs as Attrs), value: elements.push(fill) - 1 };
  const made = facts.reference(inputs, {
    attrs,
    types: n.results.map((r) => ({ dtype: "i32" as const, shape: r.type.shape })),
    regions: [],
    run: () => [],
    dim: (d) => d as number,
    bind: () => {},
  });
  const source = (Array.isArray(made) ? made[0] : made) as Tensor;
  return contentsOfElements(Array.from({ length: source.data.length }, (_, i) => elements[element(source, i)]!));
}

/** Ops whose result elements are elements of their operands. */
export const moves = (n: GraphNode, operands: readonly Contents[]): Contents =>
  byNumbers(n, operands, undefined) ?? { each: operands.map((c) => c.each).reduce(hull) };

/** Ops of which operand 1 holds indices. */
export const gathers = (n: GraphNode, operands: readonly Contents[]): Contents =>
  guarded(() => byNumbers(n, operands, 1)) ?? { each: operands[0]!.each };

export const scatters = (
  n: NodeOf<string, { readonly reduction: string }>,
  operands: readonly Contents[],
): Contents => {
  if (n.attrs.reduction !== "none") return { each: factOfDType(n.results[0]!.type.dtype) };
  const both = { each: hull(operands[0]!.each, operands[2]!.each) };
  return guarded(() => byNumbers(n as GraphNode, operands, 1)) ?? both;
};

/** Indices out of range are for the run to report. */
function guarded<T>(body: () => T): T | undefined {
  try {
    return body();
  } catch {
    return undefined;
  }
}

export function padded(n: NodeOf<"pad", { readonly value: number }>, operands: readonly Contents[]): Contents {
  const fill = factOfNumber(n.attrs.value);
  return byNumbers(n as unknown as GraphNode, operands, undefined, fill) ?? { each: hull(operands[0]!.each, fill) };
}

/** 0, 1, 2 … along an axis. */
export function counted(n: NodeOf<"iota", { readonly axis: number }>): Contents {
  const [result] = n.results;
  const size = result!.type.shape[n.attrs.axis]!;
  const each = indexInto(size);
  const count = fewElements(result!);
  if (count === undefined) return { each };
  const shape = result!.type.shape as readonly number[];
  const stride = stridesOf(shape)[n.attrs.axis]!;
  return contentsOfElements(
    Array.from({ length: count }, (_, i) => factOfNumber(Math.floor(i / stride) % (size as number))),
  );
}

/** An index into an axis of that size. */
export function indexInto(size: Dim): Fact {
  const last = dimSub(size, 1);
  return factWithin(0, Math.max(dimBounds(last).max, 0), true, last);
}

// ----------------------------------------------------------------------------------------------- reductions

const combining = { sum: "add", prod: "mul", reduceMax: "max", reduceMin: "min", any: "or", all: "and" } as const;

/** The fact of `op` on two elements of a dtype. */
function combine(op: (typeof combining)[ReduceName], like: Value, a: Fact, b: Fact): Fact {
  const type = { dtype: like.type.dtype, shape: [] };
  const operand = param("", type);
  const node = { op, operands: [operand, operand], attrs: {}, regions: [], results: [operand], loc: undefined };
  return elementwiseFact(node as Parameters<typeof elementwiseFact>[0], [a, b]);
}

/** Largest number of elements that are combined one by one. */
const MOST_COMBINED = 256;

export function reduced(
  n: NodeOf<ReduceName, { readonly axes: readonly number[] }>,
  [contents]: readonly Contents[],
): Contents {
  const x = n.operands[0]!;
  const op = combining[n.op];
  const { axes } = n.attrs;
  const count = productOf(axes.map((a) => x.type.shape[a]!));
  const own = isFloat(x.type.dtype) && n.op === "sum" ? undefined : contents!.elements;
  if (own !== undefined && own.length <= MOST_COMBINED && own.length > 0) {
    const shape = x.type.shape as readonly number[];
    const kept = stridesOf(reducedShape(shape, axes, true)).map((s, a) => (axes.includes(a) ? 0 : s));
    const strides = stridesOf(shape);
    const totals: Fact[] = [];
    own.forEach((fact, i) => {
      const to = shape.reduce((sum, d, a) => sum + (Math.floor(i / strides[a]!) % d) * kept[a]!, 0);
      totals[to] = totals[to] === undefined ? fact : combine(op, x, totals[to], fact);
    });
    return contentsOfElements(totals);
  }
  return { each: reducedEach(n, contents!.each, count) };
}

function reducedEach(n: NodeOf<ReduceName, unknown>, each: Fact, count: Dim): Fact {
  const { dtype } = n.results[0]!.type;
  const { min } = dimBounds(count);
  if (n.op === "sum") return summed(each, count, dtype);
  // Of nothing there is a value that no element has.
  if (n.op === "prod" || min < 1) return factOfDType(dtype);
  return each;
}

function summed(each: Fact, count: Dim, dtype: DType): Fact {
  const d = dimOf(each);
  if (!isInt(dtype)) return factOfDType(dtype);
  const { min, max } = dimBounds(count);
  const times = (x: number, y: number): number => (x === 0 || y === 0 ? 0 : x * y);
  const low = Math.min(times(each.low, each.low < 0 ? max : min), each.low >= 0 ? Infinity : 0);
  const high = each.high > 0 ? times(each.high, max) : times(each.high, min);
  const limits = factOfDType(dtype);
  if (d !== undefined) return factOfDim(dimMul(d, count), limits);
  if (low <= limits.low || high >= limits.high) return limits;
  return { low, high, whole: true };
}

export function runningSum(
  n: NodeOf<"cumSum", { readonly axis: number; readonly exclusive: boolean; readonly reverse: boolean }>,
  [contents]: readonly Contents[],
): Contents {
  const x = n.operands[0]!;
  const { axis, exclusive, reverse } = n.attrs;
  const own = contents!.elements;
  if (own !== undefined && own.length <= MOST_COMBINED && isInt(x.type.dtype)) {
    const shape = x.type.shape as readonly number[];
    const stride = stridesOf(shape)[axis]!;
    const size = shape[axis]!;
    const out = [...own];
    own.forEach((_, first) => {
      if (Math.floor(first / stride) % size !== 0) return;
      let total = factOfNumber(0);
      for (let i = 0; i < size; i++) {
        const at = first + (reverse ? size - 1 - i : i) * stride;
        const next = combine("add", x, total, own[at]!);
        out[at] = exclusive ? total : next;
        total = next;
      }
    });
    return contentsOfElements(out);
  }
  const total = summed(contents!.each, x.type.shape[axis]!, x.type.dtype);
  const first = exclusive ? factOfNumber(0) : contents!.each;
  const { low, high, whole } = hull(first, total);
  return {
    each: contents!.each.low >= 0 || contents!.each.high <= 0 ? { low, high, whole } : factOfDType(x.type.dtype),
  };
}

/** Indices of an array of this shape, whichever axis they are of. */
export const indexIntoAny = (shape: readonly Dim[]): Fact =>
  shape.length === 0 ? factOfNumber(0) : hullOf(shape.map(indexInto));

/** Numbers from start towards limit. */
export function stepped([start, limit, delta]: readonly Contents[], dtype: DType): Fact {
  const [a, b, d] = [start!.each, limit!.each, delta!.each];
  if (!isInt(dtype)) return factOfDType(dtype);
  if (d.low > 0) return { low: a.low, high: Math.max(a.high, b.high), whole: true };
  if (d.high < 0) return { low: Math.min(a.low, b.low), high: a.high, whole: true };
  return hull({ low: a.low, high: a.high, whole: true }, { low: b.low, high: b.high, whole: true });
}
