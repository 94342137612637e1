/** Fusible ops, alone or in groups: chooses the kind of kernel. */

import { type Dim, dimAdd, dimEqual, dimMul } from "../../ir/dim.js";
import { dtypeInfo, isFloat, isStorageOnly } from "../../ir/dtype.js";
import { InternalError } from "../../ir/errors.js";
import { type GraphNode, type NodeOf, type Param, sameShape, type Value } from "../../ir/graph.js";

import { isElementwise, isIndexOp, isReduce } from "../../ir/ops/classes.js";
import type { AttrsOf } from "../../ir/ops/index.js";
import { scalar } from "../../ir/tensor.js";
import { isLookup } from "../../passes/values/lookup.js";
import type { View } from "../schedule.js";
import type { LowerContext } from "./core/context.js";
import { Place, sizeOf } from "./core/place.js";
import { constantElement, type GroupOutput, type Leaf, Points } from "./core/point.js";
import { emitMap, iterate } from "./elementwise/map.js";
import { lowerReduceGroup } from "./reduce/reduce.js";
import { reductionsOf } from "./reduce/reduce-group.js";

export interface GroupOptions {
  /** Default: after what the group computes. */
  readonly name?: string;
  /** Whether a reduction may come about in two steps. Default: yes. */
  readonly split?: boolean;
}

/** Adds the kernels that compute values of fusible ops from their leaves; false, and nothing added, where no kernel fits the group. */
export function lowerGroup(
  ctx: LowerContext,
  outputs: readonly GroupOutput[],
  leaf: (v: Value) => Leaf | undefined,
  loc: string | undefined,
  options: GroupOptions = {},
): boolean {
  const first = outputs[0];
  if (first === undefined) return true;
  const isLeaf = (v: Value) => leaf(v) !== undefined;
  const values = outputs.map((o) => o.value);
  const name = options.name ?? nameOf(values, isLeaf);
  const { def } = first.value;
  if (!isLeaf(first.value) && isWriter(def)) {
    if (outputs.length > 1 || !isPointwise(def.operands, isLeaf) || reductionsOf(def.operands, isLeaf).length > 0) {
      return false;
    }
    if (def.op === "concat") lowerConcat(ctx, name, def, first.to, leaf, loc);
    else if (def.op === "pad") lowerPad(ctx, name, def, first.to, leaf, loc);
    else lowerUpdateSlice(ctx, name, def, first.to, leaf, loc);
    return true;
  }
  if (!isPointwise(values, isLeaf)) return false;
  if (reductionsOf(values, isLeaf).length > 0) {
    const following = lowerReduceGroup(ctx, name, outputs, leaf, loc, { split: options.split ?? true });
    for (const { name: own, outputs: results, leaf: known } of following ?? []) {
      const done = lowerGroup(ctx, results, known, loc, { split: false, ...(own === undefined ? {} : { name: own }) });
      if (!done) throw new InternalError(`no kernel follows ${name}`);
    }
    return following !== undefined;
  }
  lowerMaps(ctx, name, outputs, leaf, loc);
  return true;
}

/** Kernels without reductions: one for all results of a size. */
function lowerMaps(
  ctx: LowerContext,
  name: string,
  outputs: readonly GroupOutput[],
  leaf: (v: Value) => Leaf | undefined,
  loc: string | undefined,
): void {
  const points = new Points(leaf);
  const rest = [...outputs];
  while (rest.length > 0) {
    const { shape } = rest[0]!.value.type;
    const size = sizeOf(shape);
    const same = rest.filter((o) => dimEqual(sizeOf(o.value.type.shape), size));
    const { loops, index } = iterate(shape);
    const place = Place.at(shape, index);
    emitMap(
      ctx,
      name,
      loops,
      same.map(({ value, to }) => {
        const at = sameShape(value.type.shape, shape) ? place : place.reshaped(value.type.shape);
        return { to, at: place.flat, point: points.at(value, at) };
      }),
      loc,
    );
    for (const o of same) rest.splice(rest.indexOf(o), 1);
  }
}

/** Whether all that lies between the values and the leaves can be computed from an index, reductions in their loops included. */
function isPointwise(values: readonly Value[], isLeaf: (v: Value) => boolean): boolean {
  const seen = new Set<Value>();
  const fits = (v: Value): boolean => {
    if (isLeaf(v) || seen.has(v)) return true;
    seen.add(v);
    const { op } = v.def;
    if (op === "param" || op === "constant") return false;
    if (op === "iota" || op === "dimSize") return true;
    if (isLookup(v.def)) return isLeaf(v.def.operands[0]!) && fits(v.def.operands[1]!);
    if (!isElementwise(op) && !isIndexOp(op) && !isReduce(op)) return false;
    if (op === "bitcast" && !fitsRegister(v.def) && !isRead(v.def.operands[0]!, isLeaf)) return false;
    return v.def.operands.every(fits);
  };
  return values.every(fits);
}

/** Whether registers hold the very bits of operand and result; half and stored floats are wider there. */
function fitsRegister(n: GraphNode): boolean {
  const isNarrow = ({ type: { dtype } }: Value) => (isFloat(dtype) ? dtypeInfo[dtype].bytes < 4 : isStorageOnly(dtype));
  return ![...n.operands, ...n.results].some(isNarrow);
}

/** Whether the elements are those of a leaf, at other places perhaps. */
function isRead(v: Value, isLeaf: (v: Value) => boolean): boolean {
  if (isLeaf(v)) return true;
  return v.def.op !== "param" && isIndexOp(v.def.op) && isRead(v.def.operands[0]!, isLeaf);
}

type Concat = NodeOf<"concat", AttrsOf<"concat">>;
type Pad = NodeOf<"pad", AttrsOf<"pad">>;
type UpdateSlice = NodeOf<"updateSlice", AttrsOf<"updateSlice">>;

/** Ops that write parts of their result one after the other. */
const isWriter = (def: GraphNode | Param): def is Concat | Pad | UpdateSlice =>
  def.op === "concat" || def.op === "pad" || def.op === "updateSlice";

/** Each part is written to its own range of the result. */
function lowerConcat(
  ctx: LowerContext,
  name: string,
  node: Concat,
  to: View,
  leaf: (v: Value) => Leaf | undefined,
  loc: string | undefined,
): void {
  const { axis } = node.attrs;
  const { shape } = node.results[0]!.type;
  const points = new Points(leaf);
  let offset: Dim = 0;
  for (const part of node.operands) {
    const own = part.type.shape;
    const start = offset;
    offset = dimAdd(offset, own[axis]!);
    if (sizeOf(own) === 0) continue;
    const { loops, index } = iterate(own);
    const target = Place.at(
      shape,
      index.map((d, a) => (a === axis ? dimAdd(d, start) : d)),
    );
    emitMap(ctx, name, loops, [{ to, at: target.flat, point: points.at(part, Place.at(own, index)) }], loc);
  }
}

/** The whole result is filled, then the operand is written into it. */
function lowerPad(
  ctx: LowerContext,
  name: string,
  node: Pad,
  to: View,
  leaf: (v: Value) => Leaf | undefined,
  loc: string | undefined,
): void {
  const [x] = node.operands;
  const { dtype, shape } = node.results[0]!.type;
  const { low, interior, value } = node.attrs;
  const whole = iterate(shape);
  emitMap(
    ctx,
    `${name}_fill`,
    whole.loops,
    [
      {
        to,
        at: Place.at(shape, whole.index).flat,
        // As a constant of the dtype holds it: floats of 8 bits and fewer are codes.
        point: { kind: "const", dtype, value: constantElement(scalar(dtype, value)) },
      },
    ],
    loc,
  );
  const own = x!.type.shape;
  if (sizeOf(own) === 0) return;
  const { loops, index } = iterate(own);
  const target = Place.at(
    shape,
    index.map((d, a) => dimAdd(low[a]!, dimMul(d, interior[a]! + 1))),
  );
  emitMap(ctx, name, loops, [{ to, at: target.flat, point: new Points(leaf).at(x!, Place.at(own, index)) }], loc);
}

/** The result begins as x, which the plan lets it share memory with where x is not needed any more; then the update goes over it. */
function lowerUpdateSlice(
  ctx: LowerContext,
  name: string,
  { operands: [x, update], attrs }: UpdateSlice,
  to: View,
  leaf: (v: Value) => Leaf | undefined,
  loc: string | undefined,
): void {
  const points = new Points(leaf);
  const { shape } = x!.type;
  const whole = leaf(x!);
  if (whole?.kind === "view") ctx.add({ kind: "copy", count: sizeOf(shape), from: whole.view, to, loc });
  else {
    const { loops, index } = iterate(shape);
    const place = Place.at(shape, index);
    emitMap(ctx, `${name}_fill`, loops, [{ to, at: place.flat, point: points.at(x!, place) }], loc);
  }
  const own = update!.type.shape;
  if (sizeOf(own) === 0) return;
  const { loops, index } = iterate(own);
  const target = Place.at(
    shape,
    index.map((d, a) => dimAdd(d, attrs.starts[a]!)),
  );
  emitMap(ctx, name, loops, [{ to, at: target.flat, point: points.at(update!, Place.at(own, index)) }], loc);
}

/** `f32_add_mul_relu`: what a group computes, operands first, as far as a name may be long. */
function nameOf(outputs: readonly Value[], isLeaf: (v: Value) => boolean): string {
  const words: string[] = [];
  const seen = new Set<GraphNode>();
  const walk = (v: Value): void => {
    if (v.def.op === "param" || v.def.op === "constant" || isLeaf(v) || seen.has(v.def)) return;
    seen.add(v.def);
    for (const o of v.def.operands) walk(o);
    const { op } = v.def;
    // How operands are spread over the result says little about the kernel.
    if (op !== "reshape" && op !== "broadcast") words.push(op);
  };
  for (const v of outputs) walk(v);
  const first = outputs[0];
  if (first === undefined) throw new InternalError("a group without results");
  const kept = words.length > 8 ? [...words.slice(0, 7), `and_${words.length - 7}_more`] : words;
  return [first.type.dtype, ...(kept.length === 0 ? ["copy"] : kept)].join("_");
}
