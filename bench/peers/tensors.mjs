/** Recorded inputs and outputs: safetensors files with tensors `caseK.in.NAME` and `caseK.out.NAME`. Runs in Node and in pages. */

const arrays = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  U16: Uint16Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};

/** @returns name → { dtype, shape, data } */
export function parseTensors(file) {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  delete header.__metadata__;
  return Object.fromEntries(
    Object.entries(header).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [begin, end],
        },
      ]) => {
        const bytes = Uint8Array.from(file.subarray(8 + length + begin, 8 + length + end));
        return [name, { dtype: dtype.toLowerCase(), shape, data: new arrays[dtype](bytes.buffer) }];
      },
    ),
  );
}

/** @returns [{ in: { name: { dtype, shape, data } }, out: … }] */
export function parseCases(file) {
  const cases = [];
  for (const [key, tensor] of Object.entries(parseTensors(file))) {
    // Padding has names of another form.
    const [, k, side, name] = /^case(\d+)\.(in|out)\.(.+)$/.exec(key) ?? [];
    if (k === undefined) continue;
    cases[k] ??= { in: {}, out: {} };
    cases[k][side][name] = tensor;
  }
  return cases;
}

/** The bytes of a file of cases. */
export function encodeCases(cases) {
  const header = {};
  const parts = [];
  let end = 0;
  cases.forEach((sides, k) => {
    for (const [side, tensors] of Object.entries(sides))
      for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        const data_offsets = [end, end + bytes.length];
        header[`case${k}.${side}.${name}`] = { dtype: dtype.toUpperCase(), shape, data_offsets };
        parts.push(bytes);
        end += bytes.length;
      }
  });
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  let at = 8 + text.length;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}
