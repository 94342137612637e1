/**
 * What happens to a finished accumulator before it is stored: any chain of elementwise arithmetic, with operands of its own
 * (bias, residual, scale …). A contraction kernel takes one Epilogue, appends its parameters to its own and calls `apply` for
 * every vector and, at the edges, for every single element; the same code therefore has to serve both, which the builders of
 * loop-build.ts do by taking their type from the operand.
 */

import type { Elem, Expr, LoopParam } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import { add, broadcast, load, maxS, minS, mul, pmax, pmin, pointer, typeOf } from "../../ir/loop-build.js";
import { scalarOf } from "../../ir/loop-types.js";

/** Logical place of (the first lane of) a value in the output. All are i32 expressions that may be used several times. */
export interface Position {
  /** Index over the batch axis of a GEMM; image of a convolution. */
  readonly batch: Expr;
  /** Row of C; flattened output position (within the image) of a convolution. */
  readonly row: Expr;
  /** Column of C; output channel of a convolution. */
  readonly column: Expr;
}

/** What an epilogue computed of a vector of columns before the rows that it finishes. */
export interface Ahead {
  /** What the sum of integers starts at, in place of 0. */
  readonly start?: Expr;
  readonly values: readonly Expr[];
}

export interface Epilogue {
  /** Part of the kernel's name: kernels whose epilogues have equal names are the same function. */
  readonly name: string;
  /** Appended to the kernel's own parameters, in this order. Names are unique within one epilogue. */
  readonly params: readonly LoopParam[];
  /**
   * Gives what is stored in place of `acc`, which is a vector of consecutive columns starting at `at.column`, or one element.
   * Vector loads of operands along the columns stay in bounds: a vector is only asked for where all its columns exist.
   * `ahead`: what the member of that name gave for these columns; the sum then started where that says.
   */
  readonly apply: (b: Block, acc: Expr, at: Position, params: readonly Expr[], ahead?: Ahead) => Expr;
  /**
   * What of it hangs on the columns alone, of a vector of them that starts at `column`: kernels compute it once for many rows. Undefined where
   * there is nothing of the kind.
   */
  readonly ahead?: (b: Block, column: Expr, params: readonly Expr[]) => Ahead;
  /** Whether it calls functions of the math library, whose constants are many: kernels then finish sums in a loop of their own. */
  readonly math?: boolean;
  /** Whether what it gives lies within the integer type that it is stored as, so that saturating does not change it. */
  readonly fits?: boolean;
}

/** Stores the sum as it is. */
export const identity: Epilogue = { name: "", params: [], apply: (_b, acc) => acc };

/** acc + bias[column]. */
export function biasColumns(elem: Elem): Epilogue {
  return {
    name: "bias",
    params: [pointer("bias", elem)],
    apply: (_b, acc, at, [bias]) => add(acc, load(typeOf(acc), elem, bias!, at.column)),
  };
}

/** acc + bias[row]. */
export function biasRows(elem: Elem): Epilogue {
  return {
    name: "rowbias",
    params: [pointer("bias", elem)],
    apply: (_b, acc, at, [bias]) => add(acc, broadcast(typeOf(acc), load(scalarOf(typeOf(acc)), elem, bias!, at.row))),
  };
}

/** acc + other[batch, row, column], where `other` lies as C does: row stride and batch stride in elements. */
export function addTensor(elem: Elem): Epilogue {
  return {
    name: "add",
    params: [pointer("other", elem), { name: "otherRow", type: "i32" }, { name: "otherBatch", type: "i32" }],
    apply: (_b, acc, at, [other, row, batch]) =>
      add(acc, load(typeOf(acc), elem, other!, add(add(mul(at.batch, batch!), mul(at.row, row!)), at.column))),
  };
}

/** max(acc, 0); NaN stays NaN (which pmax, one machine instruction, gives in this operand order). */
export const relu: Epilogue = {
  name: "relu",
  params: [],
  apply: (_b, acc) => {
    const zero = broadcast(typeOf(acc), 0);
    return isFloat(acc) ? pmax(acc, zero) : maxS(acc, zero);
  },
};

/** min(max(acc, low), high) for constants; NaN stays NaN. */
export function clamp(low: number, high: number): Epilogue {
  return {
    name: `clamp_${mangle(low)}_${mangle(high)}`,
    params: [],
    apply: (_b, acc) => {
      const lo = broadcast(typeOf(acc), low);
      const hi = broadcast(typeOf(acc), high);
      return isFloat(acc) ? pmin(pmax(acc, lo), hi) : minS(maxS(acc, lo), hi);
    },
  };
}

/** acc · factor for a run-time factor of the lane's scalar kind. */
export function scale(kind: "f32" | "f64"): Epilogue {
  return {
    name: "scale",
    params: [{ name: "factor", type: kind }],
    apply: (_b, acc, _at, [factor]) => mul(acc, broadcast(typeOf(acc), factor!)),
  };
}

/** Applies the parts from left to right; parameters follow one another, renamed where two share a name. */
export function chain(...parts: readonly Epilogue[]): Epilogue {
  const params: LoopParam[] = [];
  const spans: { readonly part: Epilogue; readonly from: number; readonly to: number }[] = [];
  for (const part of parts) {
    const from = params.length;
    for (const p of part.params) {
      let name = p.name;
      for (let i = 2; params.some((q) => q.name === name); i++) name = `${p.name}${i}`;
      params.push({ ...p, name });
    }
    spans.push({ part, from, to: params.length });
  }
  return {
    name: parts
      .map((p) => p.name)
      .filter((n) => n !== "")
      .join("_"),
    params,
    apply: (b, acc, at, args) => {
      let x = acc;
      for (const { part, from, to } of spans) x = part.apply(b, x, at, args.slice(from, to));
      return x;
    },
  };
}

const isFloat = (e: Expr): boolean => scalarOf(typeOf(e)) === "f32" || scalarOf(typeOf(e)) === "f64";

const mangle = (x: number): string => String(x).replace("-", "m").replace(".", "p").replace("+", "");
