/**
 * How far results may lie from the reference when every op on the way is only as accurate as it states: the graph is evaluated
 * again with each inexact op's results moved within its accuracy. Where that flips a comparison or overflows, anything goes, as it
 * does for what is made of the bits of inexact numbers: a few moves need not change those that are looked at.
 */

import { isFloat } from "../../ir/dtype.js";
import { type Graph, type GraphNode, graphNodes, graphRoots, type Value } from "../../ir/graph.js";
import type { Accuracy } from "../../ir/op.js";
import { opOf } from "../../ir/ops/index.js";
import { bindShape, type DimBindings, evaluateValues } from "../../ir/reference.js";
import { element, setElement, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { type Random, seeded } from "../graph/random.js";
import { ulpOf } from "../ops/accuracy.js";

type FloatName = Parameters<typeof ulpOf>[0];

/** A sum of f32 products of such numbers may overflow on the way, where the reference's doubles do not. */
const large = 1e15;

/** Units in the last place that an inexact result may be off where the moves of several ops came to nothing. */
const MOVES_MAY_CANCEL = 4;

/** Arithmetic that passes which round may do in another order. */
const regrouped: ReadonlySet<string> = new Set(["add", "sub", "mul", "div"]);

export interface Sensitivity {
  /** All results, from evaluations that were moved. */
  readonly moved: readonly (readonly Tensor[])[];
  /** Whether a result hangs on inexact ops, and whether on the bits of what they give. */
  readonly results: readonly { readonly inexact: boolean; readonly ofBits: boolean }[];
}

/** Undefined where sums may overflow on the way. */
export function sensitivityOf(g: Graph, feeds: readonly Tensor[]): Sensitivity | undefined {
  const all = [1, 2, 3].map((k) => perturbed(g, feeds, k));
  const known = all.filter((m) => m !== undefined);
  if (known.length < all.length) return undefined;
  const { inexact, ofBits } = inexactValues(g);
  return { moved: known, results: g.results.map((r) => ({ inexact: inexact.has(r), ofBits: ofBits.has(r) })) };
}

function inexactValues(g: Graph): { readonly inexact: ReadonlySet<Value>; readonly ofBits: ReadonlySet<Value> } {
  const inexact = new Set<Value>();
  const ofBits = new Set<Value>();
  const readsBits = (node: GraphNode): boolean =>
    node.op === "bitcast" || node.regions.some((r) => graphNodes(r).some(readsBits));
  for (const node of graphNodes(g)) {
    const follows = node.operands.some((v) => inexact.has(v));
    const moved = accuracyOf(node) !== "exact";
    const bits = readsBits(node) && (follows || (moved && node.regions.length > 0));
    for (const r of node.results) {
      if (follows || moved) inexact.add(r);
      if (bits || node.operands.some((v) => ofBits.has(v))) ofBits.add(r);
    }
  }
  return { inexact, ofBits };
}

/**
 * Results with each inexact op's results moved at random, and those of arithmetic on floats by units in the last place. Undefined
 * where a sum meets numbers so large that kernels may overflow on the way to a result that is finite.
 */
function perturbed(g: Graph, feeds: readonly Tensor[], seed: number): readonly Tensor[] | undefined {
  const random = seeded(seed);
  // The first moves everything one way: what goes to and fro may come back to where it was.
  const up = seed === 1 ? 1 : 0.5;
  const known = new Map<Value, Tensor>();
  const dims: DimBindings = new Map();
  g.params.forEach((p, i) => {
    bindShape(p.type.shape, feeds[i]!.shape, dims);
    known.set(p, feeds[i]!);
  });
  let overflows = false;
  const results = evaluateValues(graphRoots(g), known, dims, (node, made) => {
    const accuracy = accuracyOf(node);
    if (accuracy === "exact") return;
    if ("rtol" in accuracy) overflows ||= node.operands.some((v) => hasLarge(known.get(v)!));
    made.forEach((t, i) => {
      if (isFloat(t.dtype)) known.set(node.results[i]!, moved(t, accuracy, random, up));
    });
  });
  return overflows ? undefined : g.results.map((r) => known.get(r) ?? results[0]!);
}

/** What is inexact in a region, in any of its rounds, is not moved there: its results are. */
function accuracyOf(node: GraphNode): Accuracy {
  if (node.regions.some((r) => graphNodes(r).some((inner) => accuracyOf(inner) !== "exact")))
    return { rtol: 1e-5, atol: 1e-6 };
  const stated = opOf(node).accuracy;
  return stated === "exact" && regrouped.has(node.op) ? { ulp: 2 } : stated;
}

function hasLarge(t: Tensor): boolean {
  if (!isFloat(t.dtype)) return false;
  for (let i = 0; i < t.data.length; i++) {
    const x = Math.abs(element(t, i));
    if (x > large && x !== Infinity) return true;
  }
  return false;
}

function moved(t: Tensor, accuracy: Exclude<Accuracy, "exact">, random: Random, up: number): Tensor {
  const dtype = t.dtype as FloatName;
  const out = tensorFrom(
    t.dtype,
    t.shape,
    Array.from({ length: t.data.length }, (_, i) => element(t, i)),
  );
  const scale = ulpOf(dtype, 1) / ulpOf("f32", 1);
  for (let i = 0; i < out.data.length; i++) {
    const x = element(t, i);
    if (!Number.isFinite(x)) continue;
    const reach =
      "ulp" in accuracy ? accuracy.ulp * ulpOf(dtype, x) : scale * (accuracy.atol + accuracy.rtol * Math.abs(x));
    // To either end: less may round to the number itself. Wide reaches vary, so that two moves on one way do not cancel.
    const part = "ulp" in accuracy ? 1 : 0.6 + 0.4 * random();
    setElement(out, i, x + part * (random() < up ? reach : -reach));
  }
  return out;
}

/** The first element of a result that lies further from the reference than the moved evaluations explain, in words. */
export function unexplained(
  got: readonly Tensor[],
  want: readonly Tensor[],
  { moved, results }: Sensitivity,
): string | undefined {
  for (const [i, w] of want.entries()) {
    const g = got[i]!;
    if (g.shape.join() !== w.shape.join()) return `result ${i} has shape [${g.shape}] instead of [${w.shape}]`;
    if (results[i]!.ofBits) continue;
    const others = moved.map((m) => m[i]!);
    const wrong = strayElement(g, w, others, results[i]!.inexact && isFloat(w.dtype) ? MOVES_MAY_CANCEL : 0);
    if (wrong !== undefined) return `result ${i}, ${wrong}`;
  }
  return undefined;
}

function strayElement(got: Tensor, want: Tensor, others: readonly Tensor[], ulps: number): string | undefined {
  const float = isFloat(want.dtype);
  for (let i = 0; i < want.data.length; i++) {
    const w = element(want, i);
    const x = element(got, i);
    if (Object.is(x, w) || (Number.isNaN(x) && Number.isNaN(w)) || (!float && x === w)) continue;
    const near = others.map((t) => element(t, i));
    const least = ulps > 0 && Number.isFinite(w) ? ulps * ulpOf(want.dtype as FloatName, w) : 0;
    if (x !== w && Math.abs(x - w) <= least) continue;
    // No inexact op on the way: the result is exact, to the sign of zero.
    if (near.every((v) => Object.is(v, w) || (Number.isNaN(v) && Number.isNaN(w))))
      return `element ${i} is ${x} instead of ${w}`;
    if (!near.every(Number.isFinite) || !Number.isFinite(w)) continue;
    const reach = 8 * Math.max(...near.map((v) => Math.abs(v - w)));
    if (!(Math.abs(x - w) <= reach)) return `element ${i} is ${x} instead of ${w} ± ${reach}`;
  }
  return undefined;
}
