/** Fusible ops, alone or in groups: chooses the kind of kernel. */

import { type Dim, dimAdd, dimEqual, dimMul } from "../../ir/dim.js";
import { InternalError } from "../../ir/errors.js";
import { type GraphNode, type NodeOf, sameShape, type Value } from "../../ir/graph.js";

import type { AttrsOf } from "../../ir/ops/index.js";
import type { View } from "../schedule.js";
import type { LowerContext } from "./core/context.js";
import { Place, sizeOf } from "./core/place.js";
import { type Leaf, Points } from "./core/point.js";
import { emitMap, iterate } from "./elementwise/map.js";
import { lowerReduceGroup, reductionsOf } from "./reduce/reduce.js";

export interface GroupOutput {
  readonly value: Value;
  readonly to: View;
}

/** Adds the kernels that compute values of fusible ops from their leaves; false, and nothing added, where no kernel fits the group. */
export function lowerGroup(
  ctx: LowerContext,
  outputs: readonly GroupOutput[],
  leaf: (v: Value) => Leaf | undefined,
  loc: string | undefined,
): boolean {
  const first = outputs[0];
  if (first === undefined) return true;
  const isLeaf = (v: Value) => leaf(v) !== undefined;
  const name = nameOf(
    outputs.map((o) => o.value),
    isLeaf,
  );
  if (
    reductionsOf(
      outputs.map((o) => o.value),
      isLeaf,
    ).length > 0
  ) {
    return lowerReduceGroup(ctx, name, outputs, leaf, loc);
  }
  const { def } = first.value;
  if (def.op === "concat") {
    lowerConcat(ctx, name, def, first.to, leaf, loc);
    return true;
  }
  if (def.op === "pad") {
    lowerPad(ctx, name, def, first.to, leaf, loc);
    return true;
  }
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
  return true;
}

type Concat = NodeOf<"concat", AttrsOf<"concat">>;
type Pad = NodeOf<"pad", AttrsOf<"pad">>;

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
  const padding = dtype === "f32" || dtype === "f64" || dtype === "f16" || dtype === "bf16" || dtype === "bool";
  const whole = iterate(shape);
  emitMap(
    ctx,
    `${name}_fill`,
    whole.loops,
    [
      {
        to,
        at: Place.at(shape, whole.index).flat,
        point: { kind: "const", dtype, value: padding ? value : BigInt(Math.trunc(value)) },
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
