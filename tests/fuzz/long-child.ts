/**
 * Run by long.ts as a bundle: random DAGs for some minutes. Each failure is shrunk and printed, and the run goes on; the exit code tells
 * whether there were any.
 */
import { parseArgs } from "node:util";
import { defaults } from "../../runtime/index.js";
import { checkDags, growDag, showDag, teams } from "./dag.js";
import { tryFor } from "./timed.js";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "20" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    steps: { type: "string", default: "3-60" },
  },
});
defaults.workerUrl = new URL("worker.mjs", import.meta.url);
const seed = Number(values.seed);
const [fewest, most] = values.steps.split("-").map(Number) as [number, number];
console.log(
  `seed ${seed}; ${teams
    .flat()
    .map((e) => `${e.variant} on ${e.threads}`)
    .join(", ")}`,
);
const tried = await tryFor({
  seed,
  seconds: 60 * Number(values.minutes),
  steps: [fewest, most],
  grow: growDag,
  batch: 8,
  check: checkDags,
  show: showDag,
  onWrong: (report) => console.log(`\n${report}\n`),
  onMinute: (so) => console.error(`${so.cases} DAGs, ${so.refused} refused, ${so.wrong} wrong`),
});
console.log(`${tried.cases} DAGs from seed ${seed}: ${tried.refused} refused, ${tried.wrong} wrong`);
process.exit(tried.wrong > 0 ? 1 : 0);
