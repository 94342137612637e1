/** Bundles the runtime's worker once per test run: tests import the runtime's sources, workers need a file of JavaScript. */

import { mkdir, rename, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

export const workerFile = new URL("../../node_modules/.cache/wasmith/worker.mjs", import.meta.url);

export default async function setup(): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("../../runtime/worker.ts", import.meta.url))],
    write: false,
    bundle: true,
    format: "esm",
    platform: "neutral",
    external: ["node:*"],
    logLevel: "warning",
  });
  const path = fileURLToPath(workerFile);
  const temporary = `${path}.${process.pid}`;
  await mkdir(new URL("./", workerFile), { recursive: true });
  await writeFile(temporary, outputFiles[0]!.contents);
  // Another test run may be starting workers from the old file right now.
  await rename(temporary, path);
}
