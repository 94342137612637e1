/**
 * A thread of a session: instantiates the module over the shared memory and runs the jobs that the main thread announces in
 * the control block (`format.ts`). Built as a file of its own; works as a worker of Node and as a module worker of browsers.
 */

import {
  controlBytes,
  wordArrived,
  wordBegin,
  wordDone,
  wordEnd,
  wordEntry,
  wordGeneration,
  wordJob,
  wordMessage,
  wordPoison,
  wordPoll,
  wordSleepers,
} from "./format.js";
import { importModule, isNode } from "./platform.js";

/** Sent by the main thread once, at the start. */
export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly tid: number;
  readonly threads: number;
  /** Names of entries; jobs name one by its index. */
  readonly entries: readonly string[];
}
/** The worker's only answer: null when it waits for jobs, else why it could not start. */
export type WorkerReady = string | null;

/** `run_E` of format.ts. */
export type RunFunction = (tid: number, threads: number, begin: number, end: number) => number;

/** Loads of a word before a thread goes to sleep: waking it takes tens of microseconds, about as long as this. */
const patience = 10_000;

/** Byte address of the message's text. */
const textAt = (wordMessage + 1) * 4;

/** Tells the other threads that this one trapped; the first to do so leaves its message. Also used by the main thread. */
export function poison(words: Int32Array, error: unknown): void {
  if (Atomics.compareExchange(words, wordPoison, 0, 1) === 0) {
    const text = new TextEncoder().encode(String(error)).subarray(0, 4 * wordPoll - textAt);
    new Uint8Array(words.buffer).set(text, textAt);
    Atomics.store(words, wordMessage, text.length);
  }
  Atomics.add(words, wordGeneration, 1);
  Atomics.notify(words, wordGeneration);
}

/** Main thread, when all have left: what the first thread that trapped said, or null. The barrier starts afresh. */
export function takePoison(words: Int32Array): string | null {
  if (words[wordPoison] === 0) return null;
  words[wordArrived] = 0;
  words[wordPoison] = 0;
  words[wordSleepers] = 0;
  // A copy, since decoders refuse shared memory.
  return new TextDecoder().decode(new Uint8Array(words.buffer).slice(textAt, textAt + words[wordMessage]!));
}

/** Main thread: announces a job to all workers; each reads the words that were stored before. */
export function announce(words: Int32Array, entry: number, begin: number, end: number): void {
  words[wordEntry] = entry;
  words[wordBegin] = begin;
  words[wordEnd] = end;
  Atomics.store(words, wordDone, 0);
  Atomics.add(words, wordJob, 1);
  Atomics.notify(words, wordJob);
}

/** Main thread: returns when `workers` workers have finished the job. Spins where it must not block. */
export function join(words: Int32Array, workers: number, mayBlock: boolean): void {
  for (let spins = 0; ; ) {
    const done = Atomics.load(words, wordDone);
    if (done >= workers) return;
    if (mayBlock && ++spins > patience) Atomics.wait(words, wordDone, done);
  }
}

/**
 * As `join`, without keeping the event loop: for sessions whose threads are all workers. `going` is asked now and then;
 * when it says no, nobody will finish the job.
 */
export async function joinLater(words: Int32Array, workers: number, going: () => boolean): Promise<void> {
  let waited = -1;
  let change: unknown;
  for (;;) {
    const done = Atomics.load(words, wordDone);
    if (done >= workers || !going()) return;
    // Each change is waited for once: engines keep who waits until then.
    if (done !== waited) change = (Atomics as { waitAsync?: WaitAsync }).waitAsync?.(words, wordDone, done).value;
    waited = done;
    // The timer keeps Node's process alive, and is all there is in engines without waitAsync.
    const timer = new Promise((resolve) => setTimeout(resolve, 5));
    await Promise.race([timer, change ?? timer]);
  }
}
type WaitAsync = (words: Int32Array, index: number, value: number) => { readonly value: unknown };

async function start(
  { module, memory, tid, threads, entries }: WorkerStart,
  answer: (ready: WorkerReady) => void,
): Promise<void> {
  const words = new Int32Array(memory.buffer, 0, controlBytes / 4);
  let runs: RunFunction[];
  try {
    const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
    (exports.can_block as WebAssembly.Global).value = 1;
    runs = entries.map((name) => exports[`run_${name}`] as RunFunction);
  } catch (error) {
    answer(String(error));
    return;
  }
  let job = Atomics.load(words, wordJob);
  answer(null);
  for (;;) {
    for (let spins = 0; spins < patience && Atomics.load(words, wordJob) === job; ) spins++;
    Atomics.wait(words, wordJob, job);
    const next = Atomics.load(words, wordJob);
    if (next === job) continue;
    job = next;
    try {
      runs[words[wordEntry]!]!(tid, threads, words[wordBegin]!, words[wordEnd]!);
    } catch (error) {
      poison(words, error);
    }
    Atomics.add(words, wordDone, 1);
    Atomics.notify(words, wordDone);
  }
}

/** Waits for the main thread's message. `worker.ts` calls it. */
export async function listen(): Promise<void> {
  if (isNode) {
    const { parentPort } = await importModule<typeof import("node:worker_threads")>("node:worker_threads");
    parentPort!.on("message", (message) => start(message, (ready) => parentPort!.postMessage(ready)));
  } else {
    self.onmessage = (event: MessageEvent<WorkerStart>) => start(event.data, postMessage);
  }
}
