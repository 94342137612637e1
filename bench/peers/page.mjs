/** What a page does with a job (see measure.mjs): engines by name, opened from URLs. */
import { openLiteRt } from "./litert.mjs";
import { openWith } from "./onnxruntime.mjs";
import { runOf } from "./session.mjs";
import { parseCases } from "./tensors.mjs";
import { measureSpeed, measureStart } from "./timing.mjs";

const bytesAt = async (url) => {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
};

const engines = {
  wasmith: async (url, threads) => {
    const { load } = await import("/dist/runtime.js");
    return runOf(await load(url, { threads }));
  },
  "ort-web": async (url, threads) => {
    const ort = await import("/modules/onnxruntime-web/dist/ort.wasm.min.mjs");
    ort.env.wasm.wasmPaths = "/modules/onnxruntime-web/dist/";
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "error";
    return openWith(ort, url, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  },
  litert: async (url, threads) => {
    const { loadLiteRt, loadAndCompile, Tensor } = await import("/modules/@litertjs/core/dist/index.js");
    await loadLiteRt("/modules/@litertjs/core/wasm/", { threads: threads > 1 });
    return openLiteRt(Tensor, await loadAndCompile(url, { accelerator: "wasm", cpuOptions: { numThreads: threads } }));
  },
};

/** @returns what measureStart or measureSpeed gives */
export async function measureInPage({ engine, model, io, threads, ...job }) {
  const cases = parseCases(await bytesAt(io));
  const opened = () => engines[engine](model, threads);
  return job.what === "start" ? measureStart(opened, cases) : measureSpeed(await opened(), cases, job);
}
