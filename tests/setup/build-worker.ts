/** Bundles the runtime's worker once per test run: tests import the runtime's sources, workers need a file of JavaScript. */

import { fileURLToPath } from "node:url";
import { build } from "esbuild";

export const workerFile = new URL("../../node_modules/.cache/wasmith/worker.mjs", import.meta.url);

export default async function setup(): Promise<void> {
  await build({
    entryPoints: [fileURLToPath(new URL("../../runtime/worker.ts", import.meta.url))],
    outfile: fileURLToPath(workerFile),
    bundle: true,
    format: "esm",
    platform: "neutral",
    external: ["node:*"],
    logLevel: "warning",
  });
}
