/** The rule of each op: total over the primitives, so that none is forgotten; what tells nothing says so. */

import { isFloat, isInt } from "../../ir/dtype.js";
import type { Attrs, GraphNode, NodeOf, Value } from "../../ir/graph.js";
import { type ElementwiseName, elementwiseNames } from "../../ir/ops/classes.js";
import { type AttrsOf, opOf, type PrimitiveName } from "../../ir/ops/index.js";
import { productOf } from "../../ir/ops/movement.js";
import type { Contents } from "./contents.js";
import { contentsOfElements, elementsOf, fewElements, unknownContents } from "./contents.js";
import { elementwiseFact } from "./elementwise.js";
import { type Fact, factOfDim, factOfDType, factWithin, hull } from "./fact.js";
import { floorMod, floorModOf } from "./logic.js";
import {
  counted,
  gathers,
  indexInto,
  indexIntoAny,
  moves,
  padded,
  reduced,
  runningSum,
  scatters,
  stepped,
} from "./structure.js";

/** Contents of the results, of those of the operands. */
type Rule<N extends PrimitiveName> =
  /** Only the dtype says something. */
  "unknown" | ((n: NodeOf<N, AttrsOf<N>>, operands: readonly Contents[]) => Contents | readonly Contents[]);

/** Integers of data are followed one by one up to here where only some operands are. */
const MOST_DATA = 64;

function elementwise(n: NodeOf<ElementwiseName, unknown>, operands: readonly Contents[]): Contents {
  const node = n as GraphNode & { readonly op: ElementwiseName };
  const mod = node.op === "select" ? floorModOf(node) : undefined;
  const fact = (facts: readonly Fact[]): Fact =>
    mod ? floorMod(facts as unknown as readonly [Fact, Fact], node) : elementwiseFact(node, facts);
  const result = node.results[0]!;
  const count = fewElements(result);
  const told = operands.filter((c) => c.elements !== undefined).length;
  const apart =
    count !== undefined &&
    told > 0 &&
    (told === operands.length || (!isFloat(result.type.dtype) && count <= MOST_DATA));
  if (!apart) return { each: fact(operands.map((c) => c.each)) };
  const values = mod ?? node.operands;
  const lists = values.map((v, i) => elementsOf(v, operands[i]!));
  if (lists.some((list) => list?.length !== count)) return { each: fact(operands.map((c) => c.each)) };
  return contentsOfElements(Array.from({ length: count }, (_, i) => fact(lists.map((list) => list![i]!))));
}

/** Bounds of both branches; sizes that a branch finds mean nothing outside. */
const branches: Rule<"if"> = (n, results) => {
  const count = n.results.length;
  return n.results.map((_, i) => {
    const { low, high, whole } = hull(results[i]!.each, results[count + i]!.each);
    return ofEach({ low, high, whole });
  });
};

/** Σ of products of integers that all fit. */
const product: Rule<"conv"> = (n, [x, w]) => {
  const { dtype } = n.results[0]!.type;
  const [, ...taps] = n.operands[1]!.type.shape;
  if (taps.some((d) => typeof d !== "number")) return unknownContents(dtype);
  const depth = (taps as number[]).reduce((a, b) => a * b, 1);
  const bound = depth * magnitudeOf(x!.each) * magnitudeOf(w!.each);
  const own = factOfDType(dtype);
  const whole = x!.each.whole && w!.each.whole;
  const exact = isInt(dtype) ? -bound > own.low && bound < own.high : isFloat(dtype) && bound <= 2 ** 24;
  return { each: whole && exact ? { low: -bound, high: bound, whole } : own };
};

const magnitudeOf = (f: Fact): number => Math.max(Math.abs(f.low), Math.abs(f.high));

const ofEach = (each: Fact): Contents => ({ each });

const others = {
  constant: "unknown",
  dimSize: (n) => contentsOfElements([factOfDim(n.attrs.size)]),
  iota: (n) => counted(n),
  reshape: moves,
  transpose: moves,
  broadcast: moves,
  slice: moves,
  updateSlice: (_, [x, update]) => ofEach(hull(x!.each, update!.each)),
  concat: moves,
  pad: (n, operands) => padded(n, operands),
  checkIndices: (_, [x]) => x!,
  gather: gathers,
  gatherElements: gathers,
  gatherND: gathers,
  scatterElements: (n, operands) => scatters(n, operands),
  scatterND: (n, operands) => scatters(n, operands),
  sum: (n, operands) => reduced(n, operands),
  prod: (n, operands) => reduced(n, operands),
  reduceMax: (n, operands) => reduced(n, operands),
  reduceMin: (n, operands) => reduced(n, operands),
  any: (n, operands) => reduced(n, operands),
  all: (n, operands) => reduced(n, operands),
  argMax: (n) => ofEach(indexInto(n.operands[0]!.type.shape[n.attrs.axis]!)),
  argMin: (n) => ofEach(indexInto(n.operands[0]!.type.shape[n.attrs.axis]!)),
  cumSum: (n, operands) => runningSum(n, operands),
  cumProd: "unknown",
  sort: (n, [x]) => [ofEach(x!.each), ofEach(indexInto(n.operands[0]!.type.shape[n.attrs.axis]!))],
  topK: (n, [x]) => [ofEach(x!.each), ofEach(indexInto(n.operands[0]!.type.shape[n.attrs.axis]!))],
  bindDim: (n, [x]) => contentsOfElements([factOfDim(n.attrs.defines, x!.each)]),
  range: (n, operands) => ofEach(stepped(operands, n.results[0]!.type.dtype)),
  nonZero: (n) => ofEach(indexIntoAny(n.operands[0]!.type.shape)),
  unique: (n, [x]) => {
    const total = productOf(n.operands[0]!.type.shape);
    const index = indexInto(n.attrs.axis === undefined ? total : n.operands[0]!.type.shape[n.attrs.axis]!);
    return [ofEach(x!.each), ofEach(index), ofEach(index), ofEach(factWithin(1, Infinity, true, total))];
  },
  nonMaxSuppression: (n) => ofEach(indexIntoAny(n.operands[1]!.type.shape)),
  maxPool: (_, [x]) => ofEach(x!.each),
  conv: product,
  after: (_, [x]) => x!,
  if: branches,
  loop: "unknown",
  scan: "unknown",
  fusion: (_, results) => results,
  dotGeneral: "unknown",
  weightProduct: "unknown",
  tiledAttention: "unknown",
  tiledAttentionGrad: "unknown",
  convInputGrad: "unknown",
  convWeightGrad: "unknown",
  maxPoolGather: "unknown",
  maxPoolGrad: "unknown",
  windowSum: "unknown",
  windowSumGrad: "unknown",
  randomBits: "unknown",
} as const satisfies { readonly [N in Exclude<PrimitiveName, ElementwiseName>]: Rule<N> };

const unknownOps: ReadonlySet<string> = new Set(
  Object.entries(others).flatMap(([name, rule]) => (rule === "unknown" ? [name] : [])),
);
const elementwiseOps: ReadonlySet<string> = new Set(elementwiseNames);

type AnyRule = (n: GraphNode, operands: readonly Contents[]) => Contents | readonly Contents[];

function ruleOf(n: GraphNode): AnyRule | undefined {
  if (elementwiseOps.has(n.op)) return elementwise as AnyRule;
  return unknownOps.has(n.op) ? undefined : (others as unknown as Readonly<Record<string, AnyRule>>)[n.op];
}

const decompositions = new WeakMap<GraphNode, readonly Value[]>();

/** What a composite stands for. */
function decomposed(n: GraphNode): readonly Value[] | undefined {
  const facts = opOf(n);
  if (facts.kind !== "composite") return undefined;
  let parts = decompositions.get(n);
  if (parts === undefined) {
    const made = facts.decompose(n.operands, n.attrs as Attrs, n.regions);
    parts = Array.isArray(made) ? (made as readonly Value[]) : [made as Value];
    decompositions.set(n, parts);
  }
  return parts;
}

/** The values whose contents decide those of the node's results. */
export function needsOf(n: GraphNode): readonly Value[] {
  const parts = decomposed(n);
  if (parts) return parts;
  if (n.op === "if" || n.op === "fusion") return n.regions.flatMap((r) => r.results);
  if (n.op === "select") return floorModOf(n) ?? n.operands;
  if (ruleOf(n) !== undefined) return n.operands;
  // Nothing to follow, but what is constant can be computed.
  const small = [...n.results, ...n.operands].every((v) => fewElements(v) !== undefined);
  return small ? n.operands : [];
}

/** What is known of the results, of what is known of the values that `needsOf` names. */
export function resultContents(n: GraphNode, needed: readonly Contents[]): readonly Contents[] {
  if (opOf(n).kind === "composite") return needed;
  const rule = ruleOf(n);
  if (rule === undefined) return n.results.map((r) => unknownContents(r.type.dtype));
  const made = rule(n, needed);
  const all = Array.isArray(made) ? (made as readonly Contents[]) : [made as Contents];
  return n.results.map((r, i) => all[i] ?? unknownContents(r.type.dtype));
}
