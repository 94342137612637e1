/** Measures the kernels and tiles that a model may take, on the engine that runs this. */

import type { Graph } from "../../ir/graph.js";
import type { ArtifactParts, VariantId } from "../../runtime/format.js";
import { type CompileOptions, checkCompileChoices, compileChecks, type Optimized, optimized } from "../compile.js";
import { DebugLog } from "../debug.js";
import type { Candidate, Tuner } from "../lower/core/tuner.js";
import {
  aFunction,
  anObject,
  aString,
  atLeast,
  type Checks,
  checkOptions,
  pick,
  recordOf,
  seconds,
} from "../options.js";
import type { Program } from "../program.js";
import { randomFeeds } from "../random-feeds.js";
import {
  bestOf,
  confirmed,
  type EntryFeeds,
  type Found,
  type MeasureOptions,
  measureRound,
  type Opened,
  type TimedSession,
  untunedTimes,
} from "./measure.js";
import { type Choice, planRounds, type Round, type StepChoices, stepChoices } from "./rounds.js";
import { candidateIndex, candidateOf, type Tuning, tuningFormat, tuningVersion } from "./tuning.js";

interface EntryInputs {
  readonly inputs: Parameters<typeof randomFeeds>[0];
  readonly dims: readonly { readonly name: string; readonly min: number }[];
}

/** A session as `load` of wasmith/runtime gives it. */
export interface TunableSession extends TimedSession {
  readonly report: { readonly variant: VariantId; readonly threads: number };
  readonly entries: Readonly<Record<string, EntryInputs>>;
}

export type LoadSession = (
  artifact: ArtifactParts,
  options: { readonly threads: number; readonly deterministic: boolean },
) => Promise<TunableSession>;

export interface TuneProgress {
  /** Rounds measured, of how many. In a round many kinds of nodes have other kernels or tiles at once. */
  readonly round: number;
  readonly rounds: number;
  /** Kinds of nodes for which something faster was found so far. */
  readonly faster: number;
}

export interface TuneOptions extends Omit<CompileOptions, "tuning" | "onWarning"> {
  /** `load` of wasmith/runtime: it brings the engine. */
  readonly load: LoadSession;
  /** Sizes of dims that the model leaves open. Default: the least of each, and at least 1. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Inputs by entry. Default: random ones. */
  readonly feeds?: Readonly<Record<string, object>>;
  /** Threads of the runs. Default 1. */
  readonly threads?: number;
  /** What the tuning says of where it was measured. Default: what the engine calls itself. */
  readonly engine?: string;
  /** How long the sessions of a round run, half of it for the engine to optimise their code. Default 1. */
  readonly secondsPerRound?: number;
  /** Time that tuning may take. What is not measured by then stays as it is without tuning. Default 300. */
  readonly maxSeconds?: number;
  readonly onProgress?: (progress: TuneProgress) => void;
}

const { tuning: _tuning, onWarning: _onWarning, ...shared } = compileChecks;

const tuneChecks: Checks<TuneOptions> = {
  ...shared,
  load: aFunction,
  dims: recordOf(atLeast(0)),
  feeds: recordOf(anObject),
  threads: atLeast(1, 256),
  engine: aString,
  secondsPerRound: seconds,
  maxSeconds: seconds,
  onProgress: aFunction,
};

/** Choices whose steps take less of a run than this are not worth rounds. */
const leastShare = 0.005;

/** What the engine calls itself. */
function engineWords(): string {
  const { navigator } = globalThis as { readonly navigator?: { readonly userAgent?: string } };
  return navigator?.userAgent ?? (typeof process === "undefined" ? "an engine" : `Node.js ${process.version}`);
}

/** Equal for candidates that differ in the tiles of fused multiply-adds alone. */
const withoutFused = ({ kernel, tile }: Candidate): string => `${kernel} ${tile?.mr} ${tile?.nr}`;

/** Of candidates, those that differ in the variant. */
function differing(candidates: readonly Candidate[], variant: VariantId): readonly Candidate[] {
  if (variant.startsWith("relaxed")) return candidates;
  const texts = candidates.map(withoutFused);
  return candidates.filter((_, i) => texts.indexOf(texts[i]!) === i);
}

/** Choices that the program leaves, with the kernel and tile of each round. */
interface Bench {
  readonly choices: readonly Choice[];
  open(round: Round): Promise<Opened & { readonly session: TunableSession }>;
}

/** Compiles the program without tuning, to see which choices lowering meets, and which variant runs. */
async function benchOf(program: Optimized, options: TuneOptions): Promise<Bench> {
  const { load, threads = 1, deterministic = false } = options;
  const met = new Map<string, readonly Candidate[]>();
  const recorder: Tuner = {
    choose(kind, candidates) {
      met.set(kind, candidates);
      return 0;
    },
  };
  const session = await load(await program.build({ tuner: recorder }), { threads, deterministic });
  const { variant } = session.report;
  session.dispose();
  const choices = [...met].map(([kind, all]): Choice => ({ kind, candidates: differing(all, variant) }));
  const places = new Map(choices.map((c, i) => [c.kind, i]));
  return {
    choices,
    async open(round) {
      const tuner: Tuner = {
        choose(kind, candidates) {
          const place = places.get(kind);
          const index = place === undefined ? undefined : round.get(place);
          return index === undefined ? 0 : candidateIndex(candidates, choices[place!]!.candidates[index]!);
        },
      };
      const artifact = await program.build({ tuner, variants: [variant] });
      const schedules = artifact.assembled.plans.map((p) => p.schedule);
      return { session: await load(artifact, { threads, deterministic }), steps: stepChoices(schedules, choices) };
    },
  };
}

/** Feeds of the entries that leave choices. */
function feedsFor(session: TunableSession, steps: StepChoices, { feeds, dims = {} }: TuneOptions): EntryFeeds {
  const entries = Object.keys(steps).filter((entry) => steps[entry]!.some((list) => list.length > 0));
  return Object.fromEntries(
    entries.map((entry) => {
      const { inputs, dims: open } = session.entries[entry]!;
      const sizes = Object.fromEntries(open.map(({ name, min }) => [name, dims[name] ?? Math.max(1, min)]));
      return [entry, { feeds: feeds?.[entry] ?? randomFeeds(inputs, sizes, 1), dims: sizes }];
    }),
  );
}

/**
 * Compiles and times the model with other kernels and tiles in each round, and says what was clearly faster, by more than 3 %, whenever it was
 * measured. What is as fast as without tuning is not among the choices, so noise changes no artefact.
 *
 * @example
 * const tuning = await tune(model, { load });
 * const artifact = await compile(model, { tuning });
 *
 * @throws ModelError as `compile`, and where the inputs do not fit
 */
export async function tune(input: Graph | Program, options: TuneOptions): Promise<Tuning> {
  checkOptions("tune", options, tuneChecks, ["load"]);
  checkCompileChoices(options);
  const began = performance.now();
  const until = began + 1000 * (options.maxSeconds ?? 300);
  const own = { ...(pick(options, compileChecks) as CompileOptions), maxSeconds: Number.POSITIVE_INFINITY };
  const program = optimized(input, own, new DebugLog({ level: 0, dump: undefined }));
  const { choices, open } = await benchOf(program, options);
  const untuned = await open(new Map());
  try {
    const feeds = feedsFor(untuned.session, untuned.steps, options);
    const half = 500 * (options.secondsPerRound ?? 1);
    const how: MeasureOptions = { feeds, open, warmUpMs: half, measureMs: half };
    const found = await search(choices, untuned, how, until, options.onProgress);
    const { variant, threads } = untuned.session.report;
    return {
      format: tuningFormat,
      version: tuningVersion,
      measured: {
        engine: options.engine ?? engineWords(),
        variant,
        threads,
        dims: Object.assign({}, ...Object.values(feeds).map((f) => f.dims)),
      },
      choices: found.map(({ choice, candidate, ms, untunedMs }) => {
        const { kind, candidates } = choices[choice]!;
        return { kind, ...candidateOf(candidates[candidate]!), ms: rounded(ms), untunedMs: rounded(untunedMs) };
      }),
    };
  } finally {
    untuned.session.dispose();
  }
}

const rounded = (ms: number): number => Number(ms.toPrecision(4));

async function search(
  choices: readonly Choice[],
  untuned: Opened,
  how: MeasureOptions,
  until: number,
  onProgress: TuneOptions["onProgress"],
): Promise<readonly Found[]> {
  const took = await untunedTimes(untuned, how);
  const total = [...took.values()].reduce((a, b) => a + b, 0);
  const open = new Set([...took].flatMap(([choice, ms]) => (ms > leastShare * total ? [choice] : [])));
  const rounds = planRounds(choices, untuned.steps, open);
  const found: Found[] = [];
  for (const [i, round] of rounds.entries()) {
    if (performance.now() > until) break;
    found.push(...(await measureRound(untuned, round, how)));
    onProgress?.({ round: i + 1, rounds: rounds.length, faster: bestOf(found).length });
  }
  return confirmed(untuned, bestOf(found), how);
}
