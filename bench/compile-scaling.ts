/**
 * How the time to compile grows with a model: generated models of n nodes, from 100 to 10,000, and the slope of the time over n in
 * logarithms (1 is linear). `npx tsx bench/compile-scaling.ts [--most 10000] [--stages] [family …]`. Stages are those of the largest.
 */
import { parseArgs } from "node:util";
import { families } from "../tests/scaling/families.js";
import { measure, slopeOf } from "../tests/scaling/measure.js";

const { values, positionals } = parseArgs({
  options: { most: { type: "string", default: "10000" }, stages: { type: "boolean", default: false } },
  allowPositionals: true,
});
const most = Number(values.most);
const sizes = [100, 316, 1000, 3162, 10_000].filter((n) => n <= most);
const wanted = Object.entries(families).filter(([name]) => positionals.length === 0 || positionals.includes(name));

console.log(`${"".padEnd(28)}${sizes.map((n) => String(n).padStart(9)).join("")}   slope`);
for (const [name, make] of wanted) {
  await measure(make(sizes[0]!));
  const costs = [];
  for (const n of sizes) costs.push({ n, ...(await measure(make(n))) });
  const times = costs.map((c) => c.milliseconds.toFixed(0).padStart(9)).join("");
  console.log(`${name.padEnd(28)}${times}   ${slopeOf(costs.slice(1)).toFixed(2)}`);
  if (!values.stages) continue;
  const [before, last] = costs.slice(-2) as [(typeof costs)[0], (typeof costs)[0]];
  for (const [stage, ms] of [...last.stages].sort(([, a], [, b]) => b - a)) {
    const earlier = before.stages.get(stage) ?? 0;
    if (ms >= 0.02 * last.milliseconds)
      console.log(`  ${stage.padEnd(40)}${ms.toFixed(0).padStart(8)} ms   × ${(ms / Math.max(1, earlier)).toFixed(1)}`);
  }
}
