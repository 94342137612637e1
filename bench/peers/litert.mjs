/** LiteRT.js on a model that bench/models/tflite.ts wrote. */

/** An image of [batch, channels, H, W] as the model reads it: channels last. */
function channelsLast({ data, shape: [batch, channels, height, width] }) {
  const pixels = height * width;
  const out = new Float32Array(data.length);
  for (let n = 0; n < batch; n++)
    for (let c = 0; c < channels; c++)
      for (let p = 0; p < pixels; p++) out[(n * pixels + p) * channels + c] = data[(n * channels + c) * pixels + p];
  return out;
}

/**
 * @param Tensor the package's class
 * @param model the compiled model
 * @returns feeds by name → outputs by name; its `prepare` gives feeds the layout and the element type of the model, which nobody times
 */
export function openLiteRt(Tensor, model) {
  const inputs = model.getInputDetails();
  const prepare = (feeds) =>
    Object.fromEntries(
      inputs.map(({ name, dtype, shape }) => {
        const feed = feeds[name];
        const sizes = Array.from(shape);
        if (dtype === "int32") return [name, { data: Int32Array.from(feed.data, Number), shape: sizes }];
        const lies = sizes.every((size, i) => size === feed.shape[i]);
        return [name, { data: lies ? feed.data : channelsLast(feed), shape: sizes }];
      }),
    );
  const run = async (feeds) => {
    const given = Object.fromEntries(inputs.map(({ name }) => [name, new Tensor(feeds[name].data, feeds[name].shape)]));
    const results = await model.run(given);
    const outputs = Object.fromEntries(
      Object.entries(results).map(([name, t]) => [name, { dtype: "f32", data: t.toTypedArray() }]),
    );
    for (const t of [...Object.values(given), ...Object.values(results)]) t.delete();
    return outputs;
  };
  return Object.assign(run, { prepare });
}
