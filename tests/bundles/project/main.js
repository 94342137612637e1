/** What a page does with a model: threads, a training step, what the runtime loads on demand, and an error in words. */
import { load } from "./model/net.js";

async function answer() {
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

// In a page, or in a worker.
const tell = (text) => {
  if (globalThis.document) document.documentElement.dataset.answer = text;
  else postMessage(text);
};
answer().then(
  (a) => tell(JSON.stringify(a)),
  (e) => tell(JSON.stringify({ failure: String(e.stack) })),
);
