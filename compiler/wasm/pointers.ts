/** Addresses of Loop IR as what WebAssembly has for them: i32, or i64 where the memory has 64-bit addresses. */

import type { ConvertOp, Expr, LoopFunction, LoopType, Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { rewriteStmts } from "../../ir/loop-walk.js";

export type AddressType = "i32" | "i64";

/** What a conversion to an address becomes; undefined: nothing, the bits stay. */
const conversions: Readonly<Partial<Record<ConvertOp, Readonly<Record<AddressType, Conversion | undefined>>>>> = {
  "ptr.from_i32S": { i32: undefined, i64: "i64.from_i32S" },
  "ptr.from_i32U": { i32: undefined, i64: "i64.from_i32U" },
  "ptr.from_i64": { i32: "i32.from_i64", i64: undefined },
  "ptr.from_f64U": { i32: "i32.from_f64U", i64: "i64.from_f64U" },
};
type Conversion = Exclude<ConvertOp, "bitcast">;

const cached: Readonly<Record<AddressType, WeakMap<LoopFunction, LoopFunction>>> = {
  i32: new WeakMap(),
  i64: new WeakMap(),
};

/** The function with integers of the type in place of all its `ptr`. Addresses beyond 32 bits wrap in an i32. */
export function withAddresses(f: LoopFunction, address: AddressType): LoopFunction {
  const known = cached[address].get(f);
  if (known !== undefined) return known;
  const typeOf = <T extends LoopType>(type: T) => (type === "ptr" ? address : type);
  const onExpr = (e: Expr): Expr => {
    if (e.type !== "ptr") return e;
    if (e.kind === "const") return B.constant(address, address === "i32" ? Number(e.value) | 0 : BigInt(e.value));
    const conversion = e.kind === "convert" ? conversions[e.op] : undefined;
    if (e.kind !== "convert" || conversion === undefined) return { ...e, type: address } as Expr;
    const op = conversion[address];
    return op === undefined ? e.x : B.convert(op, e.x);
  };
  const body: readonly Stmt[] = rewriteStmts(f.body, onExpr);
  const made: LoopFunction = {
    ...f,
    params: f.params.map((p) => ({ ...p, type: typeOf(p.type) })),
    ...(f.result === undefined ? {} : { result: typeOf(f.result) }),
    body,
  };
  cached[address].set(f, made);
  return made;
}
