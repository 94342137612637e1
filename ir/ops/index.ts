/**
 * The closed set of ops: everything the family modules export that is an op. Adding an op to a family is all it takes;
 * tables keyed by `PrimitiveName` (lowering) then stop compiling until they have its row.
 */

import type { Attrs, GraphNode } from "../graph.js";
import type { Composite, OpFacts, Primitive, Sample } from "../op.js";
import * as activation from "./activation.js";
import * as attention from "./attention.js";
import * as cast from "./cast.js";
import * as constant from "./constant.js";
import * as contraction from "./contraction.js";
import * as control from "./control.js";
import * as conv from "./conv.js";
import * as ctc from "./ctc.js";
import * as dropout from "./dropout.js";
import * as dynamic from "./dynamic.js";
import * as elementwise from "./elementwise.js";
import * as fusion from "./fusion.js";
import * as gradient from "./gradient.js";
import * as guard from "./guard.js";
import * as indexing from "./indexing.js";
import * as logic from "./logic.js";
import * as loss from "./loss.js";
import * as movement from "./movement.js";
import * as normalize from "./normalize.js";
import * as pooling from "./pooling.js";
import * as quantized from "./quantized.js";
import * as random from "./random.js";
import * as recurrent from "./recurrent.js";
import * as reduce from "./reduce.js";
import * as softmax from "./softmax.js";
import * as sort from "./sort.js";
import * as window from "./window.js";

const families = {
  activation,
  attention,
  cast,
  constant,
  contraction,
  control,
  conv,
  ctc,
  dropout,
  dynamic,
  elementwise,
  fusion,
  gradient,
  guard,
  indexing,
  logic,
  loss,
  movement,
  normalize,
  pooling,
  quantized,
  random,
  recurrent,
  reduce,
  softmax,
  sort,
  window,
};

type Families = (typeof families)[keyof typeof families];
type ExportsOf<M> = M extends unknown ? M[keyof M] : never;
type OpExport = Extract<ExportsOf<Families>, { readonly samples: readonly unknown[] }>;

export type OpName = OpExport["name"];
export type AttrsOf<N extends OpName> =
  Extract<OpExport, { readonly name: N }> extends { readonly samples: readonly Sample<infer A>[] } ? A : never;
export type PrimitiveName = Extract<OpExport, { readonly kind: "primitive" }>["name"];

function isOp(value: unknown): value is OpFacts<string, Attrs> {
  return typeof value === "function" && "kind" in value && "samples" in value;
}

const table = new Map<string, OpFacts<string, Attrs>>();
for (const family of Object.values(families)) {
  for (const value of Object.values(family)) if (isOp(value)) table.set(value.name, value);
}

/** All ops by name. */
export const ops: ReadonlyMap<string, OpFacts<string, Attrs>> = table;

export function isOpName(name: string): name is OpName {
  return table.has(name);
}

/** The definition of a node's op. */
export function opOf(node: GraphNode): OpFacts<string, Attrs> {
  const facts = table.get(node.op);
  if (facts === undefined) throw new TypeError(`no op is called ${node.op}`);
  return facts;
}

export type { Composite, Primitive };
export const familyNames: readonly string[] = Object.keys(families);
/** Ops of a family in the order of definition, for the generated reference. */
export function opsOfFamily(family: string): readonly OpFacts<string, Attrs>[] {
  const module = families[family as keyof typeof families];
  return module === undefined ? [] : Object.values(module).filter(isOp);
}
