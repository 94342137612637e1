/**
 * Imports and compiles one ONNX file with the built package, as a user would, and prints what it took as JSON. Argument: the
 * file.
 */
import { readFileSync } from "node:fs";
import { compile, importOnnx } from "../dist/wasmith.js";

const [, , path] = process.argv;
const before = process.cpuUsage();
const start = performance.now();
const graph = importOnnx(readFileSync(path));
const imported = performance.now();
const artifact = await compile(graph);
const end = performance.now();
const cpu = process.cpuUsage(before);
console.log(
  JSON.stringify({
    // Of all threads of the process: at least the wall time on an idle machine, and not inflated by busy neighbours.
    cpuMs: (cpu.user + cpu.system) / 1000,
    importMs: imported - start,
    compileMs: end - imported,
    stages: artifact.stages,
    // maxRSS is in KiB.
    peakBytes: process.resourceUsage().maxRSS * 1024,
    wasmBytes: artifact.wasm.simd128.byteLength,
  }),
);
