import { describe, expect, it } from "vitest";
import { ModelError, VerifyError } from "../../ir/errors.js";
import type { Expr, LoopFunction, LoopParam, LoopType, Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { parseLoopFunction, parseLoopModule } from "../../ir/loop-parse.js";
import { printLoopFunction, printLoopModule } from "../../ir/loop-print.js";
import { scalarKinds, vectorKinds } from "../../ir/loop-types.js";
import { verifyLoop } from "../../ir/loop-verify.js";
import { everyConstant, everyLoad, everyMath, everyOperation } from "./samples.js";

const types: LoopType[] = [...scalarKinds, ...vectorKinds];
const params: LoopParam[] = types.flatMap((type) => [0, 1, 2].map((k) => ({ name: `${type}_${k}`, type })));
const operand = (type: LoopType, k: number) => B.v(`${type}_${k}`, type);
const i = B.v("i32_0", "i32");
const at = B.v("ptr_0", "ptr");

function roundTrip(f: LoopFunction): void {
  const text = printLoopFunction(f);
  expect(parseLoopFunction(text)).toEqual(f);
  expect(printLoopFunction(parseLoopFunction(text))).toBe(text);
}

const lets = (values: readonly Expr[]): Stmt[] => values.map((value, k) => ({ kind: "let", name: `t${k}`, value }));

describe("text form", () => {
  it("round-trips every operation, load, math function and constant", () => {
    const values = [...everyOperation(operand), ...everyMath(operand), ...everyLoad(at, i), ...everyConstant()];
    const f = B.func("all", params, lets(values));
    roundTrip(f);
    verifyLoop({ functions: [f] });
  });

  it("round-trips every statement", () => {
    const m = operand("mask", 0);
    const body: Stmt[] = [
      B.comment("scalar loop"),
      B.comment(""),
      B.mut("acc", B.f32(0)),
      B.forLoop(
        "i",
        0,
        i,
        1,
        (k) => [B.assign(B.v("acc", "f32"), B.add(B.v("acc", "f32"), B.load("f32", "f32", at, k)))],
        {
          vectorize: true,
        },
      ),
      B.forLoop("j", i, B.add(i, 4), 4, () => [B.ifThen(m, [B.ret()], [B.barrier(2)])]),
      B.whileLoop(B.not(m), [B.ifThen(m, [])]),
      B.store("f16", B.add(at, 4), B.mul(B.add(i, 1), 2), operand("f32x4", 0), 8),
      B.callStmt("g", [at, B.f32(1)]),
      B.copy(at, at, 4),
      B.fill(at, 0, i),
      B.ret(),
      { kind: "assign", name: "acc", value: B.f32(-0) },
    ];
    const f = B.func("f", params, body);
    const g = B.func("g", [B.pointer("p", "f32"), { name: "x", type: "f32" }], [B.ret(B.f32(1))], "f32");
    roundTrip(f);
    const module = { functions: [f, g] };
    expect(parseLoopModule(printLoopModule(module))).toEqual(module);
    verifyLoop(module);
  });

  it("keeps the shape of infix arithmetic", () => {
    const [a, b, c] = [operand("i32", 0), operand("i32", 1), operand("i32", 2)];
    const shapes = [
      B.sub(a, B.sub(b, c)),
      B.sub(B.sub(a, b), c),
      B.mul(B.add(a, b), B.add(b, c)),
      B.add(B.mul(a, b), B.mul(b, c)),
      B.sub(a, B.i32(-4)),
    ];
    roundTrip(B.func("f", params, lets(shapes)));
    expect(printLoopFunction(B.func("f", params, lets(shapes)))).toContain("%i32_0 - (%i32_1 - %i32_2)");
  });

  it.each([
    ["func @f() {\n  let %x = %y\n}", "loop:2:12: %y is not bound"],
    ["func @f(%x: f32) {\n  let %y = %x + 1\n}", "loop:2:15: add needs operands of one type, got f32 and i32"],
    ["func @f(%x: f32) {\n  frob\n}", 'loop:2:3: expected a statement, found "frob"'],
    ["func @f(%x: f31) {}", "loop:1:13: unknown type f31"],
    ["func @f() {\n  store f32 %x[0] = 1.0 $\n}", "loop:2:25: unexpected character"],
    ["func @f(%x: f32) {\n  let %y = frob(%x)\n}", "loop:2:12: unknown operation frob"],
    ["func @f() {", 'loop:1:12: expected a statement, found "end of text"'],
  ])("reports where %j is wrong", (text, message) => {
    expect(() => parseLoopModule(text)).toThrow(ModelError);
    expect(() => parseLoopModule(text)).toThrow(message);
  });
});

describe("verifier", () => {
  const one = B.i32(1);
  const invalid: [string, Stmt[]][] = [
    ["%nope is not bound", [B.mut("y", B.v("nope", "i32"))]],
    ["%i32_0 shadows", [B.mut("i32_0", one)]],
    ["%i32_0 is not a mut register", [B.assign("i32_0", one)]],
    ["%y is i32, assigned f32", [B.mut("y", one), B.assign("y", B.f32(0))]],
    ["%y is not bound", [B.ifThen(operand("mask", 0), [B.mut("y", one)]), B.assign("y", one)]],
    ["%i32_0 is i32, used as f32", [B.mut("y", B.v("i32_0", "f32"))]],
    ["no function @g", [B.callStmt("g", [])]],
    ["@f takes", [B.callStmt("f", [])]],
    ["vectorize needs step 1", [{ ...B.forLoop("k", 0, 4, 4, () => []), vectorize: true } as Stmt]],
    ["step 0", [{ ...B.forLoop("k", 0, 4, 4, () => []), step: 0 } as Stmt]],
    ["returns i32, declared nothing", [B.ret(one)]],
    ["a comment of several lines", [B.comment("a\nb")]],
    ["is not an identifier", [B.mut("a b", one)]],
    ["not a canonical f32", [B.mut("y", { kind: "const", type: "f32", value: 0.1 })]],
    ["the base is a ptr, not i32", [{ kind: "store", elem: "u8", base: one, index: one, offset: 0, value: one }]],
    ["copy takes ptr, not i32", [{ kind: "copy", dst: one, src: B.ptr(1), bytes: B.ptr(1) }]],
    ["is i32, marked f32", [B.mut("y", { kind: "unary", op: "neg", type: "f32", x: one })]],
    [
      "f32 registers do not hold u8",
      [{ kind: "store", elem: "u8", base: B.ptr(1), index: one, offset: 0, value: B.f32(0) }],
    ],
  ];
  it.each(invalid)("finds: %s", (message, body) => {
    expect(() => verifyLoop({ functions: [B.func("f", params, body)] })).toThrow(VerifyError);
    expect(() => verifyLoop({ functions: [B.func("f", params, body)] })).toThrow(message);
  });

  it("wants every path of a function with a result to return", () => {
    const m = operand("mask", 0);
    const body = [B.ifThen(m, [B.ret(one)])];
    expect(() => verifyLoop({ functions: [B.func("f", params, body, "i32")] })).toThrow(/a path does not/);
    verifyLoop({ functions: [B.func("f", params, [B.ifThen(m, [B.ret(one)], [B.ret(one)])], "i32")] });
  });
});
