import { describe, expect, it } from "vitest";
import { InternalError } from "../../ir/errors.js";
import type { Expr } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";

const i = B.v("i", "i32");
const at = B.v("at", "ptr");
const x = B.v("x", "f32x4");

describe("loop builders", () => {
  it("infer types", () => {
    expect(B.add(x, 1).type).toBe("f32x4");
    expect(B.lt(x, 0).type).toBe("mask32x4");
    expect(B.select(B.lt(x, 0), 0, x).type).toBe("f32x4");
    expect(B.reduceLanes("add", x).type).toBe("f32");
    expect(B.extractLane(B.v("y", "i16x8"), 3).type).toBe("i32");
    expect(B.convert("extendLowS", B.v("y", "i16x8")).type).toBe("i32x4");
    expect(B.math("pow", x, 2).type).toBe("f32x4");
    expect(B.replaceLane(x, 1, 2).type).toBe("f32x4");
  });

  it("turn numbers into constants of the other operand's type", () => {
    expect(B.max(x, 0.1)).toMatchObject({ b: { kind: "constVector", values: Array(4).fill(Math.fround(0.1)) } });
    expect(B.add(B.v("n", "i64"), 1)).toMatchObject({ b: { kind: "const", type: "i64", value: 1n } });
    expect(B.splat("f32x4", 1)).toMatchObject({ kind: "constVector" });
  });

  it("compute numbers of bytes in the width of a ptr", () => {
    const wide = (e: Expr) => B.convert("ptr.from_i32S", e);
    const [n, index] = [B.v("n", "i32"), B.add(B.mul(i, B.v("n", "i32")), 3)];
    expect(B.add(at, B.mul(index, 4))).toEqual(B.add(at, B.mul(B.add(B.mul(wide(i), wide(n)), B.ptr(3)), B.ptr(4))));
    expect(B.add(at, B.minS(i, n))).toEqual(B.add(at, wide(B.minS(i, n))));
    expect(B.mul(B.ptr(2 ** 20), B.i32(2 ** 20))).toEqual(B.ptr(2 ** 40));
    expect(B.copy(at, at, i)).toMatchObject({ bytes: wide(i) });
  });

  it("fold index arithmetic", () => {
    expect(B.add(i, 0)).toBe(i);
    expect(B.mul(1, i)).toBe(i);
    expect(B.mul(i, 0)).toEqual(B.i32(0));
    expect(B.add(B.add(i, 3), 4)).toEqual(B.add(i, 7));
    expect(B.add(3, i)).toEqual(B.add(i, 3));
    expect(B.mul(65536, 65536)).toEqual(B.i32(0));
    expect(B.divS(7, 0).type).toBe("i32");
    expect(B.add(B.add(at, 3), 4)).toEqual(B.add(at, 7));
  });

  it("refuse ill-typed use", () => {
    expect(() => B.add(i, x)).toThrow(InternalError);
    expect(() => B.add(i, 0.5)).toThrow(/0.5 is not an i32 constant/);
    expect(() => B.unary("clz", x)).toThrow(/clz takes i32 i64, not f32x4/);
    expect(() => B.load("i32", "f32", at, 0)).toThrow(/i32 registers do not hold f32/);
    expect(() => B.load("f32", "f32", at, 0, -1)).toThrow(/offset/);
    expect(() => B.bitcast("i64", i)).toThrow(/widths differ/);
    expect(() => B.shuffle(x, x, [0, 1, 2, 8])).toThrow(/lanes in 0..7/);
    expect(() => B.whileLoop(i, [])).toThrow(/mask/);
    expect(() => B.forLoop("i", 0, 4, 0, () => [])).toThrow(/step/);
    expect(() => B.assign(x, i)).toThrow(/assigned/);
  });

  it("build whole functions with fresh names", () => {
    const f = buildFunction("f", [B.pointer("x", "f32"), { name: "n", type: "i32" }], undefined, (b, [p, n]) => {
      const acc = b.mut("n", B.f32(0));
      b.for("i", 0, n, 1, (k) => b.assign(acc, B.add(acc, B.load("f32", "f32", p, k))));
      b.if(B.gtS(n, 0), () => b.store("f32", p, 0, acc));
    });
    expect(f.body.map((s) => s.kind)).toEqual(["mut", "for", "if"]);
    expect(f.body[0]).toMatchObject({ name: "n_1" });
  });
});
