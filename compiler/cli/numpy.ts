/** Files of numpy: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, and archives of them. */

import type { DType } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { element, type Tensor } from "../../ir/tensor.js";

const types: { readonly [D in DType]?: string } = {
  f16: "<f2",
  f32: "<f4",
  f64: "<f8",
  i8: "|i1",
  i16: "<i2",
  i32: "<i4",
  i64: "<i8",
  u8: "|u1",
  u16: "<u2",
  u32: "<u4",
  u64: "<u8",
  bool: "|b1",
  i4: "|i1",
  u4: "|u1",
  i2: "|i1",
  u2: "|u1",
};

/** numpy has no bfloat16: its numbers are written as f32, which holds them. @throws ModelError where there is no type for the elements */
export function encodeNpy(name: string, t: Tensor): Uint8Array {
  if (t.dtype === "bf16") {
    const data = Float32Array.from({ length: t.data.length }, (_, i) => element(t, i));
    return encodeNpy(name, { dtype: "f32", shape: t.shape, data });
  }
  const type = types[t.dtype];
  if (type === undefined)
    throw new ModelError({
      where: `output "${name}"`,
      message: `numpy has no type for ${t.dtype}`,
      hint: "write a .safetensors file",
    });
  const shape = `(${t.shape.join(", ")}${t.shape.length === 1 ? "," : ""})`;
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': ${shape}, }`;
  // Data begin at a multiple of 64 bytes.
  const size = Math.ceil((10 + text.length + 1) / 64) * 64;
  const out = new Uint8Array(size + t.data.byteLength);
  out.set([0x93, ...Buffer.from("NUMPY"), 1, 0, (size - 10) & 255, (size - 10) >> 8]);
  out.set(Buffer.from(`${text.padEnd(size - 11)}\n`), 10);
  out.set(new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength), size);
  return out;
}

const crcs = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const b of bytes) c = crcs[(c ^ b) & 255]! ^ (c >>> 8);
  return ~c >>> 0;
}

/** Most bytes of an archive without the fields of zip64. */
const most = 0xffffffff;

/** As `np.savez` writes it: a zip archive (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT) whose members are not packed. */
export function encodeNpz(tensors: Readonly<Record<string, Tensor>>): Uint8Array {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [name, t] of Object.entries(tensors)) {
    const data = encodeNpy(name, t);
    const file = Buffer.from(`${name}.npy`);
    // Version 2.0, names in UTF-8, stored, on the first day that the format knows: equal tensors give equal bytes.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x800, 2);
    common.writeUInt16LE(0x21, 8);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(file.length, 22);
    const central = Buffer.alloc(14);
    central.writeUInt32LE(at, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x00", "latin1"), common, central, file);
    bodies.push(Buffer.from("PK\x03\x04", "latin1"), common, file, Buffer.from(data.buffer));
    at += 30 + file.length + data.length;
    if (at > most)
      throw new ModelError({ message: "an .npz file holds 4 GB at most", hint: "write a .safetensors file" });
  }
  const entries = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  const count = Object.keys(tensors).length;
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(entries.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...bodies, entries, end]);
}
