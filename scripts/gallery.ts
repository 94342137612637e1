/**
 * Trains the systems of models/ and writes what came out: models/NAME/measured.json with the figures, the pictures and tables that the system
 * shows, and the gallery of models/README.md.
 *
 *     npm run build
 *     npx tsx scripts/gallery.ts            # all of them: each in a process of its own, one after the other
 *     npx tsx scripts/gallery.ts vae dqn    # these
 *     npx tsx scripts/gallery.ts --table    # none: the gallery of what was measured before
 */

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { readTrainModule, trainModule } from "../compiler/cli/train-module.js";
import { type Goal, goalText, reached } from "../compiler/cli/train-types.js";
import { compile } from "../compiler/compile.js";
import { load, Session, type TrainingSession } from "../runtime/index.js";
import { between } from "./marks.js";

/** models/NAME/measured.json. */
interface Measured {
  readonly date: string;
  readonly machine: string;
  readonly parameters: number;
  /** Of the artefact with its weights and one variant. */
  readonly bytes: number;
  readonly seconds: number;
  /** Of all threads: what training takes of the machine, whoever else is on it. */
  readonly processorSeconds?: number;
  readonly figures: Readonly<Record<string, number>>;
  readonly goal: Goal;
  /** Median ms of an entry's runs, while training, measuring and showing. */
  readonly entries: Readonly<Record<string, { readonly runs: number; readonly ms: number }>>;
  /** Files that the system shows. */
  readonly shown: readonly string[];
}

const models = fileURLToPath(new URL("../models/", import.meta.url));
const folders = readdirSync(models, { withFileTypes: true })
  .filter((e) => e.isDirectory() && existsSync(`${models}${e.name}/train.ts`))
  .map((e) => e.name)
  .sort();

const count = (n: number): string => (n < 1e6 ? `${Math.round(n / 1e3)} k` : `${(n / 1e6).toFixed(1)} M`);
const size = (bytes: number): string =>
  bytes < 2 ** 20 ? `${Math.round(bytes / 2 ** 10)} KB` : `${(bytes / 2 ** 20).toFixed(1)} MB`;

const [first, ...rest] = process.argv.slice(2);
if (first === "--one") await measure(rest[0]!);
else {
  if (first !== "--table")
    for (const name of first === undefined ? folders : [first, ...rest]) {
      const { status } = spawnSync(process.execPath, [...process.execArgv, process.argv[1]!, "--one", name], {
        stdio: "inherit",
      });
      if (status !== 0) throw new Error(`${name} failed`);
    }
  writeGallery();
}

async function measure(name: string): Promise<void> {
  const path = `${models}${name}`;
  const module = await readTrainModule(path);
  if (!module.goal) throw new Error(`${name} has no goal`);
  const artifact = await compile(module.program, { variants: ["simd128-threads"], name });
  // Threads run what `npm run build` made.
  const workerUrl = new URL("../dist/worker.js", import.meta.url);
  const session = await load<TrainingSession>(artifact, { threads: 2, workerUrl });
  const times = timed();
  const begin = performance.now();
  const used = process.cpuUsage();
  const { history, figures } = await trainModule(path, module, session, {
    signal: new AbortController().signal,
    onEpoch: ({ epoch, loss }) =>
      console.log(`${name}: epoch ${epoch + 1}, ${Number.isNaN(loss) ? "" : `loss ${loss.toPrecision(4)}`}`),
  });
  const seconds = (performance.now() - begin) / 1000;
  const { user, system } = process.cpuUsage(used);
  const shown = (await module.show?.(session, history)) ?? {};
  for (const [file, content] of Object.entries(shown))
    if (file.endsWith(".md")) writeTable(name, file, content);
    else writeFileSync(`${path}/${file}`, content);
  const params = session.state.filter((s) => s.role === "param");
  const measured: Measured = {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus()[0]!.model.trim()}, Node ${process.versions.node}`,
    parameters: params.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
    bytes: (await artifact.toBytes()).length,
    seconds,
    processorSeconds: (user + system) / 1e6,
    figures,
    goal: module.goal,
    entries: times(),
    shown: Object.keys(shown),
  };
  writeFileSync(`${path}/measured.json`, `${JSON.stringify(measured, null, 2)}\n`);
  session.dispose();
  console.log(
    `${name}: ${JSON.stringify(figures)}; ${goalText(module.goal)}${reached(module.goal, figures) ? "" : ": MISSED"}`,
  );
}

/** What a system shows in Markdown stands between marks of its README. */
function writeTable(name: string, file: string, content: string | Uint8Array): void {
  const path = `${models}${name}/README.md`;
  const of = { document: `models/${name}/README.md`, script: "scripts/gallery.ts" };
  writeFileSync(path, between(readFileSync(path, "utf8"), of, file, String(content)));
}

/** Times all runs from now on. @returns what gives the medians by entry */
function timed(): () => Measured["entries"] {
  const all = new Map<string, number[]>();
  // Entries' methods go through `run`, `fit` through `runScalars`, which is no part of the interface.
  const proto = Session.prototype as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  const wrap = (method: string, entryOf: (args: unknown[], session: Session) => string) => {
    const run = proto[method]!;
    proto[method] = async function (this: Session, ...args: unknown[]) {
      const begin = performance.now();
      const result = await run.apply(this, args);
      const entry = entryOf(args, this);
      const list = all.get(entry) ?? [];
      all.set(entry, list);
      list.push(performance.now() - begin);
      return result;
    };
  };
  // What a session's own signature shows is that of the entry that runs where none is named.
  const main = ({ entries, inputs }: Session) => Object.keys(entries).find((e) => entries[e]!.inputs === inputs)!;
  wrap("run", ([, options], session) => (options as { entry?: string } | undefined)?.entry ?? main(session));
  wrap("runScalars", ([entry]) => entry as string);
  return () =>
    Object.fromEntries(
      [...all].map(([entry, list]) => [
        entry,
        { runs: list.length, ms: Number(list.sort((a, b) => a - b)[list.length >> 1]!.toPrecision(3)) },
      ]),
    );
}

function writeGallery(): void {
  const path = `${models}README.md`;
  const rows = folders.flatMap((name) => {
    const file = `${models}${name}/measured.json`;
    if (!existsSync(file)) return [];
    return [rowOf(name, JSON.parse(readFileSync(file, "utf8")) as Measured)];
  });
  const head =
    "| | | figure | goal and baseline | parameters, artefact | trained in (processor s) | ms a run |\n|---|---|---|---|---|---|---|";
  const made = `${head}\n${rows.join("\n")}\n`;
  const text = readFileSync(path, "utf8");
  writeFileSync(path, between(text, { document: "models/README.md", script: "scripts/gallery.ts" }, "gallery", made));
}

function rowOf(name: string, m: Measured): string {
  const text = readFileSync(`${models}${name}/README.md`, "utf8");
  const title = /^# (.+)$/m.exec(text)?.[1];
  const paper = /^Paper: (.+)$/m.exec(text)?.[1];
  if (!title || !paper) throw new Error(`models/${name}/README.md has no title, or no line that begins with "Paper: "`);
  const picture = m.shown.find((f) => /\.(png|svg)$/.test(f));
  const number = (v: number) => String(Number(v.toPrecision(4)));
  return `| ${[
    picture ? `<img src="${name}/${picture}" width="160" alt="${title}">` : "",
    `[${title}](${name}/README.md). ${paper}`,
    `${m.goal.figure} **${number(m.figures[m.goal.figure]!)}**`,
    goalText(m.goal),
    `${count(m.parameters)}, ${size(m.bytes)}`,
    `${m.seconds.toFixed(0)} s${m.processorSeconds ? ` (${m.processorSeconds.toFixed(0)})` : ""}`,
    Object.entries(m.entries)
      .map(([entry, { ms }]) => `${entry} ${number(ms)}`)
      .join(", "),
  ].join(" | ")} |`;
}
