/**
 * Tells what compilation does, as DEBUG and DUMP ask:
 *
 *   DEBUG=1 stages and their times   2 each pass: nodes, time, rules   3 the graph after each pass that changed it
 *         4 Loop IR of all kernels   5 the modules as wat              6 every firing of a rule
 *   DUMP=dir writes `00-main-import.graph … , KERNEL.loop, VARIANT.wat, plan.txt`, and `repro.graph` when a pass fails
 */

import type { Graph, GraphNode } from "../ir/graph.js";
import { printGraph } from "../ir/graph-print.js";
import { printLoopFunction } from "../ir/loop-print.js";
import type { Trace } from "../passes/pass.js";
import { type PassEvent, type PassFailure, passSummary } from "../passes/pipeline.js";
import { importModule } from "../runtime/platform.js";
import type { Assembled } from "./assemble.js";
import type { DebugSettings } from "./env.js";
import { planText } from "./plan/text.js";
import { toWat } from "./wasm/text.js";

/** Constants longer than this are cut short on the terminal. Files hold them in full. */
const shown = 16;

export class DebugLog {
  readonly #settings: DebugSettings;
  readonly #print: (line: string) => void;
  readonly #files: { readonly name: string; readonly text: string }[] = [];
  #entry = "";

  constructor(settings: DebugSettings, print: (line: string) => void = (line) => console.error(line)) {
    this.#settings = settings;
    this.#print = print;
  }

  /** Given to the pipeline where rules are to be told one by one. */
  get trace(): Trace | undefined {
    if (this.#settings.level < 6) return undefined;
    return {
      fired: (rule: string, node: GraphNode) =>
        this.#print(`  ${rule} at ${node.op}${node.loc ? ` (${node.loc})` : ""}`),
    };
  }

  stage(name: string, ms: number): void {
    this.#tell(1, () => `${name}: ${ms.toFixed(1)} ms`);
  }

  entry(name: string, g: Graph): void {
    this.#entry = name;
    this.#graph(`${name}-import`, g);
  }

  pass(e: PassEvent): void {
    this.#tell(2, () => passSummary(e));
    if (e.changed) this.#graph(`${this.#entry}-${e.pass}`, e.after);
  }

  failure(f: PassFailure): void {
    this.#tell(
      1,
      () => `pass ${f.pass} failed; ${this.#settings.dump ? "see repro.graph" : "DUMP=dir writes repro.graph"}`,
    );
    this.#file("repro.graph", () => f.repro);
  }

  assembled(a: Assembled): void {
    for (const f of a.functions) {
      this.#tell(4, () => printLoopFunction(f));
      this.#file(`${f.name}.loop`, () => printLoopFunction(f));
    }
    for (const [id, bytes] of Object.entries(a.wasm)) {
      this.#tell(5, () => toWat(bytes));
      this.#file(`${id}.wat`, () => toWat(bytes));
    }
    this.#file("plan.txt", () => a.plans.map((p) => planText(p.schedule, p.arena)).join("\n\n"));
  }

  /** Writes what was collected (Node only). Existing files of the same names are replaced. */
  async flush(): Promise<void> {
    const { dump } = this.#settings;
    if (dump === undefined || this.#files.length === 0) return;
    const { mkdir, writeFile } = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
    const { join } = await importModule<typeof import("node:path")>("node:path");
    await mkdir(dump, { recursive: true });
    for (const f of this.#files) await writeFile(join(dump, f.name), f.text);
  }

  #graph(name: string, g: Graph): void {
    this.#tell(3, () => `${name}\n${printGraph(g, { elide: shown })}`);
    this.#file(`${String(this.#files.length).padStart(2, "0")}-${name}.graph`, () => printGraph(g));
  }

  #tell(level: number, text: () => string): void {
    if (this.#settings.level >= level) this.#print(text());
  }

  #file(name: string, text: () => string): void {
    if (this.#settings.dump !== undefined) this.#files.push({ name, text: text() });
  }
}
