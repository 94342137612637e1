/** Checkpoints of the last and the best epoch. */
import { aBoolean, aCount, aString, checkOptions } from "../data/options.js";
import { modelError } from "../errors.js";
import type { Callbacks, FitSession } from "../events.js";
import { writeWhole } from "../files.js";
import { importModule } from "../platform.js";
import { Monitor, type MonitorOptions, monitorChecks } from "./monitor.js";

export interface CheckpointOptions extends MonitorOptions {
  /** Where files begin: `runs/digits` gives `runs/digits.last.safetensors` and so on. The folder must be there. */
  readonly path: string;
  /** Writes PATH.last.safetensors after each epoch. Default true. */
  readonly last?: boolean | undefined;
  /** Writes PATH.best.safetensors after each epoch that is the best so far, and PATH.best.json, which says how good. Default true. */
  readonly best?: boolean | undefined;
  /** Also writes PATH.batch.safetensors after so many batches: what a killed run goes on from. Default: not. */
  readonly everyBatches?: number | undefined;
  /** Also keeps PATH.epoch-N.safetensors of each so many epochs. Default: none. */
  readonly every?: number | undefined;
}

interface Record {
  readonly epoch: number;
  readonly monitor: string;
  readonly value: number;
}

/**
 * Writes checkpoints, each as a whole: whenever the process is killed, there is the file before or the new one. Each has where the run stands,
 * so that `restore` and `fit` go on bit for bit.
 */
export function checkpoints(options: CheckpointOptions): Callbacks {
  checkOptions("checkpoints", options, {
    ...monitorChecks,
    path: aString,
    last: aBoolean,
    best: aBoolean,
    every: aCount,
    everyBatches: aCount,
  });
  const { path, last = true, best = true, every, everyBatches } = options;
  if (path === undefined) throw modelError("checkpoints, option path", "it is missing", "say where the files go");
  let monitor: Monitor | null = null;
  let session: FitSession;
  let batches = 0;
  const save = (kind: string): Promise<unknown> => session.save(`${path}.${kind}.safetensors`);
  return {
    name: "checkpoints",
    state: () => ({ values: { batches, best: monitor?.best ?? null } }),
    async onBegin(event) {
      ({ session } = event);
      const seen = event.state?.values as { readonly batches: number; readonly best: number | null } | undefined;
      batches = seen?.batches ?? 0;
      monitor = best ? new Monitor("checkpoints", options, event) : null;
      if (!monitor || !event.resumed) return;
      monitor.best = seen?.best ?? null;
      const known = await readRecord(`${path}.best.json`);
      if (known?.monitor === monitor.name) monitor.best = known.value;
    },
    async onBatch() {
      if (everyBatches !== undefined && ++batches % everyBatches === 0) await save("batch");
    },
    async onEpoch(event) {
      const { epoch } = event;
      if (last) await save("last");
      if (every !== undefined && (epoch + 1) % every === 0) await save(`epoch-${epoch}`);
      if (!monitor) return;
      const value = monitor.value(event);
      if (!monitor.improves(value)) return;
      await save("best");
      const record: Record = { epoch, monitor: monitor.name, value };
      await writeWhole(`${path}.best.json`, new TextEncoder().encode(`${JSON.stringify(record)}\n`), modelError);
    },
  };
}

async function readRecord(path: string): Promise<Record | null> {
  const { readFile } = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
  try {
    return JSON.parse(await readFile(path, "utf8")) as Record;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw modelError(path, "can't be read as what was the best epoch", "remove it, or use another path", cause);
  }
}
