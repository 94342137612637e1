/** NaNs in results and states have one bit pattern, in every variant and tier. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { evaluate } from "../../ir/reference.js";
import { tensorFrom } from "../../ir/tensor.js";
import { type Feeds, load } from "../../runtime/index.js";
import { DATA } from "../onnx/data.js";
import { bitsSeen, layers, noise } from "./nan-runs.js";

const path = join(DATA, "cases/hostile/nan-bits/model.onnx");
const baseline = [
  ["simd128", 1],
  ["simd128-threads", 1],
  ["simd128-threads", 2],
] as const;
if (!existsSync(path)) console.warn(`the case nan-bits is skipped: there is no ${path}`);

describe("bits of NaNs", () => {
  it.runIf(existsSync(path))("are the same from run to run of convolutions of every kind", async () => {
    expect((await bitsSeen(importOnnx(new Uint8Array(readFileSync(path))), baseline, 200)).size).toBe(1);
  });

  it("are the same from run to run of layers of every kind", async () => {
    expect((await bitsSeen(layers(), baseline, 200)).size).toBe(1);
  });

  it("are those of the usual NaN where arithmetic made it, and are kept where it was only moved", async () => {
    const graph = parseGraph(
      `graph @g(%x: f32[4]) -> (made: f32[4], half: f16[4], wide: f64[4], moved: f32[2], bits: i32[4]) {
        %0: f32[4] = sqrt %x
        %1: f16[4] = cast %0 {to="f16"}
        %2: f64[4] = cast %x {to="f64"}
        %3: f32[2] = slice %x {starts=[2], sizes=[2], steps=[1]}
        %4: i32[4] = bitcast %0 {to="i32"}
        return %0, %1, %2, %3, %4
      }`,
      "test",
    );
    const session = await load(await compile(graph, { variants: ["simd128"] }));
    const x = new Float32Array(4);
    new Uint32Array(x.buffer).set([0xbf800000, 0x7fc01234, 0xffc05678, 0x7fc00000]);
    const { made, half, wide, moved, bits } = await session.run({ x });
    const hex = (data: ArrayBufferView, width: number) =>
      Buffer.from(data.buffer, data.byteOffset, data.byteLength)
        .swap32()
        .toString("hex")
        .match(new RegExp(`.{${width}}`, "g"));
    expect(hex(made!.data, 8)).toEqual(Array(4).fill("7fc00000"));
    expect(new Set(half!.data as Uint16Array)).toEqual(new Set([0x7e00]));
    expect((wide!.data as Float64Array)[0]).toBe(-1);
    expect([...new BigUint64Array(wide!.data.buffer).slice(1)]).toEqual(Array(3).fill(0x7ff8000000000000n));
    expect(hex(moved!.data, 8)).toEqual(["ffc05678", "7fc00000"]);
    expect([...(bits!.data as Int32Array)]).toEqual(Array(4).fill(0x7fc00000));
    session.dispose();
  });

  it("are those that the reference gives behind changed signs and in regions", async () => {
    const graph = parseGraph(
      `graph @g(%x: f32[4], %zero: f32[4], %yes: bool[]) -> (minus: f32[4], plus: f32[4], carried: f32[4], inside: i32[3,4], chosen: f32[4], bits: i32[4]) {
        %0: f32[4] = mul %x, %zero
        %1: f32[4] = neg %0
        %2: f32[4] = abs %0
        %3: f32[4], %4: i32[3,4] = scan %x, %zero {carried=1, inputs=0, length=3, reverse=false}
          graph @body(%a: f32[4], %c: f32[4]) -> (f32[4], i32[4]) {
            %0: f32[4] = mul %a, %c
            %1: i32[4] = bitcast %a {to="i32"}
            return %0, %1
          }
        %5: f32[4], %6: i32[4] = if %yes, %0
          graph @yes(%c0: f32[4]) -> (f32[4], i32[4]) {
            %0: f32[4] = neg %c0
            %1: i32[4] = bitcast %c0 {to="i32"}
            return %0, %1
          }
          graph @no(%c0: f32[4]) -> (f32[4], i32[4]) {
            %0: i32[4] = bitcast %c0 {to="i32"}
            return %c0, %0
          }
        return %1, %2, %3, %4, %5, %6
      }`,
      "test",
    );
    const feeds = [
      tensorFrom("f32", [4], [Infinity, -Infinity, Number.NaN, 1]),
      tensorFrom("f32", [4], [0, 0, 0, 0]),
      tensorFrom("bool", [], [1]),
    ] as const;
    const session = await load(await compile(graph, { variants: ["simd128"] }));
    const got = await session.run({ x: feeds[0], zero: feeds[1], yes: feeds[2] } as Feeds);
    const bits = (t: { readonly data: ArrayBufferView }) => [
      ...new Uint32Array(t.data.buffer, t.data.byteOffset, t.data.byteLength / 4),
    ];
    const want = evaluate(graph, feeds);
    for (const [i, name] of graph.resultNames.entries()) expect(bits(got[name]!), name).toEqual(bits(want[i]!));
    session.dispose();
  });

  it("are the same in states that a step writes", async () => {
    const { nn, losses, optim, trainStep } = await import("../../compiler/dsl/index.js");
    const program = trainStep(nn.Linear(3, 2), {
      inputs: { x: ["batch", 3] },
      targets: { y: { dtype: "f32", shape: ["batch", 2] } },
      loss: losses.mse(),
      optimizer: optim.Adam({ lr: 0.1 }),
    });
    const session = await load(await compile(program, { variants: ["simd128"] }));
    const feeds = { x: noise([4, 3], 5), y: noise([4, 2], 6) };
    await session.step(feeds as never);
    await session.step(feeds as never);
    const nans = session.state
      .filter((s) => s.dtype === "f32")
      .flatMap((s) => [...new Uint32Array(session.getState(s.name).data.slice().buffer as ArrayBuffer)])
      .filter((b) => (b & 0x7fffffff) > 0x7f800000);
    expect(nans.length).toBeGreaterThan(0);
    expect(new Set(nans)).toEqual(new Set([0x7fc00000]));
    session.dispose();
  });
});
