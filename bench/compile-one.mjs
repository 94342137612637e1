/**
 * Imports and compiles one ONNX file with the built package, as a user would, and prints what it took as JSON. Arguments: the
 * file; variants, comma-separated, or "all"; a folder for the artefact, if it is wanted; tokens that the session's caches have room for, if it
 * is to keep them.
 */
import { readFileSync } from "node:fs";
import { compile, importOnnx, withCache } from "../dist/wasmith.js";
import { peakMemory } from "./peak-memory.mjs";

const [path, variants = "all", out, cache] = process.argv.slice(2);
const before = process.cpuUsage();
const start = performance.now();
const graph = importOnnx(readFileSync(path), { transfer: true });
const imported = performance.now();
const artifact = await compile(cache === undefined ? graph : withCache(graph, { length: Number(cache) }), {
  name: "model",
  ...(variants === "all" ? {} : { variants: variants.split(",") }),
});
const end = performance.now();
const cpu = process.cpuUsage(before);
if (out) await artifact.write(out);
console.log(
  JSON.stringify({
    // Of all threads of the process: at least the wall time on an idle machine, and not inflated by busy neighbours.
    cpuMs: (cpu.user + cpu.system) / 1000,
    importMs: imported - start,
    compileMs: end - imported,
    stages: artifact.stages,
    peakBytes: peakMemory(),
    wasmBytes: Object.values(artifact.wasm)[0].byteLength,
  }),
);
process.exit(0);
