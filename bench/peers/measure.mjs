/**
 * What every engine's process does: open a model, answer once, check all answers, warm up, time. The clock starts before the
 * engine's own code is loaded, so that the first answer counts what a user waits for. Prints one line of JSON.
 *
 * Arguments: the model's or artefact's path, the file with recorded inputs and outputs, milliseconds to time for.
 */
import { readFileSync } from "node:fs";
import { parseCases } from "./tensors.mjs";

const half = (bits) => {
  const e = (bits >> 10) & 31;
  const f = bits & 1023;
  const m = e === 0 ? f * 2 ** -24 : e === 31 ? (f ? Number.NaN : Infinity) : (1 + f / 1024) * 2 ** (e - 15);
  return bits & 0x8000 ? -m : m;
};
const numbers = ({ dtype, data }) => Array.from(data, dtype === "f16" ? half : Number);

/** Largest over the outputs of ‖got − want‖₂ / ‖want‖₂. */
function relativeError(got, want) {
  let worst = 0;
  for (const [name, tensor] of Object.entries(want)) {
    const w = numbers(tensor);
    const g = numbers(got[name]);
    if (g.length !== w.length) return Infinity;
    let difference = 0;
    let norm = 0;
    w.forEach((x, i) => {
      if (x === g[i] || (Number.isNaN(x) && Number.isNaN(g[i]))) return;
      difference += (g[i] - x) ** 2;
      norm += x * x;
    });
    if (difference > 0) worst = Math.max(worst, Math.sqrt(difference / (norm || 1e-12)));
  }
  return worst;
}

const elements = (tensors) => Object.values(tensors).reduce((n, t) => n + t.data.length, 0);

/**
 * @param open path → a function that takes tensors `{ dtype, shape, data }` by name and gives outputs likewise. It imports
 *   the engine.
 */
export async function measure(open) {
  const [path, io, budget] = process.argv.slice(2);
  // The recorded data is read before the clock starts; it is no part of any engine.
  const cases = parseCases(readFileSync(io));
  const start = performance.now();
  const run = await open(path);
  const loaded = performance.now() - start;
  const first = await run(cases[0].in);
  const answered = performance.now() - start;
  let error = relativeError(first, cases[0].out);
  for (const c of cases.slice(1)) error = Math.max(error, relativeError(await run(c.in), c.out));

  // The largest case is timed.
  const { in: feeds } = cases.reduce((a, b) => (elements(b.in) > elements(a.in) ? b : a));
  const time = async (ms, least) => {
    const times = [];
    for (const until = performance.now() + ms; times.length < least || performance.now() < until; ) {
      const begin = performance.now();
      await run(feeds);
      times.push(performance.now() - begin);
    }
    return times.sort((a, b) => a - b);
  };
  // Long enough for the engine's optimising compiler to reach every function of a 12 MB interpreter.
  await time(Math.max(1500, Number(budget)), 3);
  const times = await time(Number(budget), 5);
  console.log(
    JSON.stringify({
      loaded,
      answered,
      min: times[0],
      median: times[times.length >> 1],
      runs: times.length,
      error,
      rss: process.resourceUsage().maxRSS * 1024,
    }),
  );
  process.exit(0);
}
