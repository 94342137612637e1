/** Random kernels for differential tests: loops over arrays in memory, with lets, reductions, inner loops and gathers. */

import fc from "fast-check";
import type { Elem, Expr, LoopFunction, LoopType } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";

/** Byte addresses of the arrays, 1024 elements apart at most; inputs may be read from 64 elements before to 512 after. */
export const arrays = { x: 16384, y: 32768, u: 49152, out: 65536, sums: 131072 } as const;
export const memoryBytes = 16 * 65536;

type Generate = fc.GeneratorValue;

interface Scope {
  readonly b: Block;
  readonly g: Generate;
  readonly kind: "f32" | "f64" | "i64" | "i32";
  readonly math: boolean;
  /** Values at hand by type. */
  readonly values: Map<LoopType, Expr[]>;
  /** Indices at hand, small and ≥ 0 unless `loose`. */
  readonly indices: Expr[];
}

function choose<T>(s: Scope, list: readonly T[]): T {
  return list[s.g(fc.nat, list.length - 1)] as T;
}

const elemsOf: Readonly<Record<Scope["kind"], readonly Elem[]>> = {
  f32: ["f32", "f16", "bf16"],
  f64: ["f64"],
  i64: ["i64"],
  i32: ["i32", "u8", "i8", "i16", "u16"],
};

function index(s: Scope): Expr {
  const i = choose(s, s.indices);
  switch (s.g(fc.nat, 7)) {
    case 0:
      return B.add(i, s.g(fc.nat, 9));
    case 1:
      return B.mul(i, 1 + s.g(fc.nat, 3));
    case 2:
      return B.add(B.mul(i, 2), choose(s, s.indices));
    case 3:
      return B.binary("divU", i, B.i32(3));
    case 4:
      return B.i32(s.g(fc.nat, 5));
    default:
      return i;
  }
}

function load(s: Scope, type: LoopType, elem: Elem): Expr {
  const base = choose(s, [B.v("x", "ptr"), B.v("y", "ptr"), B.v("u", "ptr")]);
  return B.load(type, elem, base, index(s), s.g(fc.nat, 3));
}

/** A scalar expression of a type, `depth` operations deep at most. */
function expr(s: Scope, type: LoopType, depth: number): Expr {
  const known = s.values.get(type) ?? [];
  const choice = s.g(fc.nat, 9);
  if (depth === 0 || choice === 0) {
    if (known.length > 0 && s.g(fc.boolean)) return choose(s, known);
    if (type === "mask") return B.bool(s.g(fc.boolean));
    if (type === s.kind || type === "f32" || type === "i32")
      return s.g(fc.boolean) ? B.constant(type, s.g(fc.nat, 5)) : load(s, type, choose(s, elemsOf[type as "f32"]));
    return B.constant(type, s.g(fc.nat, 5));
  }
  const sub = (t: LoopType) => expr(s, t, depth - 1);
  if (type === "mask") {
    const of = s.kind === "f32" && s.g(fc.boolean) ? "i32" : s.kind;
    const float = of === "f32" || of === "f64";
    const ops = float
      ? (["lt", "le", "eq", "ne", "gt", "ge"] as const)
      : (["ltS", "leS", "eq", "ne", "gtS", "geS"] as const);
    const a = sub(of);
    if (choice < 7) return B.compare(choose(s, ops), a, sub(of));
    return choice < 9
      ? B.binary(choose(s, ["and", "or", "xor"] as const), sub("mask"), sub("mask"))
      : B.not(sub("mask"));
  }
  if (choice === 1) return B.select(sub("mask"), sub(type), sub(type));
  if (type === "f32" || type === "f64") {
    if (choice === 2)
      return B.unary(choose(s, ["neg", "abs", "floor", "ceil", "trunc", "nearest"] as const), sub(type));
    if (choice === 3) return B.sqrt(B.abs(sub(type)));
    if (choice === 4 && type === "f32") return B.convert("f32.from_i32S", sub("i32"));
    if (choice === 5 && type === "f32" && s.math) return B.math(choose(s, ["exp", "tanh", "atan"] as const), sub(type));
    if (choice === 6 && type === "f32") return B.convert("f32.from_i32S", choose(s, s.indices));
    const op = choose(s, ["add", "sub", "mul", "div", "min", "max", "pmin", "pmax"] as const);
    return B.binary(op, sub(type), sub(type));
  }
  if (choice === 2) return B.unary(choose(s, ["neg", "abs", "not"] as const), sub(type));
  if (choice === 3) return B.binary(choose(s, ["shl", "shrS", "shrU"] as const), sub(type), B.i32(s.g(fc.nat, 40)));
  if (choice === 4 && type === "i32") return B.convert("i32.from_mask", sub("mask"));
  if (choice === 5 && type === "i32" && s.kind === "f32") return B.convert("i32.from_f32S", sub("f32"));
  if (choice === 6 && type === "i32")
    return B.binary(choose(s, ["divU", "remU"] as const), sub("i32"), B.i32(1 + s.g(fc.nat, 6)));
  const op = choose(s, ["add", "sub", "mul", "minS", "maxS", "and", "or", "xor"] as const);
  return B.binary(op, sub(type), sub(type));
}

/** A whole number in −100…100, whose sums are exact in any order. */
function exact(s: Scope, type: LoopType): Expr {
  const e = expr(s, type, 2);
  if (type !== "f32" && type !== "f64") return e;
  return B.nearest(B.pmax(B.pmin(B.select(B.eq(e, e), e, 3), 100), -100));
}

function body(s: Scope, depth: number): void {
  const { b, g } = s;
  const own = s.kind === "f32" && g(fc.boolean) && g(fc.boolean) ? "i32" : s.kind;
  for (let k = g(fc.nat, 2); k > 0; k--) {
    const type = choose(s, [own, own, "mask"] as const);
    const name = b.let("t", expr(s, type, 2));
    s.values.set(type, [...(s.values.get(type) ?? []), name]);
  }
  if (depth > 0 && g(fc.nat, 3) === 0) {
    const total = b.mut("total", expr(s, s.kind, 1));
    b.for("j", 0, g(fc.nat, 3), 1, (j) => {
      const inner = { ...s, values: new Map(s.values), indices: [...s.indices, j] };
      b.assign(total, B.binary(s.kind === "f32" || s.kind === "f64" ? "max" : "add", total, expr(inner, s.kind, 2)));
    });
    s.values.set(s.kind, [...(s.values.get(s.kind) ?? []), total]);
  }
}

/** One kernel `@f(n, m)` with one or two marked loops over 0…n or m…n. Without `math` it rounds alike in every variant. */
export function randomKernel(g: Generate, options: { readonly math: boolean } = { math: true }): LoopFunction {
  const params = [
    { name: "n", type: "i32" },
    { name: "m", type: "i32" },
    { name: "x", type: "ptr" },
    { name: "y", type: "ptr" },
    { name: "u", type: "ptr" },
    { name: "out", type: "ptr" },
    { name: "sums", type: "ptr" },
  ] as const;
  return buildFunction("f", params, undefined, (b, [n, m, , , , out, sums]) => {
    for (let loop = 0; loop <= g(fc.nat, 1); loop++) {
      const kind = (["f32", "f32", "i32", "f64", "i64"] as const)[g(fc.nat, 4)] as Scope["kind"];
      const s: Scope = { b, g, kind, math: options.math, values: new Map(), indices: [m] };
      const uniform = b.let("uniform", expr(s, kind, 1));
      s.values.set(kind, [uniform]);
      const sum = b.mut("sum", B.constant(kind, g(fc.nat, 3)));
      const reducing = g(fc.boolean);
      const storing = !reducing || g(fc.boolean);
      const begin = g(fc.boolean) ? B.i32(0) : m;
      const end = g(fc.nat, 3) === 0 ? B.i32(g(fc.nat, 40)) : n;
      b.for(
        "i",
        begin,
        end,
        1,
        (i) => {
          const inner = { ...s, values: new Map(s.values), indices: [i, i, i, m] };
          if (g(fc.boolean)) inner.indices.push(b.let("k", B.add(B.mul(i, 1 + g(fc.nat, 2)), g(fc.nat, 4))));
          body(inner, 1);
          if (storing) {
            const elem = choose(s, elemsOf[kind]);
            const at = g(fc.nat, 3) === 0 ? B.add(B.mul(i, 3), 1) : B.add(i, g(fc.nat, 4));
            const store = () => b.store(elem, out, at, expr(inner, kind, 3), loop * 4096);
            if (g(fc.nat, 5) === 0) b.if(B.gtS(m, 2), store);
            else store();
          }
          if (reducing) {
            const float = kind === "f32" || kind === "f64";
            const op = choose(
              s,
              float ? (["add", "min", "max"] as const) : (["add", "minS", "maxS", "and", "or"] as const),
            );
            b.assign(sum, B.binary(op, sum, exact(inner, kind)));
          }
        },
        { vectorize: true },
      );
      b.store(elemsOf[kind][0] as Elem, sums, loop, sum);
    }
  });
}

/** Fills the arrays with small whole numbers, halves and a few extremes, as seen through any element type. */
export function fillArrays(memory: ArrayBuffer, seed: number): void {
  let state = seed >>> 0;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  new Float32Array(memory, arrays.x, 4096).forEach((_, k, a) => {
    a[k] = Math.round(random() * 64 - 32) / 2;
  });
  new Float32Array(memory, arrays.y, 4096).forEach((_, k, a) => {
    a[k] = random() < 0.1 ? ([0, -0, Infinity, NaN, 1e30][Math.floor(random() * 5)] as number) : random() * 8 - 4;
  });
  new Int32Array(memory, arrays.u, 4096).forEach((_, k, a) => {
    a[k] = random() < 0.5 ? random() * 2 ** 32 : Math.floor(random() * 20 - 10);
  });
}
