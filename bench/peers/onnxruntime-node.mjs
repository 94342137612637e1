/** Onnxruntime's native build, one thread, for orientation. */
import { measure } from "./measure.mjs";
import { openWith } from "./onnxruntime.mjs";

await measure(async (path) => {
  const { default: ort } = await import("onnxruntime-node");
  return openWith(ort, path, { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 });
});
