/** The worker that compiles models, in Node and in pages: gets jobs, sends stages and what came of each. */

import { ModelError } from "../ir/errors.js";
import { importModule, isNode } from "../runtime/platform.js";
import type { WorkerReply } from "./compile.js";
import { type CompileJob, compileJob } from "./ort-compiler.js";

interface Port {
  postMessage(reply: WorkerReply, transfer: ArrayBuffer[]): void;
  listen(listener: (job: CompileJob) => void): void;
}

async function port(): Promise<Port> {
  if (!isNode)
    return {
      postMessage: (reply, transfer) => postMessage(reply, { transfer }),
      listen: (listener) => addEventListener("message", ({ data }) => listener(data as CompileJob)),
    };
  const { parentPort } = await importModule<typeof import("node:worker_threads")>("node:worker_threads");
  return {
    postMessage: (reply, transfer) => parentPort!.postMessage(reply, transfer),
    listen: (listener) => parentPort!.on("message", listener),
  };
}

const { postMessage: reply, listen } = await port();
listen((job) => {
  compileJob(job, (stage, milliseconds) => reply({ kind: "stage", stage, milliseconds }, [])).then(
    (compiled) =>
      reply({ kind: "compiled", compiled }, compiled.artifact ? [compiled.artifact.bytes.buffer as ArrayBuffer] : []),
    (error: Error) =>
      reply(
        {
          kind: "failed",
          name: error.name,
          message: error.message,
          ...(error instanceof ModelError ? { problems: error.problems } : {}),
          ...(error.stack === undefined ? {} : { stack: error.stack }),
        },
        [],
      ),
  );
});
reply({ kind: "ready" }, []);
