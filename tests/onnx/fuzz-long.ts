/**
 * The long form of fuzz.test.ts: `npx tsx tests/onnx/fuzz-long.ts --count 30000 --seed 1000000`. Goes on behind files that
 * hang or end the process, and prints each fault with its seed and file.
 */
import { rmSync } from "node:fs";
import { parseArgs } from "node:util";
import buildWorker from "../setup/build-worker.js";
import { buildChild, childFile, follow } from "./fuzz-watch.js";

const { values } = parseArgs({ options: { count: { type: "string" }, seed: { type: "string" } } });
const count = Number(values.count ?? 30000);
const first = Number(values.seed ?? Math.floor(Date.now() / 1000));
await buildWorker();
const script = childFile();
await buildChild(script);
const stages = new Map<string, number>();
let faults = 0;
const fault = (text: string) => {
  faults++;
  console.log(text);
};
for (let seed = first; seed < first + count; ) {
  const step = Math.min(200, first + count - seed);
  try {
    for (const line of await follow(script, seed, step)) {
      stages.set(line.stage!, (stages.get(line.stage!) ?? 0) + 1);
      if (line.crash) fault(`the file of seed ${line.seed} (${line.name}): ${line.crash}`);
    }
    seed += step;
    if ((seed - first) % 2000 === 0) console.error(`${seed - first} files, ${faults} faults`);
  } catch (error) {
    fault((error as Error).message);
    seed = Number(/seed (\d+)/.exec((error as Error).message)![1]) + 1;
  }
}
rmSync(script);
const table = [...stages].map(([stage, n]) => `${n} ended at ${stage}`).join(", ");
console.log(`${count} files from seed ${first}: ${table}; ${faults} faults`);
process.exitCode = faults > 0 ? 1 : 0;
