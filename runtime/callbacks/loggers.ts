/** Loggers of epochs (and batches) to files, or to a function. */
import { aBoolean, aFunction, aString, type Checks, checkOptions, oneOf } from "../data/options.js";
import { modelError } from "../errors.js";
import type { BeginEvent, Callbacks, EpochEvent } from "../events.js";
import { diskError } from "../files.js";
import { importModule, isNode } from "../platform.js";
import { measuresOf } from "./monitor.js";

export interface LoggerOptions {
  /** The file (Node). */
  readonly path?: string | undefined;
  /** Takes the place of a file: called with each text, whole lines. */
  readonly write?: ((text: string) => unknown) | undefined;
  /** Goes on at the file's end. Default: where the run goes on from a checkpoint. */
  readonly append?: boolean | undefined;
}

const checks: Checks<LoggerOptions> = { path: aString, write: aFunction, append: aBoolean };

type Sink = (text: string) => unknown;

/** @returns where the text goes, and whether something is there already */
async function open(
  of: string,
  { path, write, append }: LoggerOptions,
  { resumed }: BeginEvent,
): Promise<{ readonly sink: Sink; readonly isNew: boolean }> {
  if (write) return { sink: write, isNew: !(append ?? resumed) };
  if (path === undefined) throw modelError(of, "there is no path to write to", "give path, or write");
  if (!isNode) throw modelError(`${of}, option path`, "a browser has no files", "give write");
  const fs = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
  const on = <T>(job: Promise<T>): Promise<T> =>
    job.catch((cause) => {
      throw diskError(path, "written", cause, modelError);
    });
  const keep = append ?? resumed;
  if (!keep) await on(fs.writeFile(path, ""));
  const size = keep ? ((await fs.stat(path).catch(() => null))?.size ?? 0) : 0;
  return { sink: (text) => on(fs.appendFile(path, text)), isNew: size === 0 };
}

/** A line of comma-separated values for each epoch: epoch, all measures, learning rate, seconds. A header is first. */
export function csvLogger(options: LoggerOptions): Callbacks {
  checkOptions("csvLogger", options, checks);
  let sink: Sink;
  let columns: readonly string[];
  const cell = (v: string | number | null | undefined): string => {
    const text = v === null || v === undefined ? "" : String(v);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const line = (cells: readonly (string | number | null | undefined)[]): string => `${cells.map(cell).join(",")}\n`;
  return {
    async onBegin(event) {
      columns = event.measures;
      const opened = await open("csvLogger", options, event);
      ({ sink } = opened);
      if (opened.isNew) await sink(line(["epoch", ...columns, "learningRate", "seconds"]));
    },
    async onEpoch(event) {
      const measures = measuresOf(event);
      await sink(line([event.epoch, ...columns.map((c) => measures[c]), event.learningRate, event.seconds]));
    },
  };
}

/** A line of JSON for each epoch (the event as it is), or with `every: "batch"` for each batch too. */
export function jsonLinesLogger(
  options: LoggerOptions & { readonly every?: "epoch" | "batch" | undefined },
): Callbacks {
  checkOptions("jsonLinesLogger", options, { ...checks, every: oneOf("epoch", "batch") });
  let sink: Sink;
  const write = async (event: object): Promise<void> => {
    await sink(`${JSON.stringify(event)}\n`);
  };
  return {
    async onBegin(event) {
      ({ sink } = await open("jsonLinesLogger", options, event));
    },
    onEpoch: (event: EpochEvent) => write(event),
    ...(options.every === "batch" ? { onBatch: write } : {}),
  };
}
