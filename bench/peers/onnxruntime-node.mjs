/** onnxruntime's native build, for orientation. */
import { measure } from "./measure.mjs";
import { openWith } from "./onnxruntime.mjs";

await measure(async (path, threads) => {
  const { default: ort } = await import("onnxruntime-node");
  return openWith(ort, path, { intraOpNumThreads: threads, interOpNumThreads: 1, logSeverityLevel: 3 });
});
