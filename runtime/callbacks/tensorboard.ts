/**
 * Event files of TensorBoard. The format: records (TensorFlow's `record_writer.h`: length, masked CRC-32C of it, data, masked CRC-32C of
 * it) of protocol buffers (`event.proto`, `summary.proto`). No npm package that writes them was found.
 */
import { aCount, aString, checkOptions } from "../data/options.js";
import { modelError } from "../errors.js";
import type { Callbacks } from "../events.js";
import { diskError } from "../files.js";
import { importModule } from "../platform.js";
import { measuresOf } from "./monitor.js";

export interface TensorBoardOptions {
  /** Of the run; it is made. `tensorboard --logdir` takes the folder above it. */
  readonly folder: string;
  /** Also writes the measures of each so many batches. Default: epochs alone. */
  readonly everyBatches?: number | undefined;
}

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c;
});

/** CRC-32C (Castagnoli), rotated and shifted by a constant, as in the records. */
export function maskedCrc(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const b of bytes) c = table[(c ^ b) & 0xff]! ^ (c >>> 8);
  c = ~c >>> 0;
  return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
}

function record(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length + 16);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc(out.subarray(0, 8)), true);
  out.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc(data), true);
  return out;
}

const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))]);
const field = (number: number, wire: number, bytes: Iterable<number>): number[] => [(number << 3) | wire, ...bytes];
const nested = (number: number, bytes: readonly number[]): number[] =>
  field(number, 2, [...varint(bytes.length), ...bytes]);
const text = (number: number, value: string): number[] => nested(number, [...new TextEncoder().encode(value)]);
const double = (v: number): Uint8Array => new Uint8Array(Float64Array.of(v).buffer);
const float = (v: number): Uint8Array => new Uint8Array(Float32Array.of(v).buffer);

function event(seconds: number, rest: readonly number[]): Uint8Array {
  return record(Uint8Array.from([...field(1, 1, double(seconds)), ...rest]));
}

/** Event { wall_time, step, summary { value { tag, simple_value } … } } */
function scalars(seconds: number, step: number, values: Readonly<Record<string, number>>): Uint8Array {
  const summary = Object.entries(values).flatMap(([tag, v]) => nested(1, [...text(1, tag), ...field(2, 5, float(v))]));
  return event(seconds, [...field(2, 0, varint(step)), ...nested(5, summary)]);
}

/** Writes the measures of epochs (as `epoch/NAME`) and of batches (as `batch/NAME`) where TensorBoard finds them. */
export function tensorBoard(options: TensorBoardOptions): Callbacks {
  checkOptions("tensorBoard", options, { folder: aString, everyBatches: aCount });
  const { folder, everyBatches } = options;
  if (folder === undefined) throw modelError("tensorBoard, option folder", "it is missing", "say where the file goes");
  let append: (bytes: Uint8Array) => Promise<void>;
  let batches = 0;
  const under = (group: string, values: Readonly<Record<string, number>>): Record<string, number> =>
    Object.fromEntries(Object.entries(values).map(([name, v]) => [`${group}/${name.replace(".", "/")}`, v]));
  return {
    name: "tensorBoard",
    state: () => ({ values: batches }),
    async onBegin({ state }) {
      const fs = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
      const { join } = await importModule<typeof import("node:path")>("node:path");
      const { hostname } = await importModule<typeof import("node:os")>("node:os");
      batches = (state?.values ?? 0) as number;
      const now = Date.now();
      const path = join(
        folder,
        `events.out.tfevents.${Math.floor(now / 1000)}.${hostname()}.${process.pid}.${now % 1000}`,
      );
      const on = async (job: Promise<unknown>): Promise<void> => {
        await job.catch((cause) => {
          throw diskError(path, "written", cause, modelError);
        });
      };
      await on(fs.mkdir(folder, { recursive: true }));
      append = (bytes) => on(fs.appendFile(path, bytes));
      await append(event(now / 1000, text(3, "brain.Event:2")));
    },
    async onBatch({ loss, metrics }) {
      batches++;
      if (everyBatches === undefined || batches % everyBatches !== 0) return;
      await append(scalars(Date.now() / 1000, batches, under("batch", { loss, ...metrics })));
    },
    async onEpoch(e) {
      const rate = e.learningRate === null ? {} : { learningRate: e.learningRate };
      const values = { ...measuresOf(e), ...rate, seconds: e.seconds };
      await append(scalars(Date.now() / 1000, e.epoch, under("epoch", values)));
    },
  };
}
