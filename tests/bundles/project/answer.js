/** What a page does with a model: threads, a training step, what the runtime loads on demand, and an error in words. */
export async function answerOf(load) {
  const session = await load({ threads: 2 });
  const x = Float32Array.from({ length: 2 * 48 }, (_, i) => Math.sin(i));
  const { output } = await session.run({ x });
  await session.warmUp({ maxSeconds: 0.1 });
  const t = new Float32Array(2 * 48);
  const history = await session.fit({ x, t }, { epochs: 2, batchSize: 2, progress: false });
  const error = await session.run({ X: x }).catch((e) => e.message);
  const { report } = session;
  session.dispose();
  return { output: Array.from(output.data), losses: history.map((h) => h.loss), error, report };
}

/** Says it in the page, or to who started the worker. */
export async function tell(run) {
  const text = JSON.stringify(await run().catch((e) => ({ failure: String(e.stack) })));
  if (globalThis.document) document.documentElement.dataset.answer = text;
  else postMessage(text);
}
