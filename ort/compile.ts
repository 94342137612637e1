/** Compiles in a worker that is started when it is needed, or here. */

import { ModelError, type Problem } from "../ir/errors.js";
import { importModule, isNode } from "../runtime/platform.js";
import type { Progress } from "./env.js";
import type { CompiledModel } from "./face.js";
import type { CompileJob } from "./ort-compiler.js";

export type WorkerReply =
  /** It listens: what is sent to a worker of a page before that is lost. */
  | { readonly kind: "ready" }
  | ({ readonly kind: "stage" } & Progress)
  | { readonly kind: "compiled"; readonly compiled: CompiledModel }
  | {
      readonly kind: "failed";
      readonly name: string;
      readonly message: string;
      readonly problems?: readonly Problem[];
      readonly stack?: string;
    };

export interface CompileWhere {
  readonly worker: boolean;
  readonly workerUrl: URL | string | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** How long a worker without work is kept, in ms: it has the compiler loaded. */
const patience = 5_000;

/** @throws ModelError where the model can't be compiled, or no worker started */
export async function compileModel(
  job: CompileJob,
  { worker, workerUrl, onProgress }: CompileWhere,
): Promise<CompiledModel> {
  if (worker) return new Promise((resolve, reject) => send({ job, onProgress, resolve, reject }, workerUrl));
  const { compileJob } = await import("./ort-compiler.js");
  // What is read is moved in place.
  return compileJob({ ...job, model: job.model.slice() }, (stage, milliseconds) =>
    onProgress?.({ stage, milliseconds }),
  );
}

/** A worker of either kind. */
interface Compiler {
  postMessage(job: CompileJob): void;
  terminate(): unknown;
  /** Whether the process waits for it. */
  hold(isBusy: boolean): void;
}

/** What becomes of a worker's messages. */
interface Listener {
  readonly received: (reply: WorkerReply) => void;
  readonly lost: (why: unknown) => void;
}

interface Task {
  readonly job: CompileJob;
  readonly onProgress: CompileWhere["onProgress"];
  readonly resolve: (compiled: CompiledModel) => void;
  readonly reject: (error: unknown) => void;
}

/** Tasks, the first of which is being worked on. */
const tasks: Task[] = [];
let compiler: Promise<Compiler> | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

function send(task: Task, workerUrl: CompileWhere["workerUrl"]): void {
  tasks.push(task);
  clearTimeout(timer);
  compiler ??= started(workerUrl);
  if (tasks.length === 1) next();
}

/** A worker that listens. */
function started(workerUrl: CompileWhere["workerUrl"]): Promise<Compiler> {
  return new Promise((resolve, reject) => {
    const starting = (isNode ? nodeWorker : webWorker)(workerUrl, {
      received: (reply) => (reply.kind === "ready" ? starting.then(resolve) : received(reply)),
      lost,
    });
    starting.catch(reject);
  });
}

function next(): void {
  const [task] = tasks;
  if (task) {
    compiler!.then((c) => {
      c.hold(true);
      c.postMessage(task.job);
    }, lost);
    return;
  }
  compiler?.then((c) => c.hold(false), lost);
  timer = setTimeout(() => {
    compiler?.then((c) => c.terminate(), lost);
    compiler = undefined;
  }, patience);
  (timer as { unref?: () => void }).unref?.();
}

function received(reply: Exclude<WorkerReply, { kind: "ready" }>): void {
  const [task] = tasks;
  if (reply.kind === "stage") {
    task?.onProgress?.({ stage: reply.stage, milliseconds: reply.milliseconds });
    return;
  }
  tasks.shift();
  if (reply.kind === "compiled") task?.resolve(reply.compiled);
  else task?.reject(errorOf(reply));
  next();
}

/** The worker is no more: what it had to do fails, and the next task starts another. */
function lost(why: unknown): void {
  compiler = undefined;
  const error = new ModelError(
    {
      where: "the worker that compiles",
      message: `it ended: ${(why as Error | undefined)?.message ?? why}`,
      hint: "give the address of ort-worker.js with env.wasmith.workerUrl, or compile without one: env.wasmith.worker = false",
    },
    { cause: why },
  );
  for (const { reject } of tasks.splice(0)) reject(error);
}

function errorOf({ name, message, problems, stack }: Extract<WorkerReply, { kind: "failed" }>): Error {
  if (problems) return new ModelError(problems);
  return Object.assign(new Error(message), { name, ...(stack === undefined ? {} : { stack }) });
}

async function nodeWorker(url: URL | string | undefined, { received, lost }: Listener): Promise<Compiler> {
  const { Worker } = await importModule<typeof import("node:worker_threads")>("node:worker_threads");
  // Options of the process (--input-type, loaders) are not meant for the worker.
  const worker = new Worker(new URL(url ?? "./ort-worker.js", import.meta.url), { execArgv: [] });
  worker.on("message", received);
  worker.on("error", lost);
  worker.on("exit", (code) => {
    if (code !== 0 || tasks.length > 0) lost(`it exited with code ${code}`);
  });
  return {
    postMessage: (job) => worker.postMessage(job),
    terminate: () => worker.removeAllListeners("exit").terminate(),
    hold: (isBusy) => (isBusy ? worker.ref() : worker.unref()),
  };
}

async function webWorker(url: URL | string | undefined, { received, lost }: Listener): Promise<Compiler> {
  // Bundlers look for exactly the second expression.
  const worker = url
    ? new Worker(url, { type: "module" })
    : new Worker(new URL("./ort-worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }) => received(data as WorkerReply));
  worker.addEventListener("error", (event) => lost(event.message ?? "its script could not be loaded"));
  return { postMessage: (job) => worker.postMessage(job), terminate: () => worker.terminate(), hold: () => {} };
}
