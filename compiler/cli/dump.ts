import { join } from "node:path";
import { Command } from "commander";
import { ModelError } from "../../ir/errors.js";
import { printGraph } from "../../ir/graph-print.js";
import { printLoopFunction } from "../../ir/loop-print.js";
import { compile } from "../compile.js";
import { graphPasses } from "../pipeline.js";
import { planText } from "../plan/text.js";
import { toWat } from "../wasm/text.js";
import { writeAll } from "../write.js";
import { type CompileFlags, compileOptions, withCompileFlags } from "./compile.js";
import { count as inWords } from "./format.js";
import { type ImportFlags, withImportFlags } from "./import-flags.js";
import { loadModel } from "./load-model.js";

export function dumpCommand(): Command {
  return withCompileFlags(withImportFlags(new Command("dump")))
    .argument("<model>", "model to compile")
    .option("-o, --out <directory>", "where to", "dump")
    .option("--after <pass>", "print the graph after this pass instead of writing files")
    .option("--skip <passes>", "comma-separated passes to leave out")
    .option("--json", "report as JSON")
    .action(
      async (
        path: string,
        flags: CompileFlags & ImportFlags & { out: string; after?: string; skip?: string; json?: boolean },
      ) => {
        const skip = flags.skip?.split(",") ?? [];
        for (const name of [...skip, ...(flags.after ? [flags.after] : [])]) {
          if (!graphPasses.has(name)) {
            throw new ModelError({
              message: `no pass is called "${name}"`,
              hint: `choose from ${[...graphPasses.keys()].join(", ")}`,
            });
          }
        }
        const model = await loadModel(path, flags);
        const files: { readonly name: string; readonly text: string }[] = [];
        let entry = "";
        let count = 0;
        const add = (name: string, text: string) =>
          files.push({ name: `${String(count++).padStart(2, "0")}-${name}`, text });
        const artifact = await compile(model.program, {
          ...compileOptions({ ...flags, variants: flags.variants ?? ["simd128"] }, model.name),
          skipPasses: skip,
          onEntry: (name, graph) => {
            entry = name;
            add(`${entry}-import.graph`, printGraph(graph));
          },
          onPass: ({ pass, after, changed }) => {
            if (pass === flags.after) console.log(printGraph(after));
            if (changed) add(`${entry}-${pass}.graph`, printGraph(after));
          },
        });
        if (flags.after) return;
        for (const f of artifact.assembled.functions) add(`${f.name}.loop`, printLoopFunction(f));
        for (const v of artifact.manifest.variants) add(`${v.id}.wat`, toWat(artifact.wasm[v.id]!));
        add("plan.txt", artifact.assembled.plans.map((p) => planText(p.schedule, p.arena)).join("\n\n"));
        const utf8 = new TextEncoder();
        await writeAll(
          flags.out,
          files.map((f) => [f.name, utf8.encode(`${f.text}\n`)]),
        );
        if (flags.json) console.log(JSON.stringify({ paths: files.map((f) => join(flags.out, f.name)) }));
        else console.log(`${inWords(files.length, "file")} in ${flags.out}`);
      },
    );
}
