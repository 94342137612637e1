/**
 * A value as a function of its index. `pointAt` walks a group of fusible nodes from a result back to its leaves and gives one
 * expression over loop variables; nothing is materialised on the way.
 */

import { type Dim, dimAdd, dimMul, dimText } from "../../../ir/dim.js";
import { type DType, isFloat, isStorageOnly } from "../../../ir/dtype.js";
import { InternalError } from "../../../ir/errors.js";
import type { GraphNode, Value } from "../../../ir/graph.js";
import { spreadOf, stretchOf } from "../../../ir/infer.js";
import { isElementwise, isReduce } from "../../../ir/ops/classes.js";
import { bigElement, element, type Tensor } from "../../../ir/tensor.js";
import { isLookup } from "../../../passes/values/lookup.js";
import type { View } from "../../schedule.js";
import { elemOf } from "./kernel-builder.js";
import { Place } from "./place.js";

export type Point =
  | { readonly kind: "load"; readonly view: View; readonly dtype: DType; readonly at: Dim }
  /** Number for floats and bool, bigint for integers. */
  | { readonly kind: "const"; readonly dtype: DType; readonly value: number | bigint }
  /** An index expression as a number. */
  | { readonly kind: "index"; readonly dtype: DType; readonly at: Dim }
  /** `list`: the first operand of a lookup, which is read at the place that its only argument says. */
  | {
      readonly kind: "apply";
      readonly dtype: DType;
      readonly node: GraphNode;
      readonly args: readonly Point[];
      readonly list?: View;
    }
  /** Something that the surrounding kernel has in hand: a finished reduction, a contraction's accumulator. */
  | { readonly kind: "given"; readonly dtype: DType; readonly value: Value; readonly place: Place };

/** What a group reads from outside. */
export type Leaf =
  | { readonly kind: "view"; readonly view: View }
  | { readonly kind: "const"; readonly value: number | bigint }
  | { readonly kind: "given" };

/** What a group gives: a value, and where it goes. */
export interface GroupOutput {
  readonly value: Value;
  readonly to: View;
}

/** The only element of a constant, as a point's constant. What is only stored is its code. */
export function constantElement(t: Tensor): number | bigint {
  if (isStorageOnly(t.dtype)) return BigInt(t.data[0]!);
  return isFloat(t.dtype) || t.dtype === "bool" ? element(t, 0) : bigElement(t, 0);
}

export class Points {
  readonly #leaf: (v: Value) => Leaf | undefined;
  readonly #memo = new Map<Value, Map<string, Point>>();

  /** `leaf` says what is outside the group; values for which it is undefined are computed. */
  constructor(leaf: (v: Value) => Leaf | undefined) {
    this.#leaf = leaf;
  }

  at(value: Value, place: Place): Point {
    let places = this.#memo.get(value);
    if (places === undefined) {
      places = new Map();
      this.#memo.set(value, places);
    }
    const key = place.key;
    let point = places.get(key);
    if (point === undefined) {
      point = this.#make(value, place);
      places.set(key, point);
    }
    return point;
  }

  #make(value: Value, place: Place): Point {
    const { dtype } = value.type;
    const leaf = this.#leaf(value);
    if (leaf !== undefined) {
      switch (leaf.kind) {
        case "view":
          return { kind: "load", view: leaf.view, dtype, at: place.flat };
        case "const":
          return { kind: "const", dtype, value: leaf.value };
        case "given":
          return { kind: "given", dtype, value, place };
      }
    }
    const node = value.def;
    switch (node.op) {
      case "param":
        throw new InternalError("a parameter of the group is no leaf");
      case "iota":
        return { kind: "index", dtype, at: place.index[node.attrs.axis]! };
      case "dimSize":
        return { kind: "index", dtype, at: node.attrs.size };
      case "reshape":
        return this.at(node.operands[0]!, place.reshaped(node.operands[0]!.type.shape));
      case "transpose": {
        const { shape } = node.operands[0]!.type;
        const index: Dim[] = shape.map(() => 0);
        node.attrs.perm.forEach((p, a) => {
          index[p] = place.index[a]!;
        });
        return this.at(node.operands[0]!, Place.at(shape, index));
      }
      case "broadcast": {
        const { shape } = node.operands[0]!.type;
        const { axes } = node.attrs;
        return this.at(
          node.operands[0]!,
          Place.at(
            shape,
            shape.map((d, a) => stretched(d, node.attrs.shape[axes[a]!]!, place.index[axes[a]!]!)),
          ),
        );
      }
      case "slice": {
        const { starts, steps } = node.attrs;
        return this.at(
          node.operands[0]!,
          Place.at(
            node.operands[0]!.type.shape,
            place.index.map((i, a) => dimAdd(starts[a]!, dimMul(i, steps[a]!))),
          ),
        );
      }
      case "bitcast": {
        // Half floats compute in wider registers: their bits exist in memory only.
        const from = node.operands[0]!.type.dtype;
        const arg = this.at(node.operands[0]!, place);
        if (arg.kind === "load" && elemOf[arg.dtype] === elemOf[from]) return { ...arg, dtype };
        return { kind: "apply", dtype, node, args: [arg] };
      }
      default:
        if (isElementwise(node.op)) {
          return { kind: "apply", dtype, node, args: node.operands.map((v) => this.at(v, place)) };
        }
        if (isLookup(node)) {
          const [list, at] = node.operands as readonly [Value, Value];
          const from = this.#leaf(list);
          if (from?.kind === "view") {
            return { kind: "apply", dtype, node, args: [this.at(at, place)], list: from.view };
          }
        }
        if (isReduce(node.op)) throw new InternalError(`reduction ${node.op} inside a point`);
        throw new InternalError(`${node.op} can't be computed from its index`);
    }
  }
}

/** The index along an axis of size d of what is at `index` after broadcasting to size `to`. */
function stretched(d: Dim, to: Dim, index: Dim): Dim {
  switch (stretchOf(d, to)) {
    case "same":
      return index;
    case "either":
      return dimMul(index, spreadOf(d));
    default:
      return 0;
  }
}

/** Dims that a point itself (not its arguments) depends on. */
export function pointDims(p: Point): readonly Dim[] {
  switch (p.kind) {
    case "load":
    case "index":
      return [p.at];
    case "given":
      return p.place.index;
    case "const":
    case "apply":
      return [];
  }
}

/** Visits each distinct point below the roots once, arguments first. */
export function visitPoints(roots: readonly Point[], visit: (p: Point) => void): void {
  const seen = new Set<Point>();
  const walk = (p: Point): void => {
    if (seen.has(p)) return;
    seen.add(p);
    if (p.kind === "apply") for (const a of p.args) walk(a);
    visit(p);
  };
  for (const r of roots) walk(r);
}

/** For messages. */
export const placeText = (p: Place): string => `[${p.index.map(dimText).join(", ")}]`;
