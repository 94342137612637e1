/** Run by pytorch-gradients.test.ts in an engine with relaxed SIMD. Argument: URL of the worker's script. Prints a JSON list. */

import { defaults } from "../../../runtime/index.js";
import { relaxedExecutors } from "../../ops/executors.js";
import { batches, differencesOf } from "./entries.js";

defaults.workerUrl = process.argv[2]!;
const found: string[] = [];
for (const { name, run } of relaxedExecutors) {
  for (const batch of batches()) found.push(...(await differencesOf(batch, run)).map((text) => `${name} ${text}`));
}
console.log(JSON.stringify(found));
