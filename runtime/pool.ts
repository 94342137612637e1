/**
 * The worker threads of one session. They hold the module and wait; a job is a few words in shared memory, no message. A module of its own,
 * which is loaded by sessions with threads.
 */

import type { Manifest } from "./format.js";
import { importModule, isNode } from "./platform.js";
import type { WorkerStart } from "./thread.js";

/** How long all workers may take to start, in ms. */
const patience = 30_000;

/** What both kinds of worker have in common. */
interface Thread {
  postMessage(message: WorkerStart): void;
  terminate(): unknown;
}
type Listen = (event: "message" | "error" | "exit", listener: (value: unknown) => void) => void;

export class Pool {
  readonly #threads: Thread[] = [];
  /** Why a worker that had started is no more; then no run comes to its end. */
  dead: unknown;

  /** Starts workers for the threads [first, end) of `threads`. When one does not come up, @throws why */
  async start(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    { entries }: Manifest,
    first: number,
    end: number,
    threads: number,
    workerUrl: URL | string | undefined,
  ): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        timer = setTimeout(reject, patience, `no answer within ${patience / 1000} s`);
        let missing = end - first;
        const launch = async (tid: number): Promise<void> => {
          const { worker, listen, unref } = await (isNode ? nodeWorker : webWorker)(workerUrl);
          this.#threads.push(worker);
          const lost = (why: unknown): void => {
            this.dead = why;
            reject(why);
          };
          listen("error", lost);
          listen("exit", (code) => lost(`it exited with code ${code}`));
          listen("message", (error) => {
            if (error !== null) reject(error);
            // Only now, so that the process stays alive until load has its answer.
            unref?.();
            if (--missing === 0) resolve();
          });
          worker.postMessage({ module, memory, tid, threads, entries: Object.keys(entries) });
        };
        for (let tid = first; tid < end; tid++) launch(tid).catch(reject);
      });
    } catch (error) {
      this.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  terminate(): void {
    for (const thread of this.#threads) thread.terminate();
  }
}

async function nodeWorker(
  url: URL | string | undefined,
): Promise<{ worker: Thread; listen: Listen; unref?: () => void }> {
  const { Worker } = await importModule<typeof import("node:worker_threads")>("node:worker_threads");
  // Options of the process (--input-type, loaders) are not meant for the worker.
  // Bundlers look for exactly the second expression, and shall not for the first.
  const file = url ? new URL(url, String(import.meta.url)) : new URL("./worker.js", import.meta.url);
  const worker = new Worker(file, { execArgv: [] });
  return { worker, listen: (event, listener) => worker.on(event, listener), unref: () => worker.unref() };
}

async function webWorker(
  url: URL | string | undefined,
): Promise<{ worker: Thread; listen: Listen; unref?: () => void }> {
  // Bundlers look for exactly the second expression.
  const worker = url
    ? new Worker(url, { type: "module" })
    : new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const listen: Listen = (event, listener) => {
    worker.addEventListener(event, (e) =>
      listener(e instanceof MessageEvent ? e.data : ((e as ErrorEvent).message ?? "its script could not be loaded")),
    );
  };
  return { worker, listen };
}
