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
import type { Graph } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printGraph } from "../../ir/graph-print.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { graphPasses } from "../../passes/graph/index.js";
import type { GraphPass } from "../../passes/pass.js";
import { defaultPipeline, runPipeline } from "../../passes/pipeline.js";

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

function runCase(c: Case): string {
  const input: Graph = parseGraph(c.input, "case");
  verifyGraph(input);
  return printGraph(runPipeline(passesOf(c.run), input, { verify: true }));
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
      const got = runCase(c);
      if (update) outputs[i] = `${got}\n`;
      else expect(got.trim()).toBe(c.want?.trim());
    });
    if (update) {
      it("is rewritten", () => {
        const text = cases.map(
          (c, i) => `// RUN: ${c.run}\n${c.input}${outputs[i] === undefined ? "" : `// CHECK\n${outputs[i]}`}`,
        );
        writeFileSync(join(folder, file), `${head}${text.join("")}`.trimEnd().concat("\n"));
      });
    }
  });
}
