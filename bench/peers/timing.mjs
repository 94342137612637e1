/** How an engine is measured, in Node and in pages. */

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

/** What an engine makes of feeds before they are timed, where it wants another layout. */
const prepared = (run, feeds) => run.prepare?.(feeds) ?? feeds;

const elements = (tensors) => Object.values(tensors).reduce((n, t) => n + t.data.length, 0);

/**
 * Checks the answers to all cases, warms up, and times runs of the largest case.
 * @param run feeds by name → outputs by name; with `prepare` where feeds must be changed first, and `kept` where the engine
 *   keeps outputs: those wanted by name → those of the last run
 */
export async function measureSpeed(run, cases, { warmUpMs, ms }) {
  let error = 0;
  for (const c of cases) {
    const answer = await run(prepared(run, c.in));
    error = Math.max(error, relativeError({ ...answer, ...run.kept?.(c.out) }, c.out));
  }
  const feeds = prepared(run, cases.reduce((a, b) => (elements(b.in) > elements(a.in) ? b : a)).in);
  const time = async (budget, least) => {
    const times = [];
    for (const until = performance.now() + budget; times.length < least || performance.now() < until; ) {
      const begin = performance.now();
      await run(feeds);
      times.push(performance.now() - begin);
    }
    return times.sort((a, b) => a - b);
  };
  await time(warmUpMs, 3);
  const times = await time(ms, 5);
  return { min: times[0], median: times[times.length >> 1], runs: times.length, error };
}

/** Milliseconds from before the engine's own code is loaded to the model being open, and to the first answer. */
export async function measureStart(open, cases) {
  const start = performance.now();
  const run = await open();
  const loaded = performance.now() - start;
  await run(prepared(run, cases[0].in));
  return { loaded, answered: performance.now() - start };
}
