/** What the benchmark times of a decoder that keeps its caches: each run is the same step, and what stays inside is what the plain model gives. */

import { expect, it } from "vitest";
import { GptStep, gptInputs } from "../../bench/models/gpt.js";
import { type Feed, feedsOf } from "../../bench/models/model.js";
import { compile, type Tensor, toGraph, withCache } from "../../index.js";
import { load } from "../../runtime/index.js";

type Tensors = Readonly<Record<string, Tensor>>;
interface Run {
  (feeds: Tensors): Promise<Tensors>;
  readonly prepare?: (feeds: Tensors) => Tensors;
  readonly kept?: (want: Tensors) => Tensors;
}
const page = "../../bench/peers/session.mjs";
const { runOf } = (await import(page)) as { runOf: (session: unknown) => Run };

it("a step with the cache in the session", async () => {
  const options = { vocabulary: 50, features: 16, layers: 2, heads: 2, context: 12 };
  const past = 5;
  const feeds = Object.fromEntries(
    Object.entries(gptInputs(options)).map(([name, { dtype, shape }]): [string, Feed] => [
      name,
      { dtype, shape: shape.map((d) => (d === "past" ? past : d)), ...(dtype === "i64" ? { below: 9 } : {}) },
    ]),
  );
  const graph = toGraph(new GptStep(options).initialize(3), { name: "gpt", inputs: gptInputs(options) });
  const tensors = feedsOf({ feeds });
  const plain = runOf(await load(await compile(graph, { variants: ["simd128"] })));
  const caching = withCache(graph, { length: options.context });
  const kept = runOf(await load(await compile(caching, { variants: ["simd128"] })));
  const want = await plain(tensors);
  kept.prepare!(tensors);
  for (let run = 0; run < 9; run++) {
    const got = { ...(await kept(tensors)), ...kept.kept!(want) };
    expect(Object.keys(got).sort()).toEqual(Object.keys(want).sort());
    for (const [name, { data }] of Object.entries(want))
      (data as Float32Array).forEach((x, i) => {
        expect(Math.abs((got[name]!.data as Float32Array)[i]! - x), name).toBeLessThan(1e-5);
      });
  }
});
