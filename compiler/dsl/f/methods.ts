/**
 * Methods of values: `x.mul(2).add(b)` is `F.add(F.mul(x, 2), b)`. They are the functions of F that PyTorch's tensors have as methods,
 * with the value as the first argument.
 */

import type { DType } from "../../../ir/dtype.js";
import { ModelError } from "../../../ir/errors.js";
import { addValueMethods, type Shape, typeText, type Value } from "../../../ir/graph.js";
import * as activation from "./activation.js";
import * as arithmetic from "./arithmetic.js";
import * as cast from "./cast.js";
import * as gradient from "./gradient.js";
import { guard } from "./guard.js";
import * as indexing from "./indexing.js";
import * as math from "./math.js";
import * as product from "./product.js";
import * as reduce from "./reduce.js";
import * as shape from "./shape.js";

const { where: _, isClose: __, ...ofArithmetic } = arithmetic;
const { cat, stack, meshgrid, broadcastTensors, ...ofShape } = shape;
const { embedding, searchSorted, invertPermutation, ...ofIndexing } = indexing;
const { matmul, mm, bmm, mv, dot, outer, addmm, baddbmm, trace, normalize } = product;
const { stopGradient, detach, scaleGradient, reverseGradient } = gradient;
const functions = {
  ...activation,
  ...ofArithmetic,
  ...cast,
  ...ofIndexing,
  ...math,
  ...reduce,
  ...ofShape,
  ...{ matmul, mm, bmm, mv, dot, outer, addmm, baddbmm, trace, normalize },
  ...{ stopGradient, detach, scaleGradient, reverseGradient },
};

type Functions = typeof functions;

/** The function without its first argument, which is the value. */
type Method<F> = F extends (x: Value, ...rest: infer R extends readonly unknown[]) => infer O
  ? (...rest: R) => O
  : never;
export type Methods = { readonly [K in Exclude<keyof Functions, "max" | "min">]: Method<Functions[K]> };

/** Overloads have to be said again. */
interface Extremum {
  (): Value;
  (dim: number, keepDim?: boolean): readonly [values: Value, indices: Value];
}

declare module "../../../ir/graph.js" {
  interface ValueMethods extends Methods {
    /** Sizes of the axes: numbers, or expressions over sizes that a run chooses. */
    readonly shape: Shape;
    readonly dtype: DType;
    /** The largest element; along an axis [values, indices]. */
    readonly max: Extremum;
    /** The smallest element; along an axis [values, indices]. */
    readonly min: Extremum;
  }
}

/** Operators of JavaScript would see an object, and give NaN or text. */
function toPrimitive(this: Value, hint: string): string {
  if (hint === "string") return typeText(this.type);
  throw new ModelError({
    message: `an operator is applied to a value ${typeText(this.type)}, which has no number before a run`,
    hint: "use methods or functions: x.mul(2).add(b), F.sub(1, x), F.lt(x, 0)",
  });
}

const methods = Object.entries(functions).map(([name, f]): [string, PropertyDescriptor] => {
  const call = guard(`F.${name}`, f as (x: Value, ...rest: readonly unknown[]) => unknown);
  const method = function (this: Value, ...rest: readonly unknown[]) {
    return call(this, ...rest);
  };
  return [name, { value: method, writable: true, configurable: true }];
});

const getter = <T>(get: (x: Value) => T): PropertyDescriptor => ({
  get(this: Value) {
    return get(this);
  },
  configurable: true,
});

/** What PyTorch's tensors have under other names, or what values have no need of. */
const others: Readonly<Record<string, string>> = {
  view: "x.reshape(…)",
  dim: "x.shape.length",
  ndim: "x.shape.length",
  numel: "x.size()",
  t: "x.transpose()",
  T: "x.transpose()",
  mT: "x.transpose()",
  to: 'x.cast("f32"); there are no devices',
  float: 'x.cast("f32")',
  double: 'x.cast("f64")',
  half: 'x.cast("f16")',
  long: 'x.cast("i64")',
  int: 'x.cast("i32")',
  bool: "x.toBool()",
  clone: "x itself: values never change",
  contiguous: "x itself: all values are",
  cuda: "x itself: there are no devices",
  cpu: "x itself: there are no devices",
  item: "what an entry returns: values have no numbers before a run",
  numpy: "what an entry returns: values have no numbers before a run",
  tolist: "what an entry returns: values have no numbers before a run",
  backward: "ctx.minimize(loss, net, optimizer), or grad(loss, values)",
};
const snakeCase = (name: string): string => name.replace(/[A-Z]+/g, (c) => `_${c.toLowerCase()}`);
const named = Object.keys(functions).flatMap((name) =>
  snakeCase(name) === name ? [] : [[snakeCase(name), `x.${name}(…)`] as const],
);

const refusal = (name: string, instead: string): PropertyDescriptor => ({
  get(this: Value): never {
    throw new ModelError({ message: `values have no member "${name}"`, hint: `use ${instead}` });
  },
  configurable: true,
});

addValueMethods({
  ...Object.fromEntries([...Object.entries(others), ...named].map(([name, hint]) => [name, refusal(name, hint)])),
  ...Object.fromEntries(methods),
  shape: getter((x) => x.type.shape),
  dtype: getter((x) => x.type.dtype),
  [Symbol.toPrimitive]: { value: toPrimitive, configurable: true },
});

/** Functions of F that values have as methods. */
export const methodNames: readonly string[] = Object.keys(functions);

/** The function itself, in a file that whoever imports it loads. */
export const withMethods = <F>(f: F): F => f;
