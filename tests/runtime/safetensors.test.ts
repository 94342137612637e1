import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arrayTypes, type DType } from "../../runtime/format.js";
import {
  placeTensors,
  readSafetensors,
  type StoredTensor,
  storedDtype,
  writeSafetensors,
} from "../../runtime/safetensors.js";
import { byteSize, fromBFloat16, fromFloat16, toBFloat16, toFloat16 } from "../../runtime/tensor.js";

const tensors = fc.uniqueArray(
  fc
    .record({
      name: fc
        .oneof(fc.string(), fc.constant("__proto__"), fc.constant("a.weight"))
        .filter((n) => n !== "__metadata__" && !n.startsWith("__pad__.")),
      dtype: fc.constantFrom(...(Object.keys(arrayTypes) as DType[])),
      shape: fc.array(fc.nat(4), { maxLength: 3 }),
    })
    .map(
      (t): StoredTensor => ({ ...t, data: Uint8Array.from({ length: byteSize(t.dtype, t.shape) }, (_, i) => i * 37) }),
    ),
  { selector: (t) => t.name, maxLength: 6 },
);

describe("safetensors", () => {
  it("reads what it writes", () => {
    fc.assert(
      fc.property(tensors, fc.constantFrom(1, 64), (list, align) => {
        const file = writeSafetensors(list, { metadata: { from: "a test" }, align });
        const read = readSafetensors(file);
        expect(read.metadata).toEqual({ from: "a test" });
        expect([...read.tensors.values()].map((t) => t.name)).toEqual(
          Object.keys(Object.fromEntries(list.map((t) => [t.name, 0]))),
        );
        for (const t of list) {
          const found = read.tensors.get(t.name)!;
          expect({ ...found, data: [...found.data] }).toEqual({ ...t, dtype: storedDtype(t.dtype), data: [...t.data] });
          expect((found.data.byteOffset - file.byteOffset) % align).toBe(0);
        }
        const { offsets, bytes } = placeTensors(
          list.map((t) => t.data.length),
          align,
        );
        expect(read.data.length).toBe(bytes);
        list.forEach((t, i) => {
          expect(read.tensors.get(t.name)!.data.byteOffset - read.data.byteOffset).toBe(offsets[i]);
        });
      }),
    );
  });

  it("ends in a clear error wherever a file is cut, and never reads outside it", () => {
    const file = writeSafetensors([{ name: "w", dtype: "f32", shape: [2, 2], data: new Uint8Array(16) }], {
      align: 64,
    });
    for (let length = 0; length < file.length; length++)
      expect(() => readSafetensors(file.subarray(0, length))).toThrow(/^safetensors file: /);
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(255), (at, value) => {
        const bytes = file.slice();
        bytes[at] = value;
        try {
          for (const t of readSafetensors(bytes).tensors.values())
            expect(t.data.length).toBe(byteSize(t.dtype, t.shape));
        } catch (error) {
          expect((error as Error).name).toBe("ModelError");
        }
      }),
    );
  });

  it("uses the names of the format", () => {
    const names = {
      f8e4m3fn: "F8_E4M3",
      f8e5m2: "F8_E5M2",
      f8e4m3fnuz: "F8_E4M3FNUZ",
      f8e8m0: "F8_E8M0",
      bool: "BOOL",
      bf16: "BF16",
      u4: "U8",
      i8: "I8",
      u64: "U64",
    } as const;
    for (const [dtype, name] of Object.entries(names)) {
      const file = writeSafetensors([{ name: "t", dtype: dtype as DType, shape: [0], data: new Uint8Array() }]);
      expect(new TextDecoder().decode(file)).toContain(`"dtype":"${name}"`);
    }
  });
});

describe("half precision", () => {
  it("holds every bit pattern", () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const isNaN16 = (bits: number, infinity: number): boolean => (bits & 0x7fff) > infinity;
    for (const [to, from, infinity] of [
      [toFloat16, fromFloat16, 0x7c00],
      [toBFloat16, fromBFloat16, 0x7f80],
    ] as const) {
      const values = from(all);
      const back = to(values);
      all.forEach((bits, i) => {
        if (isNaN16(bits, infinity)) expect(values[i]).toBeNaN();
        else if (back[i] !== bits) expect.fail(`${bits} became ${values[i]} and ${back[i]}`);
      });
    }
    // bfloat16 is the upper half of f32.
    const f32 = new Uint32Array(fromBFloat16(all.filter((b) => !isNaN16(b, 0x7f80))).buffer);
    expect(f32.every((bits) => (bits & 0xffff) === 0)).toBe(true);
  });

  it("rounds to nearest, ties to even, once", () => {
    // Above 65504 + half a step is ∞; halves of the smallest subnormal go to even; 1 + 2^-11 + 2^-40 is above the tie.
    const cases: [number, number][] = [
      [65504, 0x7bff],
      [65519.99, 0x7bff],
      [65520, 0x7c00],
      [1e9, 0x7c00],
      [-Infinity, 0xfc00],
      [-0, 0x8000],
      [2 ** -24, 1],
      [2 ** -25, 0],
      [2 ** -25 * 1.0001, 1],
      [3 * 2 ** -25, 2],
      [2 ** -14, 0x0400],
      [2 ** -14 - 2 ** -26, 0x0400],
      [1 + 2 ** -11, 0x3c00],
      [1 + 2 ** -11 + 2 ** -40, 0x3c01],
      [1 + 3 * 2 ** -11, 0x3c02],
      [5e-324, 0],
    ];
    expect(Array.from(toFloat16(cases.map(([v]) => v)))).toEqual(cases.map(([, bits]) => bits));
    const f32 = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i) * 2 ** ((i % 200) - 100));
    const words = new Uint32Array(f32.buffer);
    const rounded = Array.from(words, (w) => (w + 0x7fff + ((w >>> 16) & 1)) >>> 16);
    expect(Array.from(toBFloat16(f32))).toEqual(rounded);
  });
});
