import { existsSync } from "node:fs";
import { Command } from "commander";
import { ModelError } from "../../ir/errors.js";
import { type Dataset, type FitOptions, load, type TrainingArtifact } from "../../runtime/index.js";
import { compile } from "../compile.js";
import { writeWhole } from "../write.js";
import { type CompileFlags, compileOptions, integer, positive, withCompileFlags } from "./compile.js";
import { loadModel, ofUser } from "./load-model.js";

interface TrainFlags extends CompileFlags {
  readonly epochs?: number;
  readonly batchSize?: number;
  readonly seed?: number;
  readonly threads?: number;
  readonly checkpoint?: string;
  readonly resume?: boolean;
  readonly report?: string | boolean;
  readonly json?: boolean;
}

export function trainCommand(): Command {
  return withCompileFlags(new Command("train"))
    .description(
      "train a program: a module whose default export is made by trainStep, and that exports `dataset` (and `validation`, `fit`: { epochs, batchSize })",
    )
    .argument("<module>", ".js, .mjs or .ts file, or a folder with train.ts")
    .option("--epochs <n>", "passes over the data set (default: what the module's `fit` says, or 1)", positive)
    .option("--batch-size <n>", "samples a step", positive)
    .option("--seed <n>", "seed of the order of samples in arrays (default: 0)", integer)
    .option("--threads <n>", "threads", positive)
    .option("--checkpoint <file>", "save weights and optimiser state here after each epoch and on interruption")
    .option("--resume", "go on from the checkpoint if it is there")
    .option("--report <file>", "page with curves, written at the end (default: beside the checkpoint, .html)")
    .option("--no-report", "no page")
    .option("--json", "a line of JSON for each epoch")
    .action(async (path: string, flags: TrainFlags) => {
      const model = await loadModel(path);
      const dataset = await given(path, model.exports.dataset);
      if (!model.program.training || dataset === undefined) {
        throw new ModelError({
          where: path,
          message: dataset === undefined ? "it exports no `dataset`" : "its default export is not a training program",
          hint: "export default trainStep(…), and export const dataset = { x, y } (or a function that returns it)",
        });
      }
      const validation = await given(path, model.exports.validation);
      const own = (model.exports.fit ?? {}) as Pick<FitOptions, "epochs" | "batchSize">;
      const artifact = (await compile(model.program, compileOptions(flags, model.name))) as unknown as TrainingArtifact;
      const session = await load(artifact, { threads: flags.threads ?? 1 });
      if (flags.resume && flags.checkpoint && existsSync(flags.checkpoint)) await session.restore(flags.checkpoint);
      const interrupt = new AbortController();
      const report = reportPath(flags);
      const stop = () => interrupt.abort(new ModelError("interrupted"));
      process.once("SIGINT", stop);
      try {
        // Data sets may be generators.
        await ofUser(path, () =>
          session.fit(dataset, {
            epochs: flags.epochs ?? own.epochs,
            batchSize: flags.batchSize ?? own.batchSize,
            shuffle: flags.seed,
            validation,
            signal: interrupt.signal,
            callbacks: {
              onEpoch: async (event) => {
                if (flags.checkpoint) await session.save(flags.checkpoint);
                if (flags.json) console.log(JSON.stringify(event));
                else console.log(epochLine(event));
              },
              // While fit still knows where it stands, so that --resume goes on there, or has nothing left to do.
              onEnd: async ({ history }) => {
                if (flags.checkpoint) await session.save(flags.checkpoint);
                if (report !== null && history.length > 0)
                  await writeWhole(report, new TextEncoder().encode(await history.toHTML(model.name)));
              },
            },
          }),
        );
      } finally {
        process.removeListener("SIGINT", stop);
        session.dispose();
      }
    });
}

/** Where the report goes; null: nowhere. */
function reportPath({ report, checkpoint }: TrainFlags): string | null {
  if (typeof report === "string") return report;
  return report === false || checkpoint === undefined ? null : `${checkpoint.replace(/\.safetensors$/, "")}.html`;
}

async function given(path: string, value: unknown): Promise<Dataset | undefined> {
  return (typeof value === "function" ? await ofUser(path, value as () => unknown) : await value) as
    | Dataset
    | undefined;
}

function epochLine(event: object): string {
  const number = (v: unknown): string =>
    typeof v === "number" ? (Number.isInteger(v) ? String(v) : v.toFixed(4)) : JSON.stringify(v);
  return Object.entries(event)
    .map(([k, v]) => `${k} ${number(v)}`)
    .join("  ");
}
