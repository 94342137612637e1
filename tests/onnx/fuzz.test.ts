/** Damaged models, imported, compiled and run: each ends in a result or a ModelError, within its time and memory. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { beforeAll, describe, expect, it } from "vitest";
import { workerFile } from "../setup/build-worker.js";
import { DATA, hasConformance } from "./data.js";

/** For one file, on a machine that other tests keep busy. */
const MOST_SECONDS = 30;
const HEAP_MEGABYTES = 1024;
const COUNT = 3000;

interface Line {
  readonly i: number;
  readonly name: string;
  readonly stage?: "import" | "compile" | "run" | "result";
  readonly refused?: boolean;
  readonly crash?: string;
}

const script = fileURLToPath(new URL(`fuzz-${process.pid}.mjs`, workerFile));

/** Runs the child; rejects where it hangs, dies or crashes. */
async function follow(seed: number, count: number): Promise<readonly Line[]> {
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
  if (hung) throw new Error(`seed ${seed}: file ${last?.i} (${last?.name}) took longer than ${MOST_SECONDS} s`);
  if (code !== 0) throw new Error(`seed ${seed}: file ${last?.i} (${last?.name}) ended the process: ${stderr}`);
  return done;
}

describe.skipIf(!hasConformance)("damaged models", () => {
  beforeAll(async () => {
    await build({
      entryPoints: [fileURLToPath(new URL("fuzz-child.ts", import.meta.url))],
      outfile: script,
      bundle: true,
      format: "esm",
      platform: "node",
      packages: "external",
      logLevel: "warning",
    });
  });

  it("end in a result or a ModelError, whatever is damaged", { timeout: 400_000 }, async () => {
    const lines = await follow(11, COUNT);
    expect(lines.filter((l) => l.crash !== undefined)).toEqual([]);
    expect(lines).toHaveLength(COUNT);
    const count = (stage: string) => lines.filter((l) => l.stage === stage).length;
    // Not all fall at the door.
    expect(count("result")).toBeGreaterThan(COUNT / 5);
    expect(count("run")).toBeGreaterThan(20);
    expect(count("import")).toBeGreaterThan(COUNT / 5);
  });
});
