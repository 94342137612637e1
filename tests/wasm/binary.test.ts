/**
 * The bytes that the compiler writes, against the engine and against binaryen, which reads them, and the text form of them, by code that
 * knows nothing of ours.
 */

import binaryen from "binaryen";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { emitModule } from "../../compiler/wasm/emit.js";
import { contextuals, type Instruction, type OperationName, operations } from "../../compiler/wasm/instructions.js";
import { type Ref, type Variant, WasmModule, type WasmType } from "../../compiler/wasm/module.js";
import { toWat } from "../../compiler/wasm/text.js";
import { InternalError } from "../../ir/errors.js";
import * as B from "../../ir/loop-build.js";
import { randomKernel } from "../loop/arbitrary.js";

const variants: readonly Variant[] = (["simd128", "relaxed"] as const).flatMap((simd) =>
  [false, true].flatMap((threads) => [false, true].map((memory64) => ({ simd, threads, memory64 }))),
);

const memoryOf = ({ threads }: Variant) => ({ shared: threads, initialPages: 1, maximumPages: 2 });

// binaryen's declarations lag behind: readBinary takes the features as a second argument.
const read = binaryen.readBinary as (data: Uint8Array, features: binaryen.Features) => binaryen.Module;

function expectValid(bytes: Uint8Array): void {
  const module = read(bytes, binaryen.Features.All);
  expect(module.validate()).toBe(1);
  module.dispose();
}

/** What binaryen makes of the text, as text. */
function throughBinaryen(text: string): string {
  const module = binaryen.parseText(text);
  module.setFeatures(binaryen.Features.All);
  expect(module.validate()).toBe(1);
  binaryen.setDebugInfo(true);
  const bytes = module.emitBinary();
  module.dispose();
  return toWat(bytes);
}

/** Functions that do one operation each, over parameters. */
function eachOperation(variant: Variant): Uint8Array {
  const m = new WasmModule(variant);
  m.importMemory(memoryOf(variant));
  for (const instruction of operations) {
    const types = instruction.operands.map((t): WasmType => (t === "address" ? addressType(variant) : t));
    const operands = types.map((type, k) => m.get(k, type));
    const node = applied(m, instruction, operands);
    const result = instruction.result === "address" ? addressType(variant) : instruction.result;
    m.addFunction(instruction.name, types, result, [], node);
  }
  return m.finish({ names: true });
}

const addressType = ({ memory64 }: Variant) => (memory64 ? "i64" : "i32");

function applied(m: WasmModule, { name, immediate, bytes }: Instruction, operands: readonly Ref[]): Ref {
  const op = name as OperationName;
  // Atomics must be aligned as they are wide.
  const align = name.includes("atomic") ? bytes : Math.max(1, bytes / 2);
  switch (immediate) {
    case "memory":
      return m.access(op, 300, align, ...operands);
    case "memoryLane":
      return m.accessLane(op, 1, 300, align, ...operands);
    case "lane":
      return m.lanes(op, [1], ...operands);
    case "lanes":
      return m.shuffle(operands[0]!, operands[1]!, [31, ...Array.from({ length: 15 }, (_, k) => k)]);
    default:
      return m.op(op, ...operands);
  }
}

describe("instructions", () => {
  it("have names and opcodes of their own", () => {
    const all = [...operations, ...contextuals];
    expect(new Set(all.map((i) => i.name)).size).toBe(all.length);
    expect(new Set(all.map((i) => `${i.prefix} ${i.code}`)).size).toBe(all.length);
  });

  it.each([false, true])("mean to binaryen what they mean here; addresses of 64 bits: %s", (memory64) => {
    const bytes = eachOperation({ simd: "relaxed", threads: true, memory64 });
    expectValid(bytes);
    const text = toWat(bytes);
    for (const { name } of operations) expect(text).toContain(`\n    ${name}`);
    expect(throughBinaryen(text)).toBe(text);
  });
});

describe("types", () => {
  const m = () => new WasmModule({ simd: "simd128", threads: false });

  it("of operands, locals, results and calls are checked when code is built", () => {
    const a = m();
    expect(() => a.op("i32.add", a.i32(1), a.f32(2))).toThrow("i32.add takes i32, not f32");
    expect(() => a.op("i32.add", a.i32(1))).toThrow("i32.add has 2 operands, not 1");
    expect(() => a.addFunction("f", [], "i32", [], a.f32(1))).toThrow("@f takes i32, not f32");
    expect(() => a.addFunction("f", [], undefined, ["f32"], a.set(0, a.i32(1)))).toThrow(InternalError);
    expect(() => a.addFunction("f", [], "i32", [], a.return(a.f64(1)))).toThrow("@f returns f64, not i32");
    expect(() => a.sequence([a.i32(1), a.i32(2)])).toThrow("leaves a value");
    expect(() => a.addFunction("f", [], undefined, [], a.br("nowhere"))).toThrow("nowhere");
  });

  it("of functions are checked when the module is complete", () => {
    const a = m();
    a.addFunction("f", [], "i32", [], a.call("g", [a.i32(1)], "i32"));
    expect(() => a.finish({ names: false })).toThrow("no function is called @g");
    a.addFunction("g", ["f32"], "i32", [], a.i32(1));
    expect(() => a.finish({ names: false })).toThrow("@g: (f32) -> i32 is called as (i32) -> i32");
  });
});

describe("numbers", () => {
  const call = (result: WasmType, make: (m: WasmModule) => Ref) => {
    const m = new WasmModule({ simd: "simd128", threads: false });
    m.addFunction("f", [], result, [], make(m));
    m.exportFunction("f", "f");
    const module = new WebAssembly.Module(m.finish({ names: false }) as BufferSource);
    return (new WebAssembly.Instance(module).exports.f as () => number | bigint)();
  };

  it("of 32 bits arrive", () => {
    const near = [6, 7, 13, 14, 20, 21, 27, 28, 31].flatMap((k) => [2 ** k - 1, 2 ** k, -(2 ** k), -(2 ** k) - 1]);
    for (const x of [0, 1, -1, ...near]) expect(call("i32", (m) => m.i32(x))).toBe(x | 0);
  });

  it("of 64 bits arrive", () => {
    fc.assert(fc.property(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), (x) => call("i64", (m) => m.i64(x)) === x));
    for (const x of [0n, -1n, 63n, 64n, -64n, -65n, 2n ** 63n - 1n, -(2n ** 63n)])
      expect(call("i64", (m) => m.i64(x))).toBe(x);
  });

  it("that are floats arrive, and their text is read as they are", () => {
    const special = [0, -0, 1, 0.1, 1e-45, 2 ** -1074, 1e300, Infinity, -Infinity, NaN, 3.4028234663852886e38];
    for (const x of special) {
      expect(call("f64", (m) => m.f64(x))).toBe(x);
      expect(call("f32", (m) => m.f32(Math.fround(x)))).toBe(Math.fround(x));
    }
    const m = new WasmModule({ simd: "simd128", threads: false });
    const drops = special.flatMap((x) => [m.drop(m.f64(x)), m.drop(m.f32(Math.fround(x)))]);
    m.addFunction("f", [], undefined, [], m.sequence(drops));
    const text = toWat(m.finish({ names: true }));
    expect(throughBinaryen(text)).toBe(text);
  });
});

describe("locals", () => {
  it("are numbered by type; what is read where it was just written is a tee", () => {
    const m = new WasmModule({ simd: "simd128", threads: false });
    const body = m.sequence([
      m.set(1, m.f32(1)),
      m.set(3, m.i32(2)),
      m.set(2, m.op("i32.add", m.get(3, "i32"), m.get(3, "i32"))),
      m.set(4, m.f32(3)),
      m.drop(m.op("f32.add", m.get(4, "f32"), m.get(1, "f32"))),
      m.return(m.op("i32.add", m.get(0, "i32"), m.get(2, "i32"))),
      m.drop(m.i32(7)),
    ]);
    m.addFunction("f", ["i32"], "i32", ["f32", "i32", "i32", "f32", "v128"], body);
    m.exportFunction("f", "f");
    const bytes = m.finish({ names: true });
    expect(toWat(bytes)).toBe(`(module
  (export "f" (func $f))
  (func $f (param i32) (result i32)
    (local f32 f32 i32 i32 v128)
    f32.const 1
    local.set 1
    i32.const 2
    local.tee 4
    local.get 4
    i32.add
    local.set 3
    f32.const 3
    local.tee 2
    local.get 1
    f32.add
    drop
    local.get 0
    local.get 3
    i32.add
    return)
)
`);
    expectValid(bytes);
  });

  it("may be more than a byte counts", () => {
    const m = new WasmModule({ simd: "simd128", threads: false });
    const all = Array.from({ length: 300 }, (_, k) => k);
    const sum = all.map((k) => m.get(k, "i32")).reduce((a, b) => m.op("i32.add", a, b));
    m.addFunction("f", [], "i32", Array(300).fill("i32"), m.sequence([...all.map((k) => m.set(k, m.i32(k))), sum]));
    m.exportFunction("f", "f");
    const instance = new WebAssembly.Instance(new WebAssembly.Module(m.finish({ names: false }) as BufferSource));
    expect((instance.exports.f as () => number)()).toBe((299 * 300) / 2);
  });
});

it("holds the helpers of every variant, and says what memory it imports", () => {
  const f = B.func("f", [{ name: "n", type: "i32" }], [B.barrier(B.v("n", "i32"))]);
  for (const variant of variants) {
    const { bytes, wat } = emitModule({ functions: [f], exports: ["f"], memory: memoryOf(variant), variant });
    expectValid(bytes);
    expect(wat()).toContain(
      `(import "env" "memory" (memory ${variant.memory64 ? "i64 " : ""}1 2${variant.threads ? " shared" : ""}))`,
    );
  }
});

it("random kernels are valid in every variant", () => {
  const checks = variants.map((variant) => ({ variant, known: engineKnows(variant) }));
  const property = fc.property(fc.gen(), (g) => {
    const f = randomKernel(g);
    for (const { variant, known } of checks) {
      const { bytes } = emitModule({ functions: [f], exports: [f.name], memory: memoryOf(variant), variant });
      expectValid(bytes);
      if (known) expect(WebAssembly.validate(bytes as BufferSource)).toBe(true);
    }
  });
  fc.assert(property, { numRuns: Number(process.env.WASMITH_FUZZ_RUNS ?? 25), endOnFailure: true });
});

/** Whether this engine has what the variant's modules may hold. */
function engineKnows({ simd, memory64 }: Variant): boolean {
  const m = new WasmModule({ simd, threads: false, memory64: memory64 ?? false });
  m.importMemory({ shared: false, initialPages: 1, maximumPages: 1 });
  const v = () => m.v128(new Uint8Array(16));
  m.addFunction("f", [], "v128", [], simd === "relaxed" ? m.op("f32x4.relaxed_madd", v(), v(), v()) : v());
  return WebAssembly.validate(m.finish({ names: false }) as BufferSource);
}
