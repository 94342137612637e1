/** Runs in a process with relaxed SIMD and prints what the trajectories gave. Argument: URL of the worker's script. */

import { defaults } from "../../runtime/index.js";
import { cases, type Followed, follow } from "./trajectory.js";

defaults.workerUrl = process.argv[2]!;
const results: Record<string, Followed[]> = {};
for (const name of Object.keys(cases)) {
  results[name] = [
    await follow(name, "relaxed", 1),
    await follow(name, "relaxed-threads", 1),
    await follow(name, "relaxed-threads", 2),
  ];
}
console.log(JSON.stringify(results));
