import { describe, expect, it } from "vitest";
import { emitModule } from "../../compiler/wasm/emit.js";
import type { LoopFunction, LoopType } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { everyConstant, everyLoad, everyOperation } from "../loop/samples.js";
import { instantiate } from "./run.js";

const variants = [
  { simd: "simd128", threads: false },
  { simd: "relaxed", threads: false },
  { simd: "simd128", threads: true },
  { simd: "relaxed", threads: true },
] as const;

describe("emission", () => {
  const types: LoopType[] = ["i32", "i64", "f32", "f64", "mask", "i8x16", "i16x8", "i32x4", "i64x2", "f32x4", "f64x2"];
  const params = types
    .concat(["ptr", "mask8x16", "mask16x8", "mask32x4", "mask64x2"])
    .flatMap((type) => [0, 1, 2].map((k) => ({ name: `${type}_${k}`, type })));
  const operand = (type: LoopType, k: number) => B.v(`${type}_${k}`, type);
  const i = operand("i32", 0);
  const at = operand("ptr", 0);

  it.each(variants)("covers every operation, load, store and constant: $simd, threads $threads", (variant) => {
    const values = [...everyOperation(operand), ...everyLoad(at, i), ...everyConstant()];
    const all: LoopFunction = B.func("all", params, [
      ...values.map((value, k) => ({ kind: "let" as const, name: `t${k}`, value })),
      ...everyLoad(at, i).flatMap((e) =>
        e.kind === "load" && !e.splat ? [B.store(e.elem, at, i, operand(e.type, 0), 3)] : [],
      ),
      B.barrier(i),
    ]);
    const memory = { shared: variant.threads, initialPages: 1, maximumPages: 1 };
    const { bytes, wat } = emitModule({ functions: [all], exports: [], memory, variant });
    expect(bytes.length).toBeGreaterThan(1000);
    expect(wat().includes("relaxed_madd")).toBe(variant.simd === "relaxed");
    if (variant.simd === "simd128") expect(WebAssembly.validate(bytes as BufferSource)).toBe(true);
  });

  it("runs loops, accumulators and tails", () => {
    const dot = buildFunction(
      "dot",
      [B.pointer("x", "f32"), B.pointer("y", "f32"), { name: "n", type: "i32" }],
      "f32",
      (b, [x, y, n]) => {
        const acc = b.mut("acc", B.splat("f32x4", 0));
        const whole = b.let("whole", B.and(n, -4));
        b.for("i", 0, whole, 4, (k) => {
          b.assign(acc, B.fma(B.load("f32x4", "f32", x, k), B.load("f32x4", "f32", y, k), acc));
        });
        const sum = b.mut("sum", B.reduceLanes("add", acc));
        b.for("i", whole, n, 1, (k) =>
          b.assign(sum, B.fma(B.load("f32", "f32", x, k), B.load("f32", "f32", y, k), sum)),
        );
        b.return(sum);
      },
    );
    const run = instantiate([dot], ["dot"]);
    const data = new Float32Array(run.memory.buffer);
    for (let k = 0; k < 100; k++) data[k] = k % 7;
    for (const n of [0, 1, 3, 4, 5, 50]) {
      let expected = 0;
      for (let k = 0; k < n; k++) expected += data[k]! * data[50 + k]!;
      expect(run.call("dot", 0, 200, n)).toBe(expected);
    }
  });

  it("decides branches on the engine, and leaves out what only the other side calls", () => {
    const leaf = (name: string, value: number) => buildFunction(name, [], "i32", (b) => b.return(B.i32(value)));
    const f = buildFunction("f", [], "i32", (b) =>
      b.if(
        B.ne(B.engine("fma"), 0),
        () => b.return(B.call("i32", "fused", [])),
        () => b.return(B.call("i32", "apart", [])),
      ),
    );
    const functions = [leaf("fused", 1), leaf("apart", 2), f];
    expect(instantiate(functions, ["f"]).call("f")).toBe(2);
    for (const simd of ["simd128", "relaxed"] as const) {
      const memory = { shared: false, initialPages: 1, maximumPages: 1 };
      const text = emitModule({ functions, exports: ["f"], memory, variant: { simd, threads: false } }).wat();
      expect([text.includes("$fused"), text.includes("$apart")]).toEqual([simd === "relaxed", simd === "simd128"]);
    }
  });

  it("is deterministic", () => {
    const f = buildFunction("f", [{ name: "n", type: "i32" }], "i32", (b, [n]) => b.return(B.maxS(n, B.mul(n, n))));
    expect(instantiate([f], ["f"]).bytes).toEqual(instantiate([f], ["f"]).bytes);
    expect(instantiate([f], ["f"]).call("f", -3)).toBe(9);
  });

  it("writes custom sections", () => {
    const contents = new Uint8Array([1, 2, 3]);
    const { bytes } = instantiate([], [], { customSections: [{ name: "wasmith", contents }] });
    const sections = WebAssembly.Module.customSections(new WebAssembly.Module(bytes as BufferSource), "wasmith");
    expect(new Uint8Array(sections[0] as ArrayBuffer)).toEqual(contents);
  });
});
