/**
 * What importing and compiling (all four variants) takes, each model in a fresh process: `npm run build && npx tsx
 * bench/compile-budget.ts [name …]`. Reads the models beside the project (WASMITH_DATA). Slowest first.
 */
import { measureCompile } from "../tests/onnx/compile-process.js";
import { pytorchExports, trainedModels } from "../tests/onnx/data.js";

const wanted = process.argv.slice(2);
const models = [...trainedModels(), ...pytorchExports()].filter((m) => wanted.length === 0 || wanted.includes(m.name));
const rows = [];
for (const { name, path } of models) {
  rows.push({ name, ...(await measureCompile(path)) });
  if (process.stderr.isTTY) process.stderr.write(`\r${rows.length} of ${models.length}`);
}
if (process.stderr.isTTY) process.stderr.write("\r");
rows.sort((a, b) => b.seconds - a.seconds);
const seconds = (ms: number | undefined) => ((ms ?? 0) / 1000).toFixed(2).padStart(7);
console.log(`${"".padEnd(30)}${"total".padStart(7)}    cpu import passes  lower   emit   MiB  wasm KiB`);
for (const r of rows) {
  const { passes, lower, emit } = r.stages;
  const times = [r.seconds * 1000, r.cpuMs, r.importMs, passes, lower, emit].map(seconds).join("");
  const sizes = [r.peakBytes / 2 ** 20, r.wasmBytes / 1024].map((n, i) => n.toFixed(0).padStart(i === 0 ? 6 : 10));
  console.log(`${r.name.padEnd(30)}${times}${sizes.join("")}`);
}
