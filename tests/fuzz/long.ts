/**
 * The random DAGs for long sittings, on all variants: `npx tsx tests/fuzz/long.ts [--minutes 20] [--seed N] [--steps 3-60]`. Runs
 * long-child.ts as a bundle, which takes half the time of the sources under tsx.
 */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import buildWorker, { workerFile } from "../setup/build-worker.js";

await buildWorker();
// Inside the project, where the bundle finds its packages, beside the runtime's worker.
const script = fileURLToPath(new URL(`long-${process.pid}.mjs`, workerFile));
await build({
  entryPoints: [fileURLToPath(new URL("long-child.ts", import.meta.url))],
  outfile: script,
  bundle: true,
  format: "esm",
  platform: "node",
  packages: "external",
  logLevel: "warning",
});
// Newer engines have relaxed SIMD without being told.
const flags = Number(process.versions.node.split(".")[0]) < 22 ? ["--experimental-wasm-relaxed-simd"] : [];
const { status } = spawnSync(process.execPath, [...flags, script, ...process.argv.slice(2)], { stdio: "inherit" });
rmSync(script);
process.exitCode = status ?? 1;
