/** A time budget for work that runs without giving the event loop a turn. */

import { ModelError } from "./errors.js";
import { inScope, scope } from "./scope.js";

/**
 * Runs `body`, which ends in a ModelError once `seconds` have passed since `start` (of performance.now(), by default now).
 * Inside another budget the earlier end counts.
 */
export function withinSeconds<T>(seconds: number, what: string, body: () => T, start = performance.now()): T {
  const outer = scope().deadline;
  const end = start + 1000 * seconds;
  return outer !== undefined && outer.end <= end ? body() : inScope({ deadline: { end, what, seconds } }, body);
}

/** Throws when the time is over. Called wherever much may be made: for each node and each kernel. */
export function checkTime(where?: string): void {
  const { deadline } = scope();
  if (deadline === undefined || performance.now() <= deadline.end) return;
  throw new ModelError({
    where,
    message: `${deadline.what} took longer than ${deadline.seconds} s`,
    hint: "raise maxSeconds if the model is really this large",
  });
}
