/**
 * What the process of every JavaScript engine does: open a model, warm up, time steps. Prints one line of JSON.
 *
 * Arguments: what is opened, the fields of a batch as JSON, milliseconds to time for.
 */

/** A batch of repeatable numbers: floats in [−1, 1), or whole ones below a bound. */
export function batchOf(fields) {
  let state = 12345;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Object.fromEntries(
    Object.entries(fields).map(([name, { dtype, shape, below }]) => {
      const length = shape.reduce((a, b) => a * b, 1);
      const data = dtype === "i32" ? new Int32Array(length) : new Float32Array(length);
      for (let i = 0; i < length; i++) data[i] = dtype === "i32" ? Math.floor(next() * below) : 2 * next() - 1;
      return [name, { dtype, shape, data }];
    }),
  );
}

/** Processor milliseconds of the whole process. */
const now = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** Milliseconds of warm-up that other JavaScript engines get: they have more code than a compiled model. */
export const peerWarmUp = 5000;

/** @param step runs one training step to its end and gives the loss */
export async function measureSteps(step, engine, budget, { warmUp = 1500, ...more } = {}) {
  // Long enough for the optimising compiler to reach every function.
  for (const until = performance.now() + Math.max(warmUp, budget); performance.now() < until; ) {
    const loss = await step();
    if (!Number.isFinite(loss)) throw new Error(`the loss is ${loss}`);
  }
  const begin = now();
  await step();
  // The clock counts microseconds, and asking it takes some: short steps are timed by the dozen.
  const repeat = Math.max(1, Math.ceil(2 / Math.max(now() - begin, 0.01)));
  const times = [];
  for (const until = performance.now() + budget; times.length < 5 || performance.now() < until; ) {
    const start = now();
    for (let i = 0; i < repeat; i++) await step();
    times.push((now() - start) / repeat);
  }
  times.sort((a, b) => a - b);
  const steps = times.length * repeat;
  console.log(JSON.stringify({ least: times[0], median: times[times.length >> 1], steps, engine, ...more }));
}
