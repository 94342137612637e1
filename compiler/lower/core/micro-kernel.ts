/** Steps that call the hand-made kernels of compiler/kernels. */

import { type Dim, dimAdd, dimBounds, dimFloorDiv } from "../../../ir/dim.js";
import { InternalError } from "../../../ir/errors.js";
import type { LoopParam } from "../../../ir/loop.js";
import type { ProductSize } from "../../kernels/choose-tile.js";
import type { Kernel } from "../../kernels/kernel.js";
import type { Access, Arg, View } from "../../schedule.js";
import type { LowerContext } from "./context.js";
import { elemOf } from "./kernel-builder.js";

export const viewArg = (view: View, access: Access): Arg => ({ kind: "view", view, access });
export const dimArg = (value: Dim): Arg => ({ kind: "dim", value });

export interface MicroCall {
  readonly kernel: Kernel;
  /** Number of chunks on the kernel's chunk axis. */
  readonly chunks: Dim;
  /** Arguments by parameter name; a size may be given as such. */
  readonly args: { readonly [name: string]: Arg | Dim };
  /** Arguments of the epilogue, in order; they follow the kernel's own. */
  readonly epilogue?: readonly Arg[];
  /** A parameter that is written, and indices into the epilogue's arguments: it may lie over these. */
  readonly inPlace?: { readonly written: string; readonly over: readonly number[] };
  readonly loc: string | undefined;
}

// Both have a kind "dim": only an argument holds a value.
const isArg = (a: Arg | Dim): a is Arg => typeof a !== "number" && (a.kind !== "dim" || "value" in a);

/** Adds the step. Parameters of the kernel are matched by name. */
export function addMicroKernel(ctx: LowerContext, call: MicroCall): void {
  const { fn, helpers } = call.kernel;
  const extra = call.epilogue ?? [];
  const own = fn.params.slice(2, fn.params.length - extra.length);
  const args = own.map((p): Arg => {
    const given = call.args[p.name];
    if (given === undefined) throw new InternalError(`@${fn.name} needs an argument for ${p.name}`);
    const arg = isArg(given) ? given : dimArg(given);
    checkElements(fn.name, p, arg);
    return arg;
  });
  const { written, over } = call.inPlace ?? { written: "", over: [] };
  const target = own.findIndex((p) => p.name === written);
  const pairs = over.map((i) => [target, own.length + i] as const);
  ctx.add({
    kind: "kernel",
    fn: ctx.pool.adopt(fn),
    helpers: helpers.map((h) => ctx.pool.adopt(h)),
    args: [...args, ...extra],
    chunks: call.chunks,
    inPlace: pairs,
    loc: call.loc,
  });
}

/** A kernel reads and writes memory as the elements that lie there. */
function checkElements(fn: string, { name, points }: LoopParam, arg: Arg): void {
  if (arg.kind !== "view" || points === undefined) return;
  const { dtype } = arg.view.buffer;
  if (elemOf[dtype] !== points) throw new InternalError(`@${fn} takes ${name} as ${points}, but gets ${dtype}`);
}

/** ⌈a / n⌉ for a size a ≥ 0. */
export const ceilDiv = (a: Dim, n: number): Dim => dimFloorDiv(dimAdd(a, n - 1), n);

/** What is known when compiling of a product's size, for the choice of its tile. */
export function productSize(rows: Dim, columns: Dim): ProductSize {
  const size = { rows: dimBounds(rows).min, rowsVary: typeof rows !== "number" };
  return typeof columns === "number" ? { ...size, columns } : size;
}
