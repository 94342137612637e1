/**
 * Run by relaxed.test.ts in an engine with relaxed SIMD: the op suite on the relaxed variants, a line of JSON for each op, and one for
 * the bits of many runs over NaNs.
 * Argument: URL of the worker's script.
 */

import { defaults } from "../../runtime/index.js";
import { allOps } from "./draw.js";
import { disagreements, relaxedExecutors } from "./executors.js";
import { bitsSeen, layers } from "./nan-runs.js";

defaults.workerUrl = process.argv[2]!;
for (const executor of relaxedExecutors) {
  for (const [name, op] of allOps) {
    const problems = await disagreements(executor, op).catch((error: unknown) => [String(error)]);
    console.log(JSON.stringify({ executor: executor.name, op: name, problems }));
  }
}
const seen = await bitsSeen(
  layers(),
  [
    ["relaxed", 1],
    ["relaxed-threads", 1],
    ["relaxed-threads", 2],
  ],
  200,
);
const problems = seen.size === 1 ? [] : [`${seen.size} different results of the same feeds`];
console.log(JSON.stringify({ executor: "all", op: "layers over NaNs", problems }));
