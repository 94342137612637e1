import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { ModelError } from "../../ir/errors.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printGraph } from "../../ir/graph-print.js";
import { passSummary, runPipeline } from "../../passes/pipeline.js";
import { graphPasses } from "../pipeline.js";

export function optCommand(): Command {
  return new Command("opt")
    .description(`Passes: ${[...graphPasses.keys()].join(", ")}`)
    .argument("<file>", ".graph file; - reads standard input")
    .option("--passes <list>", "comma-separated names, in order; default: the line `// RUN:` of the file")
    .option("--stats", "a line on each pass, on standard error")
    .action(async (path: string, flags: { passes?: string; stats?: boolean }) => {
      const text = path === "-" ? readFileSync(0, "utf8") : await readFile(path, "utf8");
      const names = (flags.passes ?? /^\/\/ RUN: *(.*)$/m.exec(text)?.[1] ?? "")
        .split(",")
        .map((n) => n.trim())
        .filter((n) => n !== "");
      const passes = names.map((name) => {
        const pass = graphPasses.get(name);
        if (!pass)
          throw new ModelError({
            where: "--passes",
            message: `no pass is called "${name}"`,
            hint: `choose from ${[...graphPasses.keys()].join(", ")}`,
          });
        return pass;
      });
      const result = runPipeline(passes, parseGraph(text, path), {
        verify: true,
        ...(flags.stats ? { onPass: (e) => console.error(passSummary(e)) } : {}),
      });
      console.log(printGraph(result));
    });
}
