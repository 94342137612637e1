/** A progress bar in Node's terminal, by the optional package cli-progress. Not part of bundles; never in browsers. */
import { modelError } from "./errors.js";
import { importModule, isNode } from "./platform.js";

export interface Progress {
  update(done: number, text: string): void;
  stop(): void;
}

interface Bar {
  start(total: number, value: number, payload: object): void;
  update(value: number, payload: object): void;
  stop(): void;
}

/**
 * @param wanted undefined: a bar where standard error is a terminal and cli-progress is installed.
 * @throws ModelError when a bar was asked for and can't be had.
 */
export async function startProgress(wanted: boolean | undefined, total: number | null): Promise<Progress | null> {
  if (wanted === false || !isNode || (wanted === undefined && !process.stderr.isTTY)) return null;
  let SingleBar: new (options: object) => Bar;
  try {
    ({ SingleBar } = (await importModule<{ default: { SingleBar: typeof SingleBar } }>("cli-progress")).default);
  } catch (cause) {
    if (wanted === undefined) return null;
    throw modelError(
      "option progress",
      "the package cli-progress is not installed",
      "npm install cli-progress, or use callbacks",
      cause,
    );
  }
  const format = total === null ? "{value} batches | {text}" : "{bar} {percentage}% | {eta_formatted} left | {text}";
  const bar = new SingleBar({
    format,
    barsize: 24,
    stream: process.stderr,
    noTTYOutput: wanted === true,
  });
  bar.start(total ?? 0, 0, { text: "" });
  return { update: (done, text) => bar.update(done, { text }), stop: () => bar.stop() };
}
