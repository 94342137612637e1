/**
 * A thread of a session: instantiates the module over the shared memory and runs the jobs that the main thread announces in
 * the control block (`format.ts`). Built as a file of its own; works as a worker of Node and as a module worker of browsers.
 */

import { control } from "./format.js";
import { nodeModule } from "./platform.js";

/** Sent by the main thread once, at the start. */
export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly tid: number;
  readonly threads: number;
  /** Names of entries; jobs name one by its index. */
  readonly entries: readonly string[];
}
/** The worker's only answer: it waits for jobs, or could not start. */
export type WorkerReady = { readonly ready: true } | { readonly ready: false; readonly error: string };

/** `run_E` of format.ts. */
export type RunFunction = (tid: number, threads: number, begin: number, end: number) => void;

/** Tells the other threads that this one trapped; the first to do so leaves its message. Also used by the main thread. */
export function poison(words: Int32Array, error: unknown): void {
  if (Atomics.compareExchange(words, control.poison >> 2, 0, 1) === 0) {
    const text = new TextEncoder().encode(String(error)).subarray(0, control.bytes - control.message - 4);
    new Uint8Array(words.buffer).set(text, control.message + 4);
    Atomics.store(words, control.message >> 2, text.length);
  }
  Atomics.add(words, control.generation >> 2, 1);
  Atomics.notify(words, control.generation >> 2);
}

async function start(
  { module, memory, tid, threads, entries }: WorkerStart,
  answer: (ready: WorkerReady) => void,
): Promise<void> {
  const words = new Int32Array(memory.buffer, 0, control.bytes >> 2);
  let runs: RunFunction[];
  try {
    const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
    (exports.can_block as WebAssembly.Global).value = 1;
    runs = entries.map((name) => exports[`run_${name}`] as RunFunction);
  } catch (error) {
    answer({ ready: false, error: String(error) });
    return;
  }
  let job = Atomics.load(words, control.job >> 2);
  answer({ ready: true });
  for (;;) {
    Atomics.wait(words, control.job >> 2, job);
    const next = Atomics.load(words, control.job >> 2);
    if (next === job) continue;
    job = next;
    try {
      runs[words[control.entry >> 2]!]!(tid, threads, words[control.begin >> 2]!, words[control.end >> 2]!);
    } catch (error) {
      poison(words, error);
    }
    Atomics.add(words, control.done >> 2, 1);
    Atomics.notify(words, control.done >> 2);
  }
}

type Port = { on(event: "message", listener: (start: WorkerStart) => void): void; postMessage(message: unknown): void };

/** Waits for the main thread's message. `worker.ts` calls it. */
export async function listen(): Promise<void> {
  if (typeof process !== "undefined" && process.versions?.node) {
    const { parentPort } = await nodeModule<{ parentPort: Port | null }>("worker_threads");
    parentPort?.on("message", (message) => void start(message, (ready) => parentPort.postMessage(ready)));
  } else {
    self.onmessage = (event: MessageEvent<WorkerStart>) => void start(event.data, (ready) => self.postMessage(ready));
  }
}
