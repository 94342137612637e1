/** A session of wasmith's runtime as what timing.mjs measures. Runs in Node and in pages. */

/** Copies the first rows of `from` to `to`, or as many as `to` has, along the axis in which they differ. */
function copyRows(from, to) {
  const axis = Math.max(
    0,
    from.shape.findIndex((n, a) => n !== to.shape[a]),
  );
  const size = (shape, begin) => shape.slice(begin).reduce((n, d) => n * d, 1);
  const [step, room] = [size(from.shape, axis), size(to.shape, axis)];
  for (let i = 0; i * step < from.data.length; i++)
    to.data.set(from.data.subarray(i * step, i * step + Math.min(step, room)), i * room);
  return from.shape[axis];
}

/**
 * Feeds by name → outputs by name. Where the session keeps a decoder's caches (`withCache`), they are put there before the clock starts; each
 * run sets back the number of tokens, so that all do the same.
 */
export function runOf(session) {
  const names = session.inputs.map((i) => i.name);
  const caches = session.state.filter((s) => s.role === "cache");
  const run = (feeds) => session.run(Object.fromEntries(names.map((n) => [n, feeds[n]])));
  if (caches.length === 0) return run;
  const counter = session.state.find((s) => s.role === "counter").name;
  let past;
  const step = (feeds) => {
    session.setState(counter, BigInt64Array.of(past));
    return run(feeds);
  };
  step.prepare = (feeds) => {
    for (const { name } of caches) {
      const state = session.getState(name);
      past = BigInt(copyRows(feeds[name], state));
      session.setState(name, state);
    }
    return feeds;
  };
  // Outputs that the session kept, by the names that the caches have as inputs.
  step.kept = (want) =>
    Object.fromEntries(
      caches.map(({ name }) => {
        const output = name.replace(/^past(_key_values)?/, "present");
        const { dtype, shape, data } = want[output];
        const kept = { dtype, shape, data: data.slice().fill(0) };
        copyRows(session.getState(name), kept);
        return [output, kept];
      }),
    );
  return step;
}
