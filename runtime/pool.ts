/** The worker threads of one session. They hold the module and wait; a job is a few words in shared memory, no message. */

import { modelError } from "./errors.js";
import { control, type Manifest } from "./format.js";
import { isNode, nodeModule } from "./platform.js";
import type { WorkerReady, WorkerStart } from "./thread.js";

/** Settings that hold for all sessions loaded later. */
export const defaults: {
  /** Where `worker.js` lies, if not beside the runtime (some bundlers move files). */
  workerUrl?: URL | string;
} = {};

interface Thread {
  start(message: WorkerStart, done: (ready: WorkerReady) => void): void;
  terminate(): void;
}

/** How long all workers may take to start, in ms. */
const patience = 30_000;

export class Pool {
  readonly #threads: readonly Thread[];

  private constructor(threads: readonly Thread[]) {
    this.#threads = threads;
  }

  /** Starts `threads − 1` workers. @throws ModelError when one does not come up. */
  static async start(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    manifest: Manifest,
    threads: number,
    workerUrl: URL | string | undefined,
  ): Promise<Pool> {
    const url = workerUrl ?? defaults.workerUrl;
    const workers = await Promise.all(
      Array.from({ length: threads - 1 }, () => (isNode ? nodeThread(url) : webThread(url))),
    );
    const pool = new Pool(workers);
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const entries = Object.keys(manifest.entries);
      const ready = workers.map(
        (worker, i) =>
          new Promise<void>((resolve, reject) => {
            worker.start({ module, memory, tid: i + 1, threads, entries }, (answer) =>
              answer.ready ? resolve() : reject(failure(answer.error)),
            );
          }),
      );
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(failure(`no answer within ${patience / 1000} s`)), patience);
      });
      await Promise.race([Promise.all(ready), late]);
    } catch (error) {
      pool.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    return pool;
  }

  /** Announces a job to all workers; each reads the words that were stored before. */
  static announce(words: Int32Array, entry: number, begin: number, end: number): void {
    words[control.entry >> 2] = entry;
    words[control.begin >> 2] = begin;
    words[control.end >> 2] = end;
    Atomics.store(words, control.done >> 2, 0);
    Atomics.add(words, control.job >> 2, 1);
    Atomics.notify(words, control.job >> 2);
  }

  /** Returns when `workers` workers have finished the job. Spins where this thread must not block. */
  static join(words: Int32Array, workers: number, mayBlock: boolean): void {
    for (;;) {
      const done = Atomics.load(words, control.done >> 2);
      if (done >= workers) return;
      if (mayBlock) Atomics.wait(words, control.done >> 2, done);
    }
  }

  terminate(): void {
    for (const thread of this.#threads) thread.terminate();
  }
}

const failure = (error: string): Error =>
  modelError(
    "threads",
    `a worker did not start: ${error}`,
    "say where worker.js lies with the option workerUrl, or load with { threads: 1 }",
  );

async function nodeThread(url: URL | string | undefined): Promise<Thread> {
  const { Worker } = await nodeModule<typeof import("node:worker_threads")>("worker_threads");
  const worker = new Worker(url ? new URL(url, import.meta.url) : new URL("./worker.js", import.meta.url));
  return {
    start(message, done) {
      worker.on("error", (error) => done({ ready: false, error: String(error) }));
      worker.on("exit", (code) => done({ ready: false, error: `it exited with code ${code}` }));
      worker.once("message", (ready: WorkerReady) => {
        // Only now, so that the process stays alive until load has its answer.
        worker.unref();
        done(ready);
      });
      worker.postMessage(message);
    },
    terminate: () => void worker.terminate(),
  };
}

async function webThread(url: URL | string | undefined): Promise<Thread> {
  // Bundlers look for exactly this expression.
  const worker = url
    ? new Worker(url, { type: "module" })
    : new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  return {
    start(message, done) {
      worker.onerror = (event) => {
        event.preventDefault();
        done({ ready: false, error: event.message || "its script could not be loaded" });
      };
      worker.onmessage = (event: MessageEvent<WorkerReady>) => done(event.data);
      worker.postMessage(message);
    },
    terminate: () => worker.terminate(),
  };
}
