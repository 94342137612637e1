/** wasmith's runtime on a compiled training step, one thread. */
import { load } from "../../dist/runtime.js";
import { batchOf, measureSteps } from "./train.mjs";

const [path, fields, budget, what] = process.argv.slice(2);
const session = await load(path);
const batch = batchOf(JSON.parse(fields));
const step = async () => (await session.step(batch)).loss;
const engine = `wasmith ${session.report.producer}, ${session.report.variant}`;
if (what !== "profile") await measureSteps(step, engine, Number(budget));
else {
  const profile = await session.profile(batch, { entry: "step", repeat: 100 });
  await measureSteps(step, engine, Number(budget), { profile: profile.sort((a, b) => b.ms - a.ms) });
}
process.exit(0);
