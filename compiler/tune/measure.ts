/** Times of rounds, on whatever engine this runs: sessions come from outside. */

import type { Round, StepChoices } from "./rounds.js";

/** What measuring needs of a session; `load` of wasmith/runtime gives such. */
export interface TimedSession {
  /** Times of the steps of an entry, in their order: the least of `repeat` runs. */
  profile(
    feeds: never,
    options: { readonly entry: string; readonly repeat: number; readonly dims: Readonly<Record<string, number>> },
  ): Promise<readonly { readonly ms: number }[]>;
  dispose(): void;
}

/** Inputs by entry, and sizes of its dims. */
export type EntryFeeds = Readonly<
  Record<string, { readonly feeds: object; readonly dims: Readonly<Record<string, number>> }>
>;

/** A session of an artefact, and which choices its steps belong to. */
export interface Opened {
  readonly session: TimedSession;
  readonly steps: StepChoices;
}

export interface Found {
  /** Index of a choice, and of its candidate. */
  readonly choice: number;
  readonly candidate: number;
  /** Milliseconds of the steps of the choice in the run, with the candidate and with the first. */
  readonly ms: number;
  readonly untunedMs: number;
}

export interface MeasureOptions {
  readonly feeds: EntryFeeds;
  /** Opens what is compiled without tuning, or with the candidates of a round. */
  readonly open: (round: Round) => Promise<Opened>;
  /** Milliseconds for the engine to optimise the code of a session, and to measure it. */
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** A choice is changed only where that takes at least so much less: noise decides nothing. */
export const clearGain = 0.03;

/** Least times of the steps of each entry. */
type Times = Map<string, number[]>;

async function profileOnce({ session }: Opened, feeds: EntryFeeds, times: Times, repeat: number) {
  for (const [entry, { feeds: given, dims }] of Object.entries(feeds)) {
    const rows = await session.profile(given as never, { entry, repeat, dims });
    const known = times.get(entry);
    times.set(
      entry,
      rows.map(({ ms }, i) => Math.min(ms, known?.[i] ?? Number.POSITIVE_INFINITY)),
    );
  }
}

/** Milliseconds of each choice's steps, and of all steps. */
interface Spent {
  readonly choices: ReadonlyMap<number, number>;
  readonly whole: number;
}

function spentIn({ steps }: Opened, times: Times): Spent {
  const choices = new Map<number, number>();
  let whole = 0;
  for (const [entry, rows] of times)
    rows.forEach((ms, i) => {
      whole += ms;
      for (const choice of steps[entry]![i] ?? []) choices.set(choice, (choices.get(choice) ?? 0) + ms);
    });
  return { choices, whole };
}

/** Times of a session that is warm and of one that is not, run in turn: what slows the machine down slows down both. */
async function compare(
  a: Opened,
  b: Opened,
  { feeds, warmUpMs, measureMs }: MeasureOptions,
): Promise<readonly [Spent, Spent]> {
  const once = async (o: Opened, times: Times, repeat: number): Promise<number> => {
    const start = performance.now();
    await profileOnce(o, feeds, times, repeat);
    return performance.now() - start;
  };
  let took = 0;
  for (let spent = 0, i = 0; spent < warmUpMs || i < 3; i++) spent += took = await once(b, new Map(), 1);
  const repeat = Math.max(1, Math.floor(measureMs / 8 / Math.max(took, 0.05)));
  const [timesA, timesB]: readonly [Times, Times] = [new Map(), new Map()];
  for (let spent = 0, i = 0; spent < 2 * measureMs || i < 3; i++)
    spent += (await once(a, timesA, repeat)) + (await once(b, timesB, repeat));
  return [spentIn(a, timesA), spentIn(b, timesB)];
}

/** Milliseconds that each choice takes without tuning. */
export async function untunedTimes(untuned: Opened, options: MeasureOptions): Promise<ReadonlyMap<number, number>> {
  const times: Times = new Map();
  for (let spent = 0, i = 0; spent < options.warmUpMs || i < 3; i++) {
    const start = performance.now();
    await profileOnce(untuned, options.feeds, times, 1);
    spent += performance.now() - start;
  }
  return spentIn(untuned, times).choices;
}

/** What of a round is clearly faster than without tuning. */
export async function measureRound(untuned: Opened, round: Round, options: MeasureOptions): Promise<readonly Found[]> {
  const opened = await options.open(round);
  try {
    const [before, after] = await compare(untuned, opened, options);
    return [...round].flatMap(([choice, candidate]) => {
      const [untunedMs, ms] = [before.choices.get(choice) ?? 0, after.choices.get(choice) ?? 0];
      return ms > 0 && ms < (1 - clearGain) * untunedMs ? [{ choice, candidate, ms, untunedMs }] : [];
    });
  } finally {
    opened.session.dispose();
  }
}

/** The best of what rounds found for each choice. */
export function bestOf(found: readonly Found[]): readonly Found[] {
  const best = new Map<number, Found>();
  for (const f of found) {
    const known = best.get(f.choice);
    if (known === undefined || f.ms / f.untunedMs < known.ms / known.untunedMs) best.set(f.choice, f);
  }
  return [...best.values()].sort((a, b) => a.choice - b.choice);
}

/** How often a choice has to be clearly faster before it is believed: what else the machine does makes one measurement in some wrong. */
const confirmations = 3;

/**
 * Those of the candidates that are clearly faster in each of several measurements with fresh sessions, all of them at once; none, if then
 * the runs as a whole are no faster.
 */
export async function confirmed(
  untuned: Opened,
  found: readonly Found[],
  options: MeasureOptions,
): Promise<readonly Found[]> {
  let left = found;
  for (let i = 0; i < confirmations && left.length > 0; i++)
    left = await measureRound(untuned, new Map(left.map((f) => [f.choice, f.candidate])), options);
  if (left.length === 0) return [];
  const all = await options.open(new Map(left.map((f) => [f.choice, f.candidate])));
  try {
    const [before, after] = await compare(untuned, all, options);
    return after.whole < before.whole ? left : [];
  } finally {
    all.session.dispose();
  }
}
