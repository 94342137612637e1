/**
 * Golden tests of graph passes. A `.graph` file holds cases:
 *
 *     // RUN: simplify, fold-constants       names of passes; "pipeline" is the default pipeline; nothing is a round trip
 *     graph @g(…) -> … { … }
 *     // CHECK
 *     graph @g(…) -> … { … }                 what the passes make, rewritten by UPDATE_GOLDEN=1
 *
 * or, instead of a CHECK, `// ERROR: text` at the end of the line where parsing, verifying or the pass must fail.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { defaultPipeline, graphPasses } from "../../compiler/pipeline.js";
import { evaluateDim } from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, graphSymbols } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printGraph } from "../../ir/graph-print.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { evaluate } from "../../ir/reference.js";
import { elementCount, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { recognize } from "../../passes/graph/recognize.js";
import { relaxedMath } from "../../passes/graph/relaxed-math.js";
import { simplify } from "../../passes/graph/simplify.js";
import type { GraphPass } from "../../passes/pass.js";
import { runPipeline } from "../../passes/pipeline.js";
import { randomTensor, seeded } from "../graph/random.js";
import { disagreement } from "../ops/accuracy.js";

const folder = join(import.meta.dirname, "graph");
const update = process.env.UPDATE_GOLDEN === "1";

interface Case {
  readonly run: string;
  /** From the line after RUN to the CHECK. */
  readonly input: string;
  readonly want: string | undefined;
}

function casesOf(text: string): { head: string; cases: Case[] } {
  const [head = "", ...pieces] = text.split(/^\/\/ RUN:/m);
  const cases = pieces.map((piece) => {
    const end = piece.indexOf("\n");
    const [input = "", want] = piece.slice(end + 1).split(/^\/\/ CHECK\n/m);
    return { run: piece.slice(0, end).trim(), input, want };
  });
  return { head, cases };
}

function passesOf(run: string): readonly GraphPass[] {
  const names = run.split(",").map((n) => n.trim());
  return names
    .filter((n) => n !== "")
    .flatMap((name) => {
      if (name === "pipeline") return defaultPipeline;
      const pass = graphPasses.get(name);
      if (pass === undefined) throw new Error(`no pass is called ${name}`);
      return [pass];
    });
}

const fired = new Set<string>();

function runCase(c: Case): { before: Graph; after: Graph } {
  const before: Graph = parseGraph(c.input, "case");
  verifyGraph(before);
  const trace = { fired: (rule: string) => fired.add(rule) };
  return { before, after: runPipeline(passesOf(c.run), before, { verify: true, trace }) };
}

const floats = [0, -0, 1, -1, 2.5, Number.NaN, Infinity, -Infinity, 1e-40, -3e38, 0.1, -7];
const whole = [0, 1, -1, 2, 127, -128, 255, 100, -7, 3, 2 ** 31 - 1, -(2 ** 31)];

/** Special values of each type, paired differently in each round; sizes that differ. */
function specialFeeds(g: Graph, round: number): Tensor[] {
  return g.params.map(({ type }, k) => {
    const shape = type.shape.map((d) =>
      evaluateDim(
        d,
        new Map([...graphSymbols(g).keys()].map((s, i) => [s, 2 + (round % 3 === 2 ? 0 : i) + (round % 2)])),
      ),
    );
    const values = isFloat(type.dtype) ? floats : whole.map(BigInt);
    const pick = (i: number) => values[(i * (k === 0 ? 1 : 5) + round * (k + 1)) % values.length]!;
    return tensorFrom(
      type.dtype,
      shape,
      Array.from({ length: elementCount(shape) }, (_, i) => pick(i)),
    );
  });
}

/** The passes changed nothing but the form: equal bits for special values; where a pass rounds, nearly equal ordinary ones. */
function sameResults(before: Graph, after: Graph, passes: readonly GraphPass[]): void {
  if (passes.some((p) => p.rounds)) {
    const random = seeded(1);
    const feeds = specialFeeds(before, 0).map((t) => randomTensor(random, t.dtype, t.shape, [0.5, 2]));
    const got = evaluate(after, feeds);
    evaluate(before, feeds).forEach((want, i) => {
      expect(disagreement(got[i]!, want, { rtol: 1e-6, atol: 1e-6 })).toBeUndefined();
    });
    return;
  }
  for (let round = 0; round < 12; round++) {
    const feeds = specialFeeds(before, round);
    const [want, got] = [outcome(before, feeds), outcome(after, feeds)];
    expect(typeof got).toBe(typeof want);
    if (typeof want === "string" || typeof got === "string") continue;
    want.forEach((w, i) => {
      expect(disagreement(got[i]!, w, "exact")).toBeUndefined();
    });
  }
}

/** Results, or why sizes are refused. */
function outcome(g: Graph, feeds: readonly Tensor[]): readonly Tensor[] | string {
  try {
    return evaluate(g, feeds);
  } catch (error) {
    if (error instanceof ModelError) return error.message;
    throw error;
  }
}

for (const file of readdirSync(folder).filter((f) => f.endsWith(".graph"))) {
  describe(file, () => {
    const { head, cases } = casesOf(readFileSync(join(folder, file), "utf8"));
    const outputs = cases.map((c) => c.want);
    it.each(cases.map((c, i) => [c.input.match(/^\/\/ (.*)/)?.[1] ?? `case ${i + 1}`, i] as const))("%s", (_, i) => {
      const c = cases[i]!;
      const error = /^(.*)\/\/ ERROR: (.*)$/m.exec(c.input);
      if (error !== null) {
        const line = c.input.slice(0, error.index).split("\n").length;
        let message = "";
        try {
          runCase(c);
        } catch (e) {
          message = String(e);
        }
        expect(message).toContain(error[2]!);
        if (/case:\d+/.test(message)) expect(message).toContain(`case:${line}:`);
        return;
      }
      const { before, after } = runCase(c);
      sameResults(before, after, passesOf(c.run));
      const got = printGraph(after);
      if (update) outputs[i] = `${got}\n`;
      else expect(got.trim()).toBe(c.want?.trim());
    });
    if (update) {
      it("is rewritten", () => {
        const text = cases.map(
          (c, i) =>
            `${`// RUN: ${c.run}`.trimEnd()}\n${c.input}${outputs[i] === undefined ? "" : `// CHECK\n${outputs[i]}`}`,
        );
        writeFileSync(join(folder, file), `${head}${text.join("")}`.trimEnd().concat("\n"));
      });
    }
  });
}

it("every rule has a case", () => {
  expect(
    [...simplify.rules, ...recognize.rules, ...relaxedMath.rules].map((r) => r.name).filter((name) => !fired.has(name)),
  ).toEqual([]);
});
