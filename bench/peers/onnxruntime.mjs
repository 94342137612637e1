/** Onnxruntime's builds have one interface. */
const types = {
  f64: "float64",
  f32: "float32",
  f16: "float16",
  i64: "int64",
  i32: "int32",
  i16: "int16",
  i8: "int8",
  u64: "uint64",
  u32: "uint32",
  u16: "uint16",
  u8: "uint8",
  bool: "bool",
};
const short = Object.fromEntries(Object.entries(types).map(([k, v]) => [v, k]));

export async function openWith(ort, path, options) {
  const session = await ort.InferenceSession.create(path, options);
  return async (feeds) => {
    const tensors = session.inputNames.map((n) => [
      n,
      new ort.Tensor(types[feeds[n].dtype], feeds[n].data, feeds[n].shape),
    ]);
    const results = await session.run(Object.fromEntries(tensors));
    return Object.fromEntries(
      Object.entries(results).map(([n, t]) => [
        n,
        {
          dtype: short[t.type],
          shape: t.dims,
          data: t.type === "float16" ? new Uint16Array(t.data.buffer, t.data.byteOffset, t.data.length) : t.data,
        },
      ]),
    );
  };
}
