import { Command } from "commander";
import { randomFeeds } from "../random-feeds.js";
import { positive, withCompileFlags } from "./compile.js";
import { collectDim, type DimOption } from "./dim-flag.js";
import { entryOf } from "./entry.js";
import { readTensors } from "./feeds.js";
import { ms, table } from "./format.js";
import { withKeyFlag } from "./key.js";
import { type OpenFlags, openSession } from "./open.js";
import { countsOf } from "./repeat.js";

export function benchCommand(): Command {
  return withKeyFlag(withCompileFlags(new Command("bench")))
    .argument("<model>", "an artefact's .wasm, or a model to compile")
    .option("--inputs <file>", "safetensors file with the inputs (default: random)")
    .option("--dim <name=value>", "size of a dim for random inputs; repeatable", collectDim)
    .option("--threads <n>", "threads", positive)
    .option("--runs <n>", "measured runs", positive, 50)
    .option("--entry <name>", "which entry, of a program with several (a training step learns)")
    .option("--profile", "also time each step")
    .option("--json", "figures as JSON")
    .action(
      async (
        path: string,
        flags: OpenFlags & {
          inputs?: string;
          dim?: DimOption;
          runs: number;
          entry?: string;
          profile?: boolean;
          json?: boolean;
        },
      ) => {
        const start = performance.now();
        const session = await openSession(path, flags);
        const loaded = performance.now();
        const feeds = (
          flags.inputs
            ? await readTensors(flags.inputs)
            : randomFeeds(entryOf(session, flags.entry).inputs, flags.dim ?? {}, 1)
        ) as never;
        const times: number[] = [];
        let first = 0;
        const again = countsOf(session);
        // Enough runs for the engine's optimising tier before the first one that counts.
        for (let i = 0; i < flags.runs + 20; i++) {
          const t = performance.now();
          await session.run(feeds, { reuse: true, entry: flags.entry });
          const took = performance.now() - t;
          if (i === 0) first = took;
          if (i >= 20) times.push(took);
          again();
        }
        times.sort((a, b) => a - b);
        const figures = {
          load: loaded - start,
          first,
          min: times[0]!,
          median: times[times.length >> 1]!,
          ...session.report,
        };
        const profile = flags.profile ? await session.profile(feeds, { entry: flags.entry }) : [];
        if (flags.json) console.log(JSON.stringify({ ...figures, ...(flags.profile ? { profile } : {}) }));
        else {
          console.log(
            table([
              ["load", ms(figures.load)],
              ["first run", ms(first)],
              ["least", ms(figures.min)],
              ["median", ms(figures.median)],
            ]),
          );
          console.log(
            `${session.report.variant}, ${session.report.threads} thread(s)${session.report.notes.map((n) => `; ${n}`).join("")}`,
          );
          if (flags.profile) console.log(table(profile.map((r) => [ms(r.ms), r.kernel, r.name])));
        }
        session.dispose();
      },
    );
}
