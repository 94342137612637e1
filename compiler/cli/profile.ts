import { Command } from "commander";
import type { Tensor } from "../../ir/tensor.js";
import { load, type Session } from "../../runtime/index.js";
import { type Artifact, compile } from "../compile.js";
import { profilePage } from "../profile/page.js";
import { measureHardware } from "../profile/peak.js";
import { type Profile, profileOf } from "../profile/profile.js";
import { profileText, profileTrace } from "../profile/text.js";
import { randomFeeds } from "../random-feeds.js";
import { writeWhole } from "../write.js";
import { compileOptions, positive, withCompileFlags } from "./compile.js";
import { collectDim, type DimOption } from "./dim-flag.js";
import { entryOf } from "./entry.js";
import { readTensors } from "./feeds.js";
import { keyOption, withKeyFlag } from "./key.js";
import { loadModel } from "./load-model.js";
import type { OpenFlags } from "./open.js";
import { countsOf } from "./repeat.js";
import { sessionOptions } from "./runner.js";

interface ProfileFlags extends OpenFlags {
  readonly inputs?: string;
  readonly dim?: DimOption;
  readonly entry?: string;
  readonly repeat: number;
  readonly top: number;
  readonly json?: boolean;
  readonly trace?: string;
  readonly html?: string;
}

/** Runs before those that count: the engine's optimising tier comes in them. */
const warmUp = 10;

export function profileCommand(): Command {
  return withKeyFlag(withCompileFlags(new Command("profile")))
    .argument("<model>", "a model to compile, or an artefact's .wasm (of which only times are told)")
    .option("--inputs <file>", "safetensors file with the inputs (default: random)")
    .option("--dim <name=value>", "size of a dim for random inputs; repeatable", collectDim)
    .option("--threads <n>", "threads", positive)
    .option("--entry <name>", "which entry, of a program with several (a training step learns)")
    .option("--repeat <n>", "runs of which each step's least time counts", positive, 20)
    .option("--top <n>", "rows of each table", positive, 15)
    .option("--json", "all steps as JSON")
    .option("--trace <file>", "write one run for trace viewers (ui.perfetto.dev, chrome://tracing)")
    .option("--html <file>", "write a page with a roofline picture and the layers' times")
    .action(async (path: string, flags: ProfileFlags) => {
      const { source, name, artifact } = await modelOf(path, flags);
      const session = await load(source, { ...sessionOptions(flags), ...(await keyOption(path, flags)) });
      try {
        const profile = await profileSession(session, name, artifact, flags);
        if (flags.trace) await writeWhole(flags.trace, encoded(JSON.stringify(profileTrace(profile))));
        if (flags.html) await writeWhole(flags.html, encoded(profilePage(profile)));
        console.log(flags.json ? JSON.stringify(profile) : profileText(profile, flags.top));
      } finally {
        session.dispose();
      }
    });
}

const encoded = (text: string): Uint8Array => new TextEncoder().encode(text);

interface Model {
  readonly source: string | Artifact;
  readonly name: string;
  /** Undefined for what is compiled already: it does not hold the schedules. */
  readonly artifact: Artifact | undefined;
}

async function modelOf(path: string, flags: ProfileFlags): Promise<Model> {
  const stem = path.replace(/^.*[\\/]/, "").replace(/\.wasm$/, "");
  if (path.endsWith(".wasm")) return { source: path, name: stem, artifact: undefined };
  const model = await loadModel(path);
  const artifact = await compile(model.program, compileOptions(flags, model.name));
  return { source: artifact, name: model.name, artifact };
}

async function profileSession(
  session: Session,
  model: string,
  artifact: Artifact | undefined,
  flags: ProfileFlags,
): Promise<Profile> {
  const { name: entry, inputs } = entryOf(session, flags.entry);
  const feeds = flags.inputs ? await readTensors(flags.inputs) : randomFeeds(inputs, flags.dim ?? {}, 1);
  const { variant, threads } = session.report;
  const hardware = measureHardware(variant.startsWith("relaxed") ? "relaxed" : "simd128");
  const times: number[] = [];
  const again = countsOf(session);
  for (let i = 0; i < warmUp + flags.repeat; i++) {
    const start = performance.now();
    await session.run(feeds as never, { reuse: true, entry });
    if (i >= warmUp) times.push(performance.now() - start);
    again();
  }
  times.sort((a, b) => a - b);
  const rows = await session.profile(feeds as never, { entry, repeat: flags.repeat });
  const run = { min: times[0]!, median: times[times.length >> 1]! };
  const schedule = artifact?.assembled.plans.find((p) => p.schedule.name === entry)?.schedule;
  return profileOf({ model, entry, variant, threads, hardware, run, rows }, schedule, dimsOf(inputs, feeds));
}

/** Values of the dims that inputs show by themselves. */
function dimsOf(inputs: Session["inputs"], feeds: Readonly<Record<string, Tensor>>): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const { name, shape } of inputs)
    for (const [axis, d] of shape.entries()) if (typeof d === "string") found.set(d, feeds[name]!.shape[axis]!);
  return found;
}
