/**
 * Small models (WASMITH_DATA/cases/hostile) fed with sizes and indices that do not fit one another: each run gives the right
 * result or a ModelError that names the node, on one thread and on two, and the session works on.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { ModelError } from "../../ir/errors.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { compareTensors } from "./compare.js";
import { DATA } from "./data.js";

type Feeds = Readonly<Record<string, Tensor>>;

const made = (dtype: Tensor["dtype"], shape: readonly number[], at: (i: number) => number): Tensor =>
  tensorFrom(
    dtype,
    shape,
    Array.from({ length: shape.reduce((p, d) => p * d, 1) }, (_, i) => at(i)),
  );
const f32 = (...shape: number[]) => made("f32", shape, (i) => ((i * 7) % 13) - 6);
const i64 = (shape: readonly number[], at: (i: number) => number) => made("i64", shape, at);
const mask = (length: number, at: (i: number) => number) => made("bool", [length], at);
const shape = (...sizes: number[]) => i64([sizes.length], (i) => sizes[i]!);

interface Case {
  /** These run and agree with the reference evaluator. */
  readonly right: readonly Feeds[];
  /** These are refused. */
  readonly refused: readonly Feeds[];
}

const CASES: Readonly<Record<string, Case>> = {
  "compress-long-condition": {
    right: [
      { x: f32(4, 1000), c: mask(4, (i) => i % 2) },
      { x: f32(4, 1000), c: mask(2, () => 1) },
    ],
    refused: [
      { x: f32(1, 1000), c: mask(500_000, () => 1) },
      { x: f32(2, 1000), c: mask(5, (i) => Number(i === 4)) },
      { x: f32(2, 1000), c: mask(3, () => 1) },
    ],
  },
  "gather-elements-outside": {
    right: [
      { x: f32(5, 1000), i: i64([5, 1], (i) => i * 249) },
      { x: f32(5, 1000), i: i64([3, 1], (i) => -i - 1) },
    ],
    refused: [
      { x: f32(1, 1000), i: i64([500_000, 1], () => 5) },
      { x: f32(1, 1000), i: i64([2, 1], () => 5) },
      { x: f32(2, 1000), i: i64([2, 1], (i) => i * 1000) },
      { x: f32(2, 1000), i: i64([2, 1], (i) => i * -1001) },
      { x: f32(2, 1000), i: i64([2, 1], (i) => i * -(2 ** 52)) },
    ],
  },
  "nll-outside": {
    right: [{ x: f32(5, 1000), t: i64([5], (i) => i * 100) }],
    refused: [
      { x: f32(1, 1000), t: i64([500_000], () => 3) },
      { x: f32(5, 1000), t: i64([4], () => 3) },
      { x: f32(2, 1000), t: i64([2], () => 1000) },
      { x: f32(2, 1000), t: i64([2], () => 2 ** 32) },
    ],
  },
  "reduce-two-middle-axes": {
    right: [{ input: f32(4, 3, 7, 2, 3, 5) }, { input: f32(4, 9, 2, 2, 3, 5) }],
    refused: [],
  },
  "reshape-runtime-shape": {
    right: [
      { x: f32(2, 3, 4), s: shape(4, 3, 2, 1) },
      { x: f32(2, 3, 4), s: shape(1, -1, 1, 3) },
      { x: f32(2, 3, 4), s: shape(0, 0, 2, 2) },
    ],
    refused: [
      [64, 64, 64, 64],
      [24, 24, 24, 24],
      [-1, -1, -1, -1],
      [-1, -1, 24, 1],
      [-2, 3, -4, 1],
      [2, 3, 4, 2],
      [2, 3, 3, 1],
      [5, -1, 1, 1],
      [2 ** 32 + 2, 3, 4, 1],
      [0, 0, 0, 0],
    ].map((s) => ({ x: f32(2, 3, 4), s: shape(...s) })),
  },
  "topk-beyond-axis": { right: [{ x: f32(250_001) }], refused: [{ x: f32(10) }, { x: f32(249_999) }, { x: f32(0) }] },
};

const folder = join(DATA, "cases/hostile");

describe.skipIf(!existsSync(folder))(`cases of ${folder}`, () => {
  it.each(Object.entries(CASES))("%s", async (name, { right, refused }) => {
    const graph = importOnnx(readFileSync(join(folder, name, "model.onnx")));
    const artifact = await compile(graph, { variants: ["simd128", "simd128-threads"] });
    for (const threads of [1, 2]) {
      const session = await load(artifact, { threads });
      const check = async () => {
        for (const feeds of right) {
          const got = (await session.run(feeds as never)) as Feeds;
          evaluate(graph, feeds).forEach((want, i) => {
            const output = graph.resultNames[i]!;
            expect(compareTensors(got[output]!, want, { rtol: 1e-4, atol: 1e-4 }), output).toBeUndefined();
          });
        }
      };
      await check();
      for (const feeds of refused) {
        const run = session.run(feeds as never);
        await expect(run).rejects.toMatchObject({
          name: "ModelError",
          problems: [{ where: expect.stringMatching(/./) }],
        });
        expect(() => evaluate(graph, feeds)).toThrow(ModelError);
      }
      await check();
      session.dispose();
    }
  });

  it("refuses a size that only a loop's body finds, and that leaves it", () => {
    const model = readFileSync(join(folder, "size-found-in-scan/model.onnx"));
    expect(() => importOnnx(model)).toThrow(/\/Loop: .* is found anew each time that the region runs/s);
  });
});
