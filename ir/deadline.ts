/** A time budget for work that runs without giving the event loop a turn. */

import { ModelError } from "./errors.js";

interface Deadline {
  readonly end: number;
  readonly what: string;
  readonly seconds: number;
}

let active: Deadline | undefined;

/**
 * Runs `body`, which ends in a ModelError once `seconds` have passed since `start` (of performance.now(), by default now).
 * Inside another budget the earlier end counts.
 */
export function withinSeconds<T>(seconds: number, what: string, body: () => T, start = performance.now()): T {
  const outer = active;
  const end = start + 1000 * seconds;
  if (outer === undefined || end < outer.end) active = { end, what, seconds };
  try {
    return body();
  } finally {
    active = outer;
  }
}

/** Throws when the time is over. Called wherever much may be made: for each node and each kernel. */
export function checkTime(where?: string): void {
  if (active === undefined || performance.now() <= active.end) return;
  throw new ModelError({
    where,
    message: `${active.what} took longer than ${active.seconds} s`,
    hint: "raise maxSeconds if the model is really this large",
  });
}
