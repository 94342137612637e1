/** Runs fuzz-child.ts and sees to it that no file hangs or ends the process. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { workerFile } from "../setup/build-worker.js";
import { DATA } from "./data.js";

/** For one file, on a machine that other tests keep busy. */
const MOST_SECONDS = 30;
const HEAP_MEGABYTES = 1024;

export interface Line {
  readonly seed: number;
  readonly name: string;
  readonly stage?: "import" | "compile" | "run" | "result";
  readonly crash?: string;
}

/** Inside the project, where the bundle finds its packages, beside the runtime's worker. */
export const childFile = (): string => fileURLToPath(new URL(`fuzz-${process.pid}.mjs`, workerFile));

/** Bundles the child, which then starts at once. */
export async function buildChild(script: string): Promise<void> {
  await build({
    entryPoints: [fileURLToPath(new URL("fuzz-child.ts", import.meta.url))],
    outfile: script,
    bundle: true,
    format: "esm",
    platform: "node",
    packages: "external",
    logLevel: "warning",
  });
}

/** Runs the child; rejects where it hangs, dies or crashes. */
export async function follow(script: string, seed: number, count: number): Promise<readonly Line[]> {
  const child = spawn(
    process.execPath,
    [`--max-old-space-size=${HEAP_MEGABYTES}`, script, String(seed), String(count)],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, WASMITH_DATA: DATA },
    },
  );
  let last: Line | undefined;
  let hung = false;
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr = `${stderr}${chunk}`.slice(-2000);
  });
  const stop = () => {
    hung = true;
    child.kill("SIGKILL");
  };
  let watchdog = setTimeout(stop, 1000 * MOST_SECONDS);
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const done: Line[] = [];
  for await (const text of createInterface({ input: child.stdout })) {
    clearTimeout(watchdog);
    watchdog = setTimeout(stop, 1000 * MOST_SECONDS);
    last = JSON.parse(text) as Line;
    if (last.stage) done.push(last);
  }
  clearTimeout(watchdog);
  const code = await ended;
  if (hung) throw new Error(`the file of seed ${last?.seed} (${last?.name}) took longer than ${MOST_SECONDS} s`);
  if (code !== 0) throw new Error(`the file of seed ${last?.seed} (${last?.name}) ended the process: ${stderr}`);
  return done;
}
