/**
 * Groups nodes that one kernel can compute into `fusion` nodes.
 *
 *   %1 = mul %x, %y                      %2 = fusion %x, %y { %1 = mul %x, %y
 *   %2 = exp %1                    ⇒                          return exp %1 }
 *
 * Nodes are visited from results to operands, so a node meets the groups of all its users. It joins a group when
 * - all its users are there, or it is elementwise at the group's full shape and becomes a further result of the group;
 * - nothing expensive is computed more often than before: an expensive op of fewer elements than the group stays outside,
 *   unless it comes after the group's own reduction (and is thus computed once per row);
 * - a reduction joins its elementwise consumers where they have its own shape, or where its axes are the trailing ones (rows:
 *   softmax, layer norm); all reductions of a group reduce the same axes of the same shape;
 * - a transpose that moves the last axis stays outside, unless it is small;
 * - an op whose kernels take an epilogue (a contraction, a convolution) joins a group of elementwise ops at its own shape with one result (an epilogue).
 * Broadcasts, reshapes, iotas and single constants cost nothing and are repeated in every group that uses them.
 */

import { type Dim, dimBounds, dimEqual } from "../../ir/dim.js";
import { dtypeInfo } from "../../ir/dtype.js";
import {
  definedSymbols,
  type Graph,
  type GraphNode,
  graphNodes,
  graphRoots,
  mentions,
  type Shape,
  sameShape,
  shapeText,
} from "../../ir/graph.js";
import { mapGraph } from "../../ir/graph-rebuild.js";
import { isElementwise, isReduce } from "../../ir/ops/classes.js";
import { opOf } from "../../ir/ops/index.js";
import { productOf } from "../../ir/ops/movement.js";
import type { ReduceAttrs } from "../../ir/ops/reduce.js";
import type { KernelFacts } from "../kernels.js";
import type { GraphPass } from "../pass.js";
import { isLookup } from "../values/lookup.js";
import { buildFusions, isRepeatable } from "./fuse-build.js";

export interface Group {
  readonly nodes: Set<GraphNode>;
  /** Elements of the results; of what is reduced, once there is a reduction. */
  full: Dim;
  reduction?: { readonly shape: Shape; readonly axes: readonly number[] };
  /** The op whose kernel takes this as its epilogue. */
  sum?: GraphNode;
  /** Writes parts of its result one after the other: the last op of its group. */
  readonly isWriter: boolean;
}

const writers: ReadonlySet<string> = new Set(["concat", "pad", "updateSlice"]);

/** Ops of a group: more make kernels that are slow to compile and hard to keep in registers. */
const mostNodes = 48;

/** Reshapes within a group, one after the other: each may double the arithmetic of indices. */
const mostReshapes = 4;

/** Nodes that are looked at to show that a group stays free of circles. */
const mostVisited = 512;

const isHalf = (n: GraphNode) => n.results.some((r) => dtypeInfo[r.type.dtype].bytes === 2);

/** Half floats exist as bits in memory only: their bits are read where they lie. */
const isMemoryBitcast = (n: GraphNode): boolean =>
  n.op === "bitcast" && (isHalf(n) || dtypeInfo[n.operands[0]!.type.dtype].bytes === 2);

/** One element from the elements at the same place: of the operands, or of a list of constants besides. */
const isOwnElement = (n: GraphNode): boolean =>
  isElementwise(n.op) || (n.operands[0]?.def.op === "constant" && isLookup(n));

const isPointwise = (n: GraphNode): boolean =>
  (isOwnElement(n) && !isMemoryBitcast(n)) || (n.op === "transpose" && !isTurning(n)) || n.op === "slice";

/** Elements up to which a matrix is turned by reading it across its rows. */
const smallMatrix = 1024;

/**
 * A transpose that puts another axis last: a kernel of its own turns matrices in registers, at the speed of memory, while one that reads
 * across rows can't use vectors.
 */
function isTurning(n: GraphNode): boolean {
  if (n.op !== "transpose" || dimBounds(sizeOf(n)).max <= smallMatrix) return false;
  const { shape } = n.operands[0]!.type;
  const isReal = (axis: number) => shape[axis] !== 1;
  return n.attrs.perm.findLast(isReal) !== shape.map((_, a) => a).findLast(isReal);
}

/** A reshape that does more than add and drop axes of size 1: indices after it are quotients and remainders of those before. */
function isScrambling(n: GraphNode): boolean {
  const real = (shape: Shape) => shape.filter((d) => d !== 1);
  return n.op === "reshape" && !sameShape(real(n.attrs.shape), real(n.operands[0]!.type.shape));
}

const sizeOf = (n: GraphNode): Dim => productOf(n.results[0]!.type.shape);

export function fuse(kernels: KernelFacts): GraphPass {
  const run = (g: Graph): Graph => {
    const fused = new Set(graphNodes(g).flatMap((n) => (n.op === "fusion" ? n.regions : [])));
    const inner = mapGraph(
      g,
      () => undefined,
      (region) => (fused.has(region) ? region : run(region)),
    );
    return new Fuser(inner, kernels).run();
  };
  return { name: "fuse", run };
}

class Fuser {
  readonly #graph: Graph;
  readonly #kernels: KernelFacts;
  readonly #order: readonly GraphNode[];
  readonly #position = new Map<GraphNode, number>();
  /** Direct users, and nodes that mention a size which the node finds. */
  readonly #users = new Map<GraphNode, GraphNode[]>();
  readonly #results = new Set<GraphNode>();
  readonly #groups = new Map<GraphNode, Group>();
  /** Shapes of what is reduced by the reductions that a node depends on through pointwise ops. */
  readonly #sources = new Map<GraphNode, ReadonlySet<Shape>>();
  readonly #shapes = new Map<string, Shape>();
  /** Reshapes through which the node's group computes its indices, at most. */
  readonly #reshapes = new Map<GraphNode, number>();

  constructor(g: Graph, kernels: KernelFacts) {
    this.#graph = g;
    this.#kernels = kernels;
    this.#order = graphNodes(g);
    const finders = new Map<string, GraphNode>();
    this.#order.forEach((n, i) => {
      this.#position.set(n, i);
      for (const s of definedSymbols(n)) finders.set(s.name, n);
    });
    const use = (by: GraphNode, n: GraphNode) => {
      const users = this.#users.get(n);
      if (users === undefined) this.#users.set(n, [by]);
      else users.push(by);
    };
    for (const n of this.#order) {
      const from = new Set(n.operands.flatMap((v) => (v.def.op === "param" ? [] : [v.def])));
      for (const d of from) use(n, d);
      if (finders.size > 0) for (const name of mentions(n)) if (finders.has(name)) use(n, finders.get(name)!);
    }
    for (const v of graphRoots(g)) if (v.def.op !== "param") this.#results.add(v.def);
    for (const n of this.#order) this.#sources.set(n, this.#sourcesOf(n));
  }

  #sourcesOf(n: GraphNode): ReadonlySet<Shape> {
    if (isReduce(n.op)) {
      const { shape } = n.operands[0]!.type;
      const key = shapeText(shape);
      const known = this.#shapes.get(key) ?? shape;
      this.#shapes.set(key, known);
      return new Set([known]);
    }
    if (!isPointwise(n) && !isRepeatable(n)) return new Set();
    const [first = new Set<Shape>(), ...others] = new Set(
      n.operands.flatMap((v) => (v.def.op === "param" ? [] : [this.#sources.get(v.def)!])),
    );
    return others.length === 0 ? first : new Set([first, ...others].flatMap((s) => [...s]));
  }

  run(): Graph {
    for (const n of this.#order.toReversed()) {
      if (n.op === "constant") continue;
      this.#reshapes.set(n, this.#reshapesAfter(n));
      if (isRepeatable(n)) continue;
      if (isPointwise(n)) this.#placePointwise(n);
      else if (isReduce(n.op)) this.#placeReduction(n);
      else if (writers.has(n.op)) this.#start(n, { isWriter: true });
      else if (this.#kernels.takesEpilogue(n.op)) this.#placeSum(n);
    }
    const groups = new Set([...this.#groups.values()]);
    return buildFusions(
      this.#graph,
      [...groups].map((g) => g.nodes),
      this.#kernels,
    );
  }

  /** Reshapes between the node and the results of its users' groups. */
  #reshapesAfter(n: GraphNode): number {
    let most = isScrambling(n) ? 1 : 0;
    for (const u of this.#users.get(n) ?? []) {
      const after = this.#reshapes.get(u) ?? 0;
      most = Math.max(most, isScrambling(n) ? after + 1 : after);
    }
    return most;
  }

  #start(n: GraphNode, { isWriter }: { readonly isWriter: boolean }): Group {
    const group: Group = { nodes: new Set([n]), full: sizeOf(n), isWriter };
    this.#groups.set(n, group);
    this.#reshapes.set(n, 0);
    return group;
  }

  #join(n: GraphNode, group: Group): void {
    group.nodes.add(n);
    this.#groups.set(n, group);
  }

  /** Groups of the users, looking through what is repeated in them; `outside` if anything else uses the node. */
  #usersOf(n: GraphNode): { readonly groups: ReadonlySet<Group>; readonly outside: boolean } {
    const groups = new Set<Group>();
    let outside = this.#results.has(n);
    const seen = new Set<GraphNode>();
    const visit = (u: GraphNode): void => {
      if (seen.has(u)) return;
      seen.add(u);
      const own = this.#groups.get(u);
      // What is summed is read from memory, whatever follows it.
      if (this.#kernels.takesEpilogue(u.op)) outside = true;
      else if (own !== undefined) groups.add(own);
      else if (isRepeatable(u) && !this.#results.has(u) && (this.#users.get(u) ?? []).length > 0) {
        for (const v of this.#users.get(u)!) visit(v);
      } else outside = true;
    };
    for (const u of this.#users.get(n) ?? []) visit(u);
    return { groups, outside };
  }

  /** Whether something outside the group both depends on the node and leads to the group, or too much would have to be looked at. */
  #wouldCycle(n: GraphNode, group: Group): boolean {
    const last = Math.max(...[...group.nodes].map((m) => this.#position.get(m)!));
    const seen = new Set<GraphNode>();
    const stack: GraphNode[] = [];
    const push = (u: GraphNode) => {
      if (seen.has(u) || this.#position.get(u)! > last) return;
      seen.add(u);
      stack.push(u);
    };
    for (const u of this.#users.get(n) ?? []) if (!group.nodes.has(u)) push(u);
    for (let u = stack.pop(); u !== undefined; u = stack.pop()) {
      if (seen.size > mostVisited) return true;
      // A group runs as a whole: whatever it computes comes after all that it reads.
      const unit = this.#groups.get(u)?.nodes ?? [u];
      for (const m of unit) {
        seen.add(m);
        for (const v of this.#users.get(m) ?? []) {
          if (!group.nodes.has(v)) push(v);
          // What the group repeats is part of it.
          else if (!isRepeatable(m) || this.#groups.has(m)) return true;
        }
      }
    }
    return false;
  }

  #placePointwise(n: GraphNode): void {
    const { groups, outside } = this.#usersOf(n);
    // One number of a reduction is not worth a kernel of its own: it comes along with the first group that can give it to the others.
    const isOne = dimEqual(sizeOf(n), 1) && this.#sources.get(n)!.size > 0;
    const candidates = (groups.size > 1 && !isOne) || this.#reshapes.get(n)! > mostReshapes ? [] : groups;
    const isRead = outside || groups.size > 1;
    for (const group of candidates) {
      const fits =
        group.nodes.size < mostNodes &&
        this.#isWorth(n, group) &&
        (!isRead || (this.#mayBeResult(n, group) && !this.#wouldCycle(n, group)));
      if (!fits) continue;
      this.#join(n, group);
      return;
    }
    this.#start(n, { isWriter: false });
  }

  /** Not computed more often inside the group than alone, if that costs something. */
  #isWorth(n: GraphNode, group: Group): boolean {
    if (opOf(n).cost !== "expensive" || dimEqual(sizeOf(n), group.full)) return true;
    const { reduction } = group;
    if (group.isWriter) return true;
    const rows = (shape: Shape) =>
      reduction === undefined ? dimEqual(productOf(shape), group.full) : sameShape(shape, reduction.shape);
    return [...this.#sources.get(n)!].some(rows);
  }

  /** As a further result: elementwise, next to the group's own results. */
  #mayBeResult(n: GraphNode, group: Group): boolean {
    if (!isOwnElement(n) || group.isWriter || group.sum !== undefined) return false;
    if (group.reduction !== undefined && !isTrailing(group.reduction)) {
      // Kept-sized values of a reduction over leading axes are at hand; full-sized ones would need another round.
      const kept = keptSize(group.reduction);
      return dimEqual(sizeOf(n), kept) && !dimEqual(kept, group.full);
    }
    if (!dimEqual(sizeOf(n), group.full)) return false;
    return (this.#users.get(n) ?? []).some((u) => group.nodes.has(u) && isOwnElement(u));
  }

  #placeReduction(n: GraphNode): void {
    const { axes } = n.attrs as ReduceAttrs;
    const { shape } = n.operands[0]!.type;
    const own = { shape, axes };
    const { groups, outside } = this.#usersOf(n);
    const [group] = groups;
    if (group !== undefined && groups.size === 1 && this.#takesReduction(n, group, own)) {
      if (!outside || !this.#wouldCycle(n, group)) {
        this.#join(n, group);
        group.reduction = own;
        group.full = productOf(shape);
        return;
      }
    }
    const made = this.#start(n, { isWriter: false });
    made.reduction = own;
    made.full = productOf(shape);
  }

  #takesReduction(n: GraphNode, group: Group, own: NonNullable<Group["reduction"]>): boolean {
    if (group.isWriter || group.sum !== undefined || group.nodes.size >= mostNodes) return false;
    if (!this.#isReadInPlace(n, group)) return false;
    if (group.reduction !== undefined) {
      return sameShape(group.reduction.shape, own.shape) && group.reduction.axes.join() === own.axes.join();
    }
    if (dimEqual(group.full, sizeOf(n))) return this.#isUniform(group, group.full);
    // A row kernel computes full-sized results from the reduction.
    return isTrailing(own) && dimEqual(group.full, productOf(own.shape)) && this.#isUniform(group, group.full);
  }

  /** Whether all results of the group have so many elements: they come out of one loop nest. */
  #isUniform(group: Group, size: Dim): boolean {
    return this.#resultsOf(group).every((m) => dimEqual(sizeOf(m), size));
  }

  /** Nodes of the group that something outside reads. */
  #resultsOf(group: Group): readonly GraphNode[] {
    return [...group.nodes].filter((m) => {
      const { groups, outside } = this.#usersOf(m);
      return outside || [...groups].some((other) => other !== group);
    });
  }

  /** Whether the group reads the value element by element, at most spread over other axes: no transposition, no slice. */
  #isReadInPlace(n: GraphNode, group: Group): boolean {
    const seen = new Set<GraphNode>();
    const walk = (m: GraphNode): boolean => {
      if (seen.has(m)) return true;
      seen.add(m);
      if (m !== n && (m.op === "transpose" || m.op === "slice")) return false;
      return (this.#users.get(m) ?? []).every((u) => (!group.nodes.has(u) && !isRepeatable(u)) || walk(u));
    };
    return walk(n);
  }

  #placeSum(n: GraphNode): void {
    const { groups, outside } = this.#usersOf(n);
    const [group] = groups;
    if (group === undefined || groups.size !== 1 || outside || !this.#takesSum(n, group)) return;
    this.#join(n, group);
    group.sum = n;
  }

  #takesSum(n: GraphNode, group: Group): boolean {
    if (group.isWriter || group.sum !== undefined || group.reduction !== undefined) return false;
    if (!dimEqual(group.full, sizeOf(n)) || !this.#isReadInPlace(n, group)) return false;
    const results = this.#resultsOf(group);
    return results.length === 1 && isOwnElement(results[0]!);
  }
}

function keptSize({ shape, axes }: NonNullable<Group["reduction"]>): Dim {
  return productOf(shape.filter((_, a) => !axes.includes(a)));
}

function isTrailing({ shape, axes }: NonNullable<Group["reduction"]>): boolean {
  return axes.length > 0 && axes.every((a, i) => a === shape.length - axes.length + i);
}
