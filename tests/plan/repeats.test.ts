import { describe, expect, it } from "vitest";
import { type LlamaSize, llama, llamaFeeds, llamaTiny } from "../../bench/models/llama.js";
import { type Artifact, compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { segmentsOf, shareColumns } from "../../compiler/plan/repeats.js";
import { type Feeds, load } from "../../runtime/index.js";
import { seeded } from "../graph/random.js";

describe("segments of steps", () => {
  it("cover all steps in order, and repeat what is alike", () => {
    const rng = seeded(5);
    const upTo = (n: number) => Math.floor(rng() * n);
    for (let round = 0; round < 200; round++) {
      const ids: number[] = [];
      for (let part = 0; part < 4; part++) {
        const block = Array.from({ length: 1 + upTo(20) }, () => upTo(6));
        for (let t = 1 + upTo(8); t > 0; t--) ids.push(...block);
      }
      let at = 0;
      for (const { first, period, times } of segmentsOf(ids)) {
        expect(first).toBe(at);
        for (let i = first; i + period < first + period * times; i++) expect(ids[i]).toBe(ids[i + period]);
        at += period * times;
      }
      expect(at).toBe(ids.length);
    }
  });

  it("find equal layers between other steps", () => {
    const layers = Array.from({ length: 6 }, () => Array.from({ length: 30 }, (_, i) => 100 + i)).flat();
    const segments = segmentsOf([1, 2, 3, ...layers, 4, 5]);
    expect(segments).toEqual([
      { first: 0, period: 3, times: 1 },
      { first: 3, period: 30, times: 6 },
      { first: 183, period: 2, times: 1 },
    ]);
    expect(segmentsOf([])).toEqual([]);
  });
});

it("columns of numbers share parameters that move alike", () => {
  const columns = [
    [1, 1, 1],
    [10, 20, 40],
    [2 ** 31, 2 ** 31 + 10, 2 ** 31 + 30],
    [7, 6, 5],
    [10, 20, 40],
  ];
  const { shared, params } = shareColumns(
    columns,
    columns.map(() => "i32"),
  );
  expect(params).toEqual([columns[1], columns[3]]);
  columns.forEach((column, i) => {
    const s = shared[i]!;
    const back = column.map((_, t) => ("value" in s ? s.value : params[s.param]![t]! + s.plus));
    expect(back).toEqual(column);
  });
});

describe("a decoder of equal layers", () => {
  const size = (layers: number): LlamaSize => ({ ...llamaTiny, layers });
  const made = (layers: number): Promise<Artifact> =>
    compile(importOnnx(llama(size(layers))), { variants: ["simd128", "simd128-threads"] });

  it("has code that hardly grows with their number", async () => {
    const [few, many] = await Promise.all([made(4), made(16)]);
    const codeOf = (a: Artifact) => a.wasm.simd128!.length;
    expect(codeOf(many) - codeOf(few)).toBeLessThan(12 * 100);
  });

  it("gives the same bits with two threads, and where runs are left and resumed", async () => {
    const artifact = await made(4);
    const all = [];
    for (const threads of [1, 2]) {
      const session = await load(artifact, { threads });
      for (const [queries, before] of [
        [1, 0],
        [3, 5],
        [40, 1],
      ] as const) {
        const feeds = llamaFeeds(size(4), queries, before) as unknown as Feeds;
        const want = await session.run(feeds);
        // Watched runs are asked between steps whether they go on.
        const again = await session.run(feeds, { signal: new AbortController().signal });
        expect(again).toEqual(want);
        all.push(want);
      }
      session.dispose();
    }
    expect(all.slice(3)).toEqual(all.slice(0, 3));
  });
});
