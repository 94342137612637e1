/**
 * What every engine's process does: either load and answer once, or warm up and time. The only argument is the job as JSON: { model: path of
 * the file or artefact, io: recorded inputs and outputs, what: "start" | "speed", threads, warmUpMs, ms }. Prints one line of JSON.
 */
import { readFileSync } from "node:fs";
import { peakMemory } from "../peak-memory.mjs";
import { parseCases } from "./tensors.mjs";
import { measureSpeed, measureStart } from "./timing.mjs";

/**
 * @param open (path, threads) → a function that takes tensors `{ dtype, shape, data }` by name and gives outputs likewise. It imports the
 *   engine.
 */
export async function measure(open) {
  const job = JSON.parse(process.argv[2]);
  // The recorded data is read before the clock starts; it is no part of any engine.
  const cases = parseCases(readFileSync(job.io));
  const opened = () => open(job.model, job.threads);
  const result =
    job.what === "start"
      ? { ...(await measureStart(opened, cases)), rss: peakMemory() }
      : await measureSpeed(await opened(), cases, job);
  console.log(JSON.stringify(result));
  process.exit(0);
}
