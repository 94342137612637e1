/** Runs that are repeated to be timed: each as if it were the first. */

import type { Session } from "../../runtime/index.js";

/**
 * Takes back what a run of a decoder counts: tokens in its caches, whose room would end, and sizes that its inputs are checked against.
 * Training steps go on learning.
 * @returns a function that sets the counts back to what they are now
 */
export function countsOf(session: Session): () => void {
  if (!session.state.some((s) => s.role === "cache")) return () => {};
  const counters = session.state
    .filter((s) => s.role === "counter")
    .map(({ name }) => [name, session.getState(name)] as const);
  return () => {
    for (const [name, value] of counters) session.setState(name, value);
  };
}
