/** The size that an op finds at run time: where it is stored, what it is at most, and what is said where it is more. */

import { type Dim, dimBounds, dimMin, dimSub, dimSymbols, dimText } from "../../../ir/dim.js";
import { InternalError } from "../../../ir/errors.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { DefinesAttrs } from "../../../ir/ops/dynamic.js";
import type { Limit } from "../../schedule.js";
import type { Kernel, Node } from "../elementwise/structured.js";

export function symbolOf({ defines }: DefinesAttrs) {
  const [symbol] = dimSymbols(defines).values();
  if (symbol === undefined) throw new InternalError("an op that finds a size names none");
  return symbol;
}

export type Finder = Node<"bindDim"> | Node<"range"> | Node<"nonZero"> | Node<"unique">;

/** The limit that is broken where a size is outside its range. */
export function rangeOf({ attrs, loc, op, operands }: Finder): Limit {
  const symbol = symbolOf(attrs);
  const high = symbol.bound === undefined ? "∞" : dimText(symbol.bound);
  const common = { symbol: symbol.name, where: loc ?? op };
  const [value] = operands;
  if (value?.def.op === "dimSize") {
    const needed = `${dimText(value.def.attrs.size)} must be ${symbol.min === symbol.max ? high : `${symbol.min} to ${high}`}`;
    const message = `the sizes of the inputs do not fit what is planned for here: ${needed}`;
    return { ...common, message, hint: "give inputs of other sizes" };
  }
  const message = `the data give a size outside the range planned for it, ${symbol.min} to ${high}`;
  const hint = "give other inputs, or a wider range: maxUnknownSize of importOnnx, or the bound of the size";
  return { ...common, message, hint };
}

/**
 * The size found, within what was planned for: a limit is broken where it is more. `most`: what it is at most by nature; where
 * the bound covers that, there is nothing to check.
 */
export function withinBound(k: Kernel, node: Finder, found: Expr, most: Dim): Expr {
  const { bound } = symbolOf(node.attrs);
  if (bound !== undefined && dimBounds(dimSub(bound, most)).min >= 0) return found;
  const high = boundOf(k, node.attrs);
  k.builder.breaks(rangeOf(node), B.gtS(found, high));
  return k.block.let("size", B.minS(found, high));
}

/** Stores the size an op has found. */
export function storeSize(k: Kernel, attrs: DefinesAttrs, value: Expr): void {
  k.block.store("i32", k.builder.sizeSlot(symbolOf(attrs).name), 0, value);
}

/** Upper bound of the size, which is an i32, whatever the bound. */
export const boundOf = (k: Kernel, attrs: DefinesAttrs): Expr => {
  const symbol = symbolOf(attrs);
  if (symbol.bound === undefined) throw new InternalError(`size ${symbol.name} has no bound`);
  return k.size(dimMin(symbol.bound, 2 ** 31 - 1));
};
