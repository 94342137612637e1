import { describe, expect, it } from "vitest";
import { assemble } from "../../compiler/assemble.js";
import type { Buffer, KernelStep, Schedule, View } from "../../compiler/schedule.js";
import { dimSymbol } from "../../ir/dim.js";
import type { LoopFunction } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import { tensorFrom } from "../../ir/tensor.js";
import { sealArtifact } from "../../runtime/encode.js";
import { load } from "../../runtime/index.js";

const i32 = (name: string) => ({ name, type: "i32" }) as const;

/** y[i] = a·x[i] + w[i mod 4], one chunk a row of 4. */
const scaleAdd: LoopFunction = {
  name: "f32_scale_add",
  params: [
    i32("begin"),
    i32("end"),
    b.pointer("x", "f32"),
    b.pointer("w", "f32"),
    b.pointer("y", "f32"),
    { name: "a", type: "f32" },
  ],
  body: [
    b.forLoop("row", b.v("begin", "i32"), b.v("end", "i32"), 1, (row) => [
      b.forLoop("i", b.i32(0), b.i32(4), 1, (i) => {
        const at = b.add(b.mul(row, b.i32(4)), i);
        const x = b.load("f32", "f32", b.v("x", "ptr"), at);
        return [
          b.store(
            "f32",
            b.v("y", "ptr"),
            at,
            b.add(b.mul(b.v("a", "f32"), x), b.load("f32", "f32", b.v("w", "ptr"), i)),
          ),
        ];
      }),
    ]),
  ],
};

const n = dimSymbol("n", { min: 0, max: 1000 });
const whole = (buffer: Buffer): View => ({ buffer, offset: 0 });
const temp = (id: number): Buffer => ({ id, dtype: "f32", shape: [n, 4], source: { kind: "temp" } });
const call = (from: Buffer, weight: Buffer, to: Buffer, a: number): KernelStep => ({
  kind: "kernel",
  fn: scaleAdd,
  helpers: [],
  chunks: n,
  args: [
    { kind: "view", view: whole(from), access: "read" },
    { kind: "view", view: whole(weight), access: "read" },
    { kind: "view", view: whole(to), access: "write" },
    { kind: "f32", value: a },
  ],
  inPlace: [[2, 0]],
  loc: `layer${to.id}`,
});

function chain(): Schedule {
  const x: Buffer = { id: 0, dtype: "f32", shape: [n, 4], source: { kind: "input", name: "x" } };
  const w: Buffer = {
    id: 1,
    dtype: "f32",
    shape: [4],
    source: { kind: "weight", value: tensorFrom("f32", [4], [1, 2, 3, 4]) },
  };
  const temps = [2, 3, 4].map(temp);
  return {
    name: "main",
    steps: [call(x, w, temps[0]!, 2), call(temps[0]!, w, temps[1]!, 0.5), call(temps[1]!, w, temps[2]!, 3)],
    inputs: [{ name: "x", view: whole(x), dtype: "f32", shape: [n, 4] }],
    outputs: [{ name: "y", view: whole(temps[2]!), dtype: "f32", shape: [n, 4] }],
    requirements: [],
    stateResults: [],
    counted: [],
  };
}

const options = {
  name: "chain",
  variants: ["simd128", "simd128-threads"],
  maxThreads: 4,
  maxMemoryBytes: 1 << 30,
  optimizeKernel: (f: LoopFunction) => f,
  producer: "test",
} as const;

describe("assemble", () => {
  it("lays out, emits and runs a schedule with a symbolic dim, on one thread and on two", async () => {
    const { draft, wasm, weights } = assemble([chain()], { entries: {}, state: [] }, options);
    const artifact = await sealArtifact(draft, wasm, weights);
    for (const threads of [1, 2]) {
      const session = await load(artifact, { threads });
      for (const rows of [3, 0, 700, 1]) {
        const x = Float32Array.from({ length: rows * 4 }, (_, i) => i / 7);
        const { y } = await session.run({ x: { dtype: "f32", shape: [rows, 4], data: x } });
        const want = x.map((v, i) => {
          const w = (i % 4) + 1;
          const once = Math.fround(Math.fround(2 * v) + w);
          const twice = Math.fround(Math.fround(0.5 * once) + w);
          return Math.fround(Math.fround(3 * twice) + w);
        });
        expect(y?.shape).toEqual([rows, 4]);
        expect(Array.from(y!.data as Float32Array)).toEqual(Array.from(want));
      }
      session.dispose();
    }
  });

  it("runs the whole chain in one block of memory", () => {
    const { plans, functions } = assemble([chain()], { entries: {}, state: [] }, options);
    expect(new Set([...plans[0]!.arena.offsets.values()].map(String)).size).toBe(1);
    expect(functions.filter((f) => f.name.startsWith("f32_scale_add"))).toHaveLength(1);
  });

  it("refuses what cannot fit", () => {
    expect(() => assemble([chain()], { entries: {}, state: [] }, { ...options, maxMemoryBytes: 4096 })).toThrow(
      /limit is 4096/,
    );
  });

  it("writes a state in place where its old value is no longer read, else copies", async () => {
    const s: Buffer = { id: 0, dtype: "f32", shape: [1, 4], source: { kind: "state", name: "s" } };
    const w: Buffer = {
      id: 1,
      dtype: "f32",
      shape: [4],
      source: { kind: "weight", value: tensorFrom("f32", [4], [1, 2, 3, 4]) },
    };
    const next: Buffer = { id: 2, dtype: "f32", shape: [1, 4], source: { kind: "temp" } };
    const later: Buffer = { id: 3, dtype: "f32", shape: [1, 4], source: { kind: "temp" } };
    const one = (step: KernelStep): KernelStep => ({ ...step, chunks: 1 });
    const schedule = (steps: KernelStep[], out: Buffer): Schedule => ({
      name: "step",
      steps,
      inputs: [],
      outputs: [{ name: "out", view: whole(out), dtype: "f32", shape: [1, 4] }],
      requirements: [],
      stateResults: [{ state: s, value: whole(next) }],
      counted: [],
    });
    const state = [{ name: "s", role: "param", tensor: tensorFrom("f32", [1, 4], [1, 1, 1, 1]) }] as const;
    const inPlace = schedule([one(call(s, w, later, 1)), one(call(s, w, next, 1))], later);
    const copied = schedule([one(call(s, w, next, 1)), one(call(s, w, later, 1))], later);
    for (const [sched, steps] of [
      [inPlace, 2],
      [copied, 3],
    ] as const) {
      const made = assemble([sched], { entries: {}, state }, { ...options, variants: ["simd128"] });
      expect(made.plans[0]!.schedule.steps).toHaveLength(steps);
    }
  });
});
