/** A time budget for work that runs without giving the event loop a turn. */

import { ModelError } from "./errors.js";
import { type Deadline, inScope, scope } from "./scope.js";

/** A point in time, on the clock and in processor time of the process, in ms. Hosts that do not tell the latter have the clock's. */
export interface Moment {
  readonly clock: number;
  readonly processor: number;
}

const { process } = globalThis as { readonly process?: { readonly cpuUsage?: () => { user: number; system: number } } };

function processorMs(): number {
  const used = process?.cpuUsage?.();
  return used ? (used.user + used.system) / 1000 : performance.now();
}

export const now = (): Moment => ({ clock: performance.now(), processor: processorMs() });

/**
 * Milliseconds of work since then: no more than the processor time, so that a process that is stopped, or waits for its turn, spends
 * nothing; and no more than the clock's, since other threads of the process take processor time too.
 */
const spentSince = (start: Moment, least: number): number => {
  const byClock = performance.now() - start.clock;
  return byClock <= least ? byClock : Math.min(byClock, processorMs() - start.processor);
};

/**
 * Runs `body`, which ends in a ModelError once it has worked for `seconds` since `start` (by default now).
 * Inside another budget the earlier end counts.
 */
export function withinSeconds<T>(seconds: number, what: string, body: () => T, start = now()): T {
  const outer = scope().deadline;
  const left = (d: Pick<Deadline, "start" | "seconds">) => 1000 * d.seconds - spentSince(d.start, 0);
  if (outer !== undefined && left(outer) <= left({ start, seconds })) return body();
  return inScope({ deadline: { start, what, seconds } }, body);
}

/** Throws when the time is over. Called wherever much may be made: for each node and each kernel. */
export function checkTime(where?: string): void {
  const { deadline } = scope();
  if (deadline === undefined || spentSince(deadline.start, 1000 * deadline.seconds) <= 1000 * deadline.seconds) return;
  throw new ModelError({
    where,
    message: `${deadline.what} took longer than ${deadline.seconds} s`,
    hint: "raise maxSeconds if the model is really this large",
  });
}
