/** Every op's samples as ONNX Runtime understands what exportOnnx writes. */
import { describe, expect, it } from "vitest";
import { exportOnnx } from "../../compiler/onnx/export/export.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, paramName } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import { element, type Tensor } from "../../ir/tensor.js";
import { allOps, type DrawnSample, samplesOf, symbolicGraph } from "../ops/draw.js";
import { compareTensors } from "./compare.js";
import { hasOnnxRuntime, howToGetIt, runOnnxRuntime } from "./onnxruntime.js";

/** Types that the runtime has all ops of. */
const COMMON: ReadonlySet<string> = new Set(["f32", "i64", "i32", "bool"]);

const has = (t: Tensor | undefined, what: (x: number) => boolean): boolean =>
  t !== undefined && Array.from({ length: t.data.length }, (_, i) => element(t, i)).some(what);
const isInteger = (t: Tensor): boolean => /^[iu]/.test(t.dtype);
const withNaN = ({ feeds: [x] }: DrawnSample): boolean => has(x, Number.isNaN);
const byZero = ({ feeds: [a, b] }: DrawnSample): boolean => isInteger(a!) && has(b, (x) => x === 0);

/** Where the runtime and the IR differ, and why. Each of them must differ. */
const DIFFERENT: Readonly<Record<string, readonly [when: (s: DrawnSample) => boolean, why: string]>> = {
  div: [byZero, "integer division by zero is an error there, 0 here"],
  rem: [byZero, "integer division by zero is an error there, 0 here"],
  gelu: [
    ({ feeds: [x], sample }) => sample.attrs.approximate === "none" && has(x, (v) => v === -Infinity),
    "-∞ · 0 is NaN there, the limit here",
  ],
  lrn: [
    ({ feeds: [x], sample: { attrs } }) => x!.shape.length !== 4 && attrs.before === attrs.after,
    "its LRN takes images of two axes alone",
  ],
  maxPool: [withNaN, "ONNX does not say which is larger, NaN or a number"],
  nonZero: [({ feeds: [x] }) => x!.shape.length === 0, "a scalar has one axis there, none here"],
  rnn: [
    ({ feeds }) => isInteger(feeds.at(-1)!) && has(feeds.at(-1), (x) => x === 0),
    "a sequence of no steps ends in zeros there, in its first state here",
  ],
  scan: [({ sample }) => sample.attrs.length === 0, "a scan of no steps is an error there"],
  sort: [withNaN, "ONNX does not order NaN"],
  topK: [withNaN, "ONNX does not order NaN"],
  unique: [withNaN, "NaN equals everything there"],
  windowSum: [({ feeds: [x] }) => isInteger(x!), "it has no convolution of doubles"],
};

async function difference(s: DrawnSample, g: Graph, bytes: Uint8Array): Promise<string | undefined> {
  let got: Record<string, Tensor>;
  try {
    got = await runOnnxRuntime(bytes, Object.fromEntries(g.params.map((p, i) => [paramName(p), s.feeds[i]!])));
  } catch (error) {
    return (error as Error).message;
  }
  for (const [i, want] of evaluate(s.graph, s.feeds).entries()) {
    const wrong = compareTensors(got[g.resultNames[i]!]!, want, { rtol: 1e-4, atol: 1e-5 });
    if (wrong !== undefined) return `result ${i}: ${wrong}`;
  }
  return undefined;
}

describe(`in ONNX Runtime${howToGetIt}`, () => {
  it.skipIf(!hasOnnxRuntime).each(allOps)("%s", { timeout: 60_000 }, async (name, op) => {
    for (const s of samplesOf(op)) {
      const g = symbolicGraph(s) ?? s.graph;
      if (![...g.params, ...g.results].every((v) => COMMON.has(v.type.dtype))) continue;
      let bytes: Uint8Array;
      try {
        bytes = exportOnnx(g);
      } catch (error) {
        // What can't be written is tested in export.test.ts.
        if (error instanceof ModelError) continue;
        throw error;
      }
      const found = await difference(s, g, bytes);
      const [when, why] = DIFFERENT[name] ?? [];
      if (when?.(s)) expect(found, `sample ${s.index}: ${why}`).toBeDefined();
      else expect(found, `sample ${s.index}`).toBeUndefined();
    }
  });
});
