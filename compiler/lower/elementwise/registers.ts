/** Elements in registers: what keeps an expression within its dtype. */

import type { DType } from "../../../ir/dtype.js";
import type { Expr } from "../../../ir/loop.js";
import type { Block } from "../../../ir/loop-block.js";
import * as B from "../../../ir/loop-build.js";

/** An expression that may be used several times. */
export function bind(b: Block, x: Expr, hint = "t"): Expr {
  return x.kind === "var" || x.kind === "const" || x.kind === "constVector" ? x : b.let(hint, x);
}

/** `value` in the register of `like`. */
export const same = (like: Expr, value: number): Expr => B.broadcast(like.type, value);

/** Brings the result of an operation back into the dtype: wraps narrow integers, rounds half floats. */
export function settle(dtype: DType, x: Expr): Expr {
  switch (dtype) {
    case "f16":
      return B.convert("f16.round", x);
    case "bf16":
      return B.convert("bf16.round", x);
    case "i8":
      return B.shrS(B.shl(x, 24), 24);
    case "i16":
      return B.shrS(B.shl(x, 16), 16);
    case "i4":
      return B.shrS(B.shl(x, 28), 28);
    case "i2":
      return B.shrS(B.shl(x, 30), 30);
    case "u8":
      return B.and(x, same(x, 0xff));
    case "u16":
      return B.and(x, same(x, 0xffff));
    case "u4":
      return B.and(x, same(x, 0xf));
    case "u2":
      return B.and(x, same(x, 0x3));
    default:
      return x;
  }
}
