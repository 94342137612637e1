/**
 * Multiplications and additions of constants after a product go into its constant weight and into one bias. With ∗ a convolution,
 * transposed convolution or contraction, and s, b, c constant along its channels:
 *
 *   (x∗w) · s → x∗(w·s)        (x∗w + b) · s → x∗(w·s) + b·s        (x∗w) / s → x∗(w/s)
 *   (x∗w + b) + c → x∗w + (b+c)        (x∗w) − c → x∗w + (−c)        c − x∗w → x∗(−w) + c
 *   move(x∗w) · s → move(x∗(w·s)),  a scalar s;  move: reshape, transpose, slice
 *   q∗k · s → (x∗(w·s) + b·s)∗k,  q = x∗w + b, a scalar s
 *   (n·s + b) / t → n·(s/t) + b/t,  n a cast of integers
 *
 * This is batch normalisation after a convolution, alpha and beta of Gemm, the scale of attention scores, normalisation of images of
 * bytes, and requantisation.
 *
 * Numerics: results differ from those of the graph as given by rounding only, of the same relative size as the product's own. Constants
 * are combined in doubles and rounded once. A fold is refused where a constant is not finite, or where it makes a finite weight
 * infinite or a normal one subnormal or zero. Sums that overflow on the way may do so in one form and not in the other. Weights that
 * are state (in training) are parameters, not constants, and stay as they are.
 */

import { isInt } from "../../ir/dtype.js";
import { type Graph, type GraphNode, graphNodes, graphRoots, type Shape, type Value, withLoc } from "../../ir/graph.js";
import { remake, sizeFinders, withResults } from "../../ir/graph-rebuild.js";
import { constant } from "../../ir/ops/constant.js";
import { add, mul } from "../../ir/ops/elementwise.js";
import { roundTo, type Tensor } from "../../ir/tensor.js";
import type { GraphPass, Trace } from "../pass.js";
import type { NodeNamed } from "../pattern.js";
import {
  type Channel,
  channelsOfWeight,
  combine,
  isProduct,
  type PerChannel,
  type Product,
  perChannelOf,
  scaledWeight,
  smallestNormal,
  spreadChannels,
} from "../rules/channels.js";

export const foldScales: GraphPass = {
  name: "fold-scales",
  rounds: true,
  run: (g, trace = {}) => foldGraph(g, trace),
};

/** A copy of a weight that other nodes read as well may have so many elements. */
const mostCopied = 1 << 16;

const foldGraph = (g: Graph, trace: Trace): Graph => new Folder(g, trace).run();

/** What takes the scale: a constant weight, an operand that is itself such a product, or one multiplication that follows. */
type Scaled =
  | { readonly kind: "multiplication" }
  | { readonly kind: "weight"; readonly which: 0 | 1; readonly weight: Tensor }
  | { readonly kind: "operand"; readonly which: 0 | 1; readonly tail: Tail };

/** move(source · scale + bias): a product, or a cast of integers, and what has been found to follow it. */
interface Tail {
  readonly source: Product | NodeNamed<"cast">;
  readonly scaled: Scaled;
  /** Along which axes of the source constants may vary. Those of a cast are found by the first constant that varies. */
  readonly channels: readonly Channel[];
  /** The same axes after the moves; undefined after a move that has lost them. */
  readonly seen: readonly Channel[] | undefined;
  readonly scale: PerChannel | undefined;
  /** The constant weight scaled. */
  readonly weight: Tensor | undefined;
  readonly bias: PerChannel | undefined;
  readonly scalings: number;
  readonly additions: number;
  readonly moves: readonly GraphNode[];
  /** The nodes as given, from the product on. */
  readonly nodes: readonly GraphNode[];
}

class Folder {
  readonly #graph: Graph;
  readonly #trace: Trace;
  readonly #uses = new Map<Value, number>();
  readonly #made = new Map<Value, Value>();
  readonly #tails = new Map<Value, Tail>();

  constructor(g: Graph, trace: Trace) {
    this.#graph = g;
    this.#trace = trace;
  }

  run(): Graph {
    const g = this.#graph;
    const nodes = graphNodes(g);
    const use = (v: Value) => this.#uses.set(v, (this.#uses.get(v) ?? 0) + 1);
    for (const n of nodes) n.operands.forEach(use);
    graphRoots(g).forEach(use);
    let changed = false;
    for (const n of nodes) {
      const tail = this.#extended(n) ?? this.#started(n);
      if (tail !== undefined) {
        this.#tails.set(n.results[0]!, tail);
        continue;
      }
      const regions = n.regions.map((r) => foldGraph(r, this.#trace));
      const operands = n.operands.map((v) => this.#value(v));
      if (operands.every((v, i) => v === n.operands[i]) && regions.every((r, i) => r === n.regions[i])) continue;
      const made = remake(n, operands, regions);
      n.results.forEach((r, i) => {
        this.#made.set(r, made.results[i]!);
      });
      changed = true;
    }
    const results = g.results.map((v) => this.#value(v));
    const finders = sizeFinders(g);
    const same = !changed && results.every((r, i) => r === g.results[i]);
    return same
      ? g
      : withResults(
          g,
          results,
          finders.map((v) => this.#value(v)),
        );
  }

  /** What stands for the value now. */
  #value(v: Value): Value {
    const made = this.#made.get(v);
    if (made !== undefined) return made;
    const tail = this.#tails.get(v);
    if (tail === undefined) return v;
    const built = isFolded(tail) ? this.#built(tail) : this.#asGiven(tail);
    this.#made.set(v, built);
    return built;
  }

  /** A tail at a product or cast. */
  #started(n: GraphNode): Tail | undefined {
    if (n.op === "cast") {
      const fits = n.attrs.to === "f32" && isInt(n.operands[0]!.type.dtype);
      return fits ? startOf(n, { kind: "multiplication" }, []) : undefined;
    }
    if (!isProduct(n.op)) return undefined;
    const product = n as Product;
    const { dtype } = product.results[0]!.type;
    if (dtype !== "f32" && dtype !== "f64") return undefined;
    for (const which of [1, 0] as const) {
      const v = product.operands[which]!;
      if (v.def.op !== "constant" || v.type.dtype !== dtype) continue;
      const weight = v.def.attrs.value;
      if ((this.#uses.get(v) ?? 0) > 1 && weight.data.length > mostCopied) continue;
      return startOf(product, { kind: "weight", which, weight }, channelsOfWeight(product, which, weight.shape));
    }
    for (const which of [0, 1] as const) {
      const tail = this.#onlyHere(product.operands[which]!);
      if (tail?.scaled.kind === "weight" && product.operands[0] !== product.operands[1]) {
        return startOf(product, { kind: "operand", which, tail }, []);
      }
    }
    return undefined;
  }

  /** The tail of a value that nothing else reads. */
  #onlyHere(v: Value): Tail | undefined {
    return this.#uses.get(v) === 1 ? this.#tails.get(v) : undefined;
  }

  /** The tail with one node more. */
  #extended(n: GraphNode): Tail | undefined {
    for (const [i, v] of n.operands.entries()) {
      const tail = this.#onlyHere(v);
      if (tail === undefined) continue;
      const longer = this.#moved(tail, n) ?? this.#calculated(tail, n, i);
      if (longer === undefined) continue;
      return { ...longer, nodes: [...tail.nodes, n] };
    }
    return undefined;
  }

  #moved(tail: Tail, n: GraphNode): Tail | undefined {
    switch (n.op) {
      case "transpose": {
        const { perm } = n.attrs;
        const seen = tail.seen?.map((c) => ({ ...c, axis: perm.indexOf(c.axis) }));
        return { ...tail, seen, moves: [...tail.moves, n] };
      }
      case "reshape":
      case "slice":
        return { ...tail, seen: undefined, moves: [...tail.moves, n] };
      default:
        return undefined;
    }
  }

  /** `at`: which operand the tail is. */
  #calculated(tail: Tail, n: GraphNode, at: number): Tail | undefined {
    if (!isAffine(n.op) || (n.op === "div" && at === 1)) return undefined;
    const found = n.op === "neg" ? { tail, c: one } : this.#constants(tail, n.operands[1 - at]!);
    if (found === undefined || this.#trace.mayFire?.(`fold-${n.op}`, n) === false) return undefined;
    const { c } = found;
    const negated = (x: number): number => -x;
    switch (n.op) {
      case "mul":
        return scaledBy(found.tail, c);
      case "div":
        return scaledBy(
          found.tail,
          c.map((x) => 1 / x),
        );
      case "neg":
        return scaledBy(tail, c.map(negated));
      case "add":
        return shiftedBy(found.tail, c);
      case "sub": {
        if (at === 0) return shiftedBy(found.tail, c.map(negated));
        const turned = scaledBy(found.tail, one.map(negated));
        return turned && shiftedBy(turned, c);
      }
    }
  }

  /** The value as constants along the channels of the tail, which may be found by it. */
  #constants(tail: Tail, v: Value): { readonly tail: Tail; readonly c: PerChannel } | undefined {
    const now = this.#value(v);
    const isOpen = tail.scaled.kind === "multiplication" && tail.channels.length === 0 && tail.moves.length === 0;
    for (const seen of isOpen ? [[], ...singleAxes(v.type.shape)] : [tail.seen ?? []]) {
      const c = perChannelOf(now, seen);
      if (c?.every(Number.isFinite)) return { tail: isOpen ? { ...tail, channels: seen, seen } : tail, c };
    }
    return undefined;
  }

  /** The nodes as they were, over what stands for their operands. */
  #asGiven(tail: Tail): Value {
    let [given, made]: (Value | undefined)[] = [];
    for (const n of tail.nodes) {
      const operands = n.operands.map((v) => (v === given ? made! : this.#value(v)));
      given = n.results[0]!;
      made = operands.every((v, i) => v === n.operands[i]) ? given : remake(n, operands).results[0]!;
    }
    return made!;
  }

  #built(tail: Tail): Value {
    const { source, scaled, channels, bias } = tail;
    this.#trace.fired?.(tail.scale === undefined ? "fold-bias" : "fold-scale", source);
    const scale = tail.scale ?? one;
    const operands = source.operands.map((v, i) => {
      if (scaled.kind === "multiplication" || i !== scaled.which) return this.#value(v);
      if (scaled.kind === "operand") return this.#built(scaledBy(scaled.tail, scale)!);
      return tail.weight === undefined ? this.#value(v) : constant([], { value: tail.weight });
    });
    const made = remake(source, operands).results[0]!;
    const spread = (c: PerChannel) => spreadChannels(c, channels, made.type.dtype as "f32" | "f64", made.type.shape);
    const finished = withLoc(source.loc, () => {
      const y = tail.scale && scaled.kind === "multiplication" ? mul([made, spread(scale)]) : made;
      return bias?.some((b) => b !== 0) ? add([y, spread(bias)]) : y;
    });
    return tail.moves.reduce((v, n) => remake(n, [v]).results[0]!, finished);
  }
}

const one: PerChannel = Float64Array.of(1);

const affine = ["mul", "div", "neg", "add", "sub"] as const;
const isAffine = (op: string): op is (typeof affine)[number] => (affine as readonly string[]).includes(op);

function startOf(source: Tail["source"], scaled: Scaled, channels: readonly Channel[]): Tail {
  const nothing = { scale: undefined, weight: undefined, bias: undefined, scalings: 0, additions: 0, moves: [] };
  return { source, scaled, channels, seen: channels, ...nothing, nodes: [source] };
}

/** Each axis alone, of those whose size is known. */
const singleAxes = (shape: Shape): readonly (readonly Channel[])[] =>
  shape.flatMap((size, axis) => (typeof size === "number" && size > 1 ? [[{ axis, size, from: [] }]] : []));

/** Whether anything is gained: a scale is gone, or multiplications or additions have become one. */
function isFolded({ scaled, scale, scalings, additions }: Tail): boolean {
  return additions > 1 || (scaled.kind === "multiplication" ? scalings > 1 : scale !== undefined);
}

function scaledBy(tail: Tail, by: PerChannel): Tail | undefined {
  const { channels, scaled } = tail;
  const scale = combine(tail.scale ?? one, by, channels, (a, b) => a * b);
  const bias = tail.bias && combine(tail.bias, by, channels, (b, s) => b * s);
  const fits = [scale, bias].every((c) => c === undefined || staysFinite(tail, c));
  if (!fits) return undefined;
  const next = { ...tail, scale, bias, scalings: tail.scalings + 1 };
  switch (scaled.kind) {
    case "weight": {
      const weight = scaledWeight(scaled.weight, channels, scale);
      return weight && { ...next, weight };
    }
    case "operand":
      return scaledBy(scaled.tail, scale) && next;
    case "multiplication":
      return scale.every((s) => Math.abs(s) >= smallestNormal.f32) ? next : undefined;
  }
}

function shiftedBy(tail: Tail, by: PerChannel): Tail | undefined {
  const bias = combine(tail.bias ?? Float64Array.of(0), by, tail.channels, (a, b) => a + b);
  return staysFinite(tail, bias) ? { ...tail, bias, additions: tail.additions + 1 } : undefined;
}

const staysFinite = (tail: Tail, constants: PerChannel): boolean =>
  constants.every((c) => Number.isFinite(roundTo(tail.source.results[0]!.type.dtype, c)));
