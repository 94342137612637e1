/** Trains, and tells the page of each batch. */
import { load } from "../../dist/runtime.js";

addEventListener("message", async ({ data: { model, data, epochs } }) => {
  try {
    const [session, dataset] = await Promise.all([
      load(model, { deterministic: true }),
      fetch(data).then((r) => r.json()),
    ]);
    const history = await session.fit(typed(dataset, session.entries.step.inputs), {
      epochs,
      batchSize: 16,
      callbacks: { onBatch: (event) => postMessage({ event }) },
    });
    postMessage({ history: [...history] });
  } catch (error) {
    postMessage({ error: String(error) });
  }
});

/** Plain arrays as the arrays of the inputs' dtypes. */
function typed(dataset, inputs) {
  const types = { f32: Float32Array, i32: Int32Array, i64: BigInt64Array };
  return Object.fromEntries(
    inputs.map(({ name, dtype }) => [name, types[dtype].from(dataset[name], dtype === "i64" ? BigInt : undefined)]),
  );
}
