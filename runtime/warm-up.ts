/** Runs that make an engine optimise code. A module of its own, which is loaded by those who ask for it. */
import type { modelError } from "./errors.js";
import type { Feeds } from "./feeds.js";
import type { EntryInfo } from "./format.js";
import { checked } from "./input.js";
import type { Machine } from "./machine.js";
import { yieldToLoop } from "./platform.js";
import type { WarmUpOptions } from "./session.js";
import { byteSize } from "./tensor.js";
import type { checkOptions } from "./validate.js";

/** What modules that are loaded on demand take from the session's, so that errors are of its classes. */
interface Tools {
  readonly modelError: typeof modelError;
  readonly checkOptions: typeof checkOptions;
  readonly entryOf: (machine: Machine, name: string) => EntryInfo;
  /** Checks, binds and copies feeds. */
  readonly begin: (name: string, feeds: Feeds, dims: WarmUpOptions["dims"]) => unknown;
}

/** Engines optimise beside the runs: code is as fast as it gets when so many runs, and so many ms of runs, were no faster. */
const steadyRuns = 3;
const steadyMs = 100;
/** Clocks of pages tell no less than 0.1 ms: runs that are short are timed many together. */
const roundMs = 5;
/** A run that takes less than this share of the least time was faster. */
const faster = 0.95;

/**
 * Runs what comes before state changes, until it gets no faster.
 * @returns milliseconds of the fastest run with its feeds, 0 where nothing comes before
 */
export async function warmUp(machine: Machine, main: string, options: WarmUpOptions, tools: Tools): Promise<number> {
  tools.checkOptions("warmUp", options, {
    entry: "string",
    feeds: "object",
    dims: "object",
    maxSeconds: "seconds",
    signal: "signal",
  });
  const { entry: name = main, feeds, dims, maxSeconds = 1, signal } = options;
  const entry = tools.entryOf(machine, name);
  const wrong = (message: string, hint?: string) => tools.modelError("option dims", message, hint);
  const begin = () => (feeds ? tools.begin(name, feeds, dims) : feedZeros(machine, name, entry, dims ?? {}, wrong));
  if (entry.mutatesFrom === 0) return 0;
  let least = Infinity;
  let runs = 0;
  let ms = 0;
  for (const until = performance.now() + maxSeconds * 1000; ; ) {
    signal?.throwIfAborted();
    let count = 0;
    let round: number;
    const start = performance.now();
    do {
      begin();
      machine.clearLimits(entry);
      await machine.run(name, 0, entry.mutatesFrom);
      count++;
      round = performance.now() - start;
    } while (round < roundMs);
    const took = round / count;
    if (took < faster * least) runs = ms = 0;
    else {
      runs += count;
      ms += round;
    }
    least = Math.min(least, took);
    if ((runs >= steadyRuns && ms >= steadyMs) || performance.now() >= until) return least;
    await yieldToLoop();
  }
}

function feedZeros(
  machine: Machine,
  name: string,
  entry: EntryInfo,
  given: Readonly<Record<string, number>>,
  wrong: (message: string, hint?: string) => Error,
): void {
  const names = entry.dims.map((d) => d.name);
  for (const dim of Object.keys(given))
    if (!names.includes(dim))
      throw wrong(`the model has no dim "${dim}"`, `its dims are: ${names.join(", ") || "none"}`);
  const sizes = entry.dims.map((d) => checked(d, given[d.name] ?? Math.max(1, d.min), wrong));
  machine.plan(name, entry, sizes);
  for (const input of entry.inputs) {
    const bytes = byteSize(input.dtype, machine.shape(input.shape));
    const at = machine.address(input, bytes);
    machine.bytes.fill(0, at, at + bytes);
  }
}
