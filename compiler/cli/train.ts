import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import pc from "picocolors";
import { ModelError } from "../../ir/errors.js";
import { type EpochEvent, type History, load, type TrainingSession } from "../../runtime/index.js";
import { compile } from "../compile.js";
import { writeWhole } from "../write.js";
import { type CompileFlags, compileOptions, integer, positive, withCompileFlags } from "./compile.js";
import { ms, number } from "./format.js";
import { ofUser } from "./load-model.js";
import { isArrays, readTrainModule, trainModule } from "./train-module.js";
import { type Figures, type Goal, goalText, reached, type TrainModule } from "./train-types.js";

interface TrainFlags extends CompileFlags {
  readonly epochs?: number;
  readonly batchSize?: number;
  readonly seed?: number;
  readonly threads?: number;
  readonly checkpoint?: string;
  /** True: from the checkpoint that is written. */
  readonly resume?: string | boolean;
  readonly weights?: string;
  readonly report?: string | boolean;
  readonly json?: boolean;
  readonly show?: string;
}

export function trainCommand(): Command {
  return withCompileFlags(new Command("train"))
    .argument("<module>", ".js, .mjs or .ts file, or a folder with train.ts")
    .option("--epochs <n>", "passes over the data set (default: what the module's `fit` says, or 1)", positive)
    .option("--batch-size <n>", "samples a step", positive)
    .option(
      "--seed <n>",
      "seed of initial weights, random numbers, and the order of samples in arrays (default: 0)",
      integer,
    )
    .option(
      "--threads <n>",
      "threads (default: one for each core, at most 8; what is trained does not depend on it)",
      positive,
    )
    .option("--checkpoint <file>", "save all state here after each epoch and on interruption")
    .option("--resume [file]", "go on from this checkpoint (default: from that of --checkpoint, if it is there)")
    .option("--weights <file>", "write the trained weights here at the end, as a safetensors file")
    .option("--report <file>", "page with curves, written at the end (default: beside the checkpoint, .html)")
    .option("--no-report", "no page")
    .option("--json", "a line of JSON for each epoch")
    .option("--show <folder>", "write the pictures and texts that the module makes of what was trained")
    .action(train);
}

const signals = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

async function train(path: string, flags: TrainFlags): Promise<void> {
  const { seed, resume } = flags;
  const from = typeof resume === "string" ? resume : resume ? flags.checkpoint : undefined;
  if (resume === true && from === undefined)
    throw new ModelError({
      where: "--resume",
      message: "it is not said from which checkpoint",
      hint: "--resume FILE, or --checkpoint FILE --resume",
    });
  const checkpoint = flags.checkpoint ?? from;
  const module = await readTrainModule(path, seed);
  if (resume && module.train)
    throw new ModelError({
      where: path,
      message: "it trains by a loop of its own, which does not go on from a checkpoint",
      hint: "leave --resume out",
    });
  if (flags.show !== undefined && !module.show)
    throw new ModelError({
      where: path,
      message: "it has nothing to show",
      hint: "export a function show(session)",
    });
  if (seed !== undefined && !module.train && !isArrays(module.dataset))
    console.error(
      `${pc.yellow("note:")} --seed does not order this data set, which comes as it is made: export function dataset({ seed })`,
    );
  const options = { ...compileOptions(flags, module.name), ...(seed === undefined ? {} : { seed }) };
  const artifact = await compile(module.program, options);
  const session = await load<TrainingSession>(artifact, { threads: flags.threads ?? "auto" });
  if (from !== undefined && (typeof resume === "string" || existsSync(from))) await session.restore(from);
  const interrupt = new AbortController();
  let stopped: keyof typeof signals | undefined;
  const stop = (signal: keyof typeof signals) => {
    stopped = signal;
    interrupt.abort(new ModelError("interrupted"));
  };
  for (const signal of Object.keys(signals)) process.once(signal, stop);
  try {
    const { history, figures } = await trainModule(path, module, session, {
      ...flags,
      signal: interrupt.signal,
      onEpoch: (event, end) => console.log(flags.json ? JSON.stringify(event) : epochLine(event, end)),
      saved: async () => {
        if (checkpoint !== undefined) await session.save(checkpoint);
      },
    });
    if (Object.keys(figures).length > 0) console.log(flags.json ? JSON.stringify(figures) : figuresLine(figures));
    if (module.goal) tellGoal(module.goal, figures, flags);
    if (flags.weights !== undefined) await session.exportSafetensors(flags.weights);
    const report = reportPath(flags);
    if (report !== null && history.length > 0)
      await writeWhole(report, new TextEncoder().encode(await history.toHTML(module.name)));
    if (flags.show !== undefined) await writeShown(path, module, session, history, flags.show);
  } catch (error) {
    if (stopped === undefined || error !== interrupt.signal.reason) throw error;
    const advice = checkpoint === undefined || module.train ? "" : `; --resume ${checkpoint} goes on`;
    console.error(`interrupted${advice}`);
    process.exitCode = 128 + signals[stopped];
  } finally {
    for (const signal of Object.keys(signals)) process.removeListener(signal, stop);
    session.dispose();
  }
}

/** Where the report goes; null: nowhere. */
function reportPath({ report, checkpoint }: TrainFlags): string | null {
  if (typeof report === "string") return report;
  return report === false || checkpoint === undefined ? null : `${checkpoint.replace(/\.safetensors$/, "")}.html`;
}

function tellGoal(goal: Goal, figures: Figures, { json }: TrainFlags): void {
  const isReached = reached(goal, figures);
  if (json) console.log(JSON.stringify({ goal, reached: isReached ?? null }));
  else console.log(`${goalText(goal)}${isReached === false ? ": missed" : ""}`);
}

async function writeShown(
  path: string,
  module: TrainModule,
  session: TrainingSession,
  history: History,
  folder: string,
): Promise<void> {
  const shown = await ofUser(path, () => module.show!(session, history));
  await mkdir(folder, { recursive: true });
  for (const [name, content] of Object.entries(shown))
    await writeWhole(join(folder, name), typeof content === "string" ? new TextEncoder().encode(content) : content);
}

/** An epoch in words: figures of the data learnt from, then those of the validation. */
function epochLine({ epoch, loss, metrics, validation, seconds, learningRate }: EpochEvent, end: number): string {
  const held = Object.entries({ loss: validation?.loss, ...validation?.metrics });
  const figures = { loss, ...metrics, ...Object.fromEntries(held.map(([name, v]) => [`validation ${name}`, v])) };
  const rate = learningRate === null ? [] : [`rate ${number(learningRate)}`];
  return [`epoch ${epoch + 1}/${end}`, figuresLine(figures), ...rate, ms(seconds * 1000)].join("  ");
}

const figuresLine = (figures: Readonly<Record<string, number | undefined>>): string =>
  Object.entries(figures)
    // A loop of the module's own may have no loss.
    .filter((entry): entry is [string, number] => entry[1] !== undefined && !Number.isNaN(entry[1]))
    .map(([name, value]) => `${name} ${number(value)}`)
    .join("  ");
