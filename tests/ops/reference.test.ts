/** What must hold for every sample of every op, whatever executes it. */

import { describe, expect, it } from "vitest";
import { isStaticShape } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printGraph } from "../../ir/graph-print.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { evaluate } from "../../ir/reference.js";
import { sameTensor } from "../../ir/tensor.js";
import { allOps, samplesOf, symbolicGraph } from "./draw.js";

describe("the reference gives what is inferred", () => {
  it.each(allOps)("%s", (_, op) => {
    for (const { graph: g, feeds, index } of samplesOf(op)) {
      const out = evaluate(g, feeds);
      expect(out.length).toBe(g.results.length);
      out.forEach((t, k) => {
        const { dtype, shape } = g.results[k]!.type;
        expect(t.dtype, `sample ${index}`).toBe(dtype);
        if (isStaticShape(shape)) expect(t.shape, `sample ${index}`).toEqual(shape);
        expect(t.data.length).toBe(t.shape.reduce((n, d) => n * d, 1));
      });
    }
  });
});

describe("inference with symbolic sizes gives the shapes that come out", () => {
  it.each(allOps)("%s", (_, op) => {
    for (const drawn of samplesOf(op)) {
      const g = symbolicGraph(drawn);
      if (g === undefined) continue;
      // The evaluator throws where an inferred shape does not evaluate to the actual one.
      const got = evaluate(g, drawn.feeds);
      const want = evaluate(drawn.graph, drawn.feeds);
      got.forEach((t, k) => {
        expect(sameTensor(t, want[k]!), `sample ${drawn.index}`).toBe(true);
      });
    }
  });
});

describe("the text form and the verifier", () => {
  it.each(allOps)("%s", (_, op) => {
    for (const { graph: g, feeds } of samplesOf(op)) {
      verifyGraph(g);
      const text = printGraph(g);
      const read = parseGraph(text);
      expect(printGraph(read)).toBe(text);
      const want = evaluate(g, feeds);
      evaluate(read, feeds).forEach((t, k) => {
        expect(sameTensor(t, want[k]!)).toBe(true);
      });
    }
  });
});
