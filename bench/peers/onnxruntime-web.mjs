/** onnxruntime-web's wasm build. */
import { readFileSync } from "node:fs";
import { measure } from "./measure.mjs";
import { openWith } from "./onnxruntime.mjs";

await measure(async (path, threads) => {
  const ort = await import("onnxruntime-web");
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return openWith(ort, readFileSync(path), { executionProviders: ["wasm"], logSeverityLevel: 3 });
});
