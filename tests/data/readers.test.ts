/** Readers of files: what numpy and Pillow wrote comes in as they read it, and damaged files end in errors that say where. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  randomOf,
  readCsv,
  readIdx,
  readImage,
  readJsonLines,
  readLines,
  readNpy,
  readNpz,
  readSafetensors,
  readText,
  type Tensor,
} from "../../runtime/data/index.js";
import { inflateAsStream } from "../../runtime/data/read/bytes.js";
import { writeSafetensors } from "../../runtime/safetensors.js";
import { fromFloat16 } from "../../runtime/tensor.js";

const fixtures = join(import.meta.dirname, "../fixtures/data");
const fixture = (name: string) => join(fixtures, name);
const bytesOf = (name: string) => new Uint8Array(readFileSync(fixture(name)));
const json = (name: string) => JSON.parse(readFileSync(fixture(name), "utf8")) as Record<string, Stored>;
interface Stored {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}
const text = (s: string) => new TextEncoder().encode(s);
const valuesOf = ({ dtype, data }: Tensor): number[] =>
  dtype === "f16" ? [...fromFloat16(data)] : Array.from(data as Float32Array, Number);

/** Each beginning of a file, and the file with each byte changed, is refused with its name, or read; nothing else happens. */
async function damaged(bytes: Uint8Array, read: (bytes: Uint8Array) => Promise<unknown>, least = 0): Promise<number> {
  let refused = 0;
  const attempt = async (broken: Uint8Array) => {
    try {
      await read(broken);
    } catch (error) {
      expect((error as Error).name, (error as Error).stack).toBe("ModelError");
      refused++;
    }
  };
  const step = Math.max(1, Math.floor(bytes.length / 300));
  for (let n = least; n < bytes.length; n += step) {
    const before = refused;
    await attempt(bytes.subarray(0, n));
    expect(refused, `the first ${n} bytes of ${bytes.length} were read`).toBe(before + 1);
  }
  refused = 0;
  for (let n = 0; n < bytes.length; n += step) {
    const broken = bytes.slice();
    broken[n]! ^= 0x55;
    await attempt(broken);
  }
  return refused / Math.ceil(bytes.length / step);
}

describe("arrays of numpy", () => {
  const want = json("arrays.json");
  it.each(["arrays.npz", "compressed.npz"])("in %s come in as they are", async (name) => {
    const arrays = await readNpz(fixture(name));
    expect(Object.keys(arrays)).toEqual(Object.keys(want));
    for (const [key, t] of Object.entries(arrays))
      expect([key, t.shape, valuesOf(t)]).toEqual([key, want[key]!.shape, want[key]!.values]);
    expect(Object.fromEntries(Object.entries(arrays).map(([key, t]) => [key, t.dtype]))).toEqual({
      f4: "f32",
      f8_big: "f64",
      i2_big: "i16",
      i8_scalar: "i64",
      u1: "u8",
      bool: "bool",
      fortran: "i32",
      half: "f16",
      empty: "f32",
    });
  });

  it("in an npy file come in, gzipped too, from memory too", async () => {
    for (const source of [
      fixture("fortran.npy"),
      bytesOf("fortran.npy"),
      new Uint8Array(gzipSync(bytesOf("fortran.npy"))),
    ])
      expect(valuesOf(await readNpy(source))).toEqual(want.fortran!.values);
  });

  it("of other kinds are refused with what to do", async () => {
    await expect(readNpy(fixture("bad-complex.npy"))).rejects.toThrow(
      /bad-complex.npy: its elements are complex numbers/,
    );
    await expect(readNpy(fixture("bad-object.npy"))).rejects.toThrow(/Python objects/);
    await expect(readNpy(fixture("bad-text.npy"))).rejects.toThrow(/text: save numbers/);
    await expect(readNpy(fixture("bad-record.npy"))).rejects.toThrow(/records/);
    await expect(readNpy(text("hello"))).rejects.toThrow(/npy file: not an npy file/);
    await expect(readNpy(fixture("none.npy"))).rejects.toThrow(/none.npy: can't be read: ENOENT/);
    const two = new Uint8Array([...bytesOf("fortran.npy"), ...bytesOf("fortran.npy")]);
    await expect(readNpy(two)).rejects.toThrow(
      /i32\[2, 3, 4\] takes 96 bytes, but 320 follow.*\n.*more than one array/,
    );
    await expect(readNpz(fixture("rgb.png"))).rejects.toThrow(/not a zip archive/);
  });

  it("in damaged files are refused", async () => {
    await damaged(bytesOf("fortran.npy"), readNpy);
    for (const name of ["arrays.npz", "compressed.npz"]) {
      const share = await damaged(bytesOf(name), readNpz);
      // What is left are names, dates and comments of the archive.
      expect(share).toBeGreaterThan(0.4);
    }
  });
});

describe("IDX files", () => {
  const idx = (type: number, shape: readonly number[], data: readonly number[]) =>
    Uint8Array.from([0, 0, type, shape.length, ...shape.flatMap((d) => [0, 0, d >> 8, d & 255]), ...data]);
  it("come in by type, big-endian", async () => {
    expect(await readIdx(idx(8, [2, 2], [1, 2, 3, 255]))).toEqual({
      dtype: "u8",
      shape: [2, 2],
      data: Uint8Array.of(1, 2, 3, 255),
    });
    expect(await readIdx(idx(11, [2], [1, 0, 255, 254]))).toEqual({
      dtype: "i16",
      shape: [2],
      data: Int16Array.of(256, -2),
    });
    expect(await readIdx(gzipSync(idx(13, [1], [0x3f, 0x80, 0, 0])))).toEqual({
      dtype: "f32",
      shape: [1],
      data: Float32Array.of(1),
    });
  });
  it("are refused where they are damaged", async () => {
    await expect(readIdx(idx(7, [1], [1]))).rejects.toThrow(/not an IDX file/);
    await expect(readIdx(idx(8, [3], [1, 2]))).rejects.toThrow(
      /u8\[3\] takes 3 bytes, but 2 follow the header\n.*cut short/,
    );
    await damaged(idx(12, [2, 2], Array(16).fill(1)), readIdx);
    // Sizes that no memory holds.
    await expect(readIdx(Uint8Array.from([0, 0, 8, 3, ...Array(12).fill(255)]))).rejects.toThrow(/takes .* bytes/);
  });
});

it("safetensors come in as tensors by name", async () => {
  const data = Float32Array.of(1, 2, 3, 4);
  const file = writeSafetensors([{ name: "w", dtype: "f32", shape: [2, 2], data: new Uint8Array(data.buffer) }]);
  const odd = new Uint8Array(file.length + 1);
  odd.set(file, 1);
  expect(await readSafetensors(odd.subarray(1))).toEqual({ w: { dtype: "f32", shape: [2, 2], data } });
  await damaged(file, readSafetensors);
});

describe("packed files", () => {
  it("are compared with their checksum, and stop at the budget", async () => {
    const packed = new Uint8Array(gzipSync("hello ".repeat(1000)));
    expect(await readText(packed)).toBe("hello ".repeat(1000));
    const share = await damaged(packed, readText, 2); // A shorter file is text.
    expect(share).toBeGreaterThan(0.7);
    const bomb = new Uint8Array(gzipSync(new Uint8Array(50_000_000)));
    await expect(readText(bomb, { maxBytes: 1_000_000 })).rejects.toThrow(/text: more than 1000000 bytes\n.*maxBytes/);
    await expect(readText(text("too long"), { maxBytes: 3 })).rejects.toThrow(/more than 3 bytes/);
    await expect(readNpz(fixture("zeros.npz"), { maxBytes: 2000 })).rejects.toThrow(
      /zeros.npz, zeros.npy: more than 2000 bytes in all/,
    );
    await expect(readText(packed, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
  });

  it("are unpacked by the platform's streams as in Node", async () => {
    const packed = new Uint8Array(gzipSync("hello ".repeat(20_000)));
    const failed = (cause: unknown): never => {
      throw Object.assign(new Error("damaged", { cause }), { name: "ModelError" });
    };
    const unpack = (bytes: Uint8Array, most = 1e6) => inflateAsStream("gzip", bytes, most, "file", failed);
    expect(new TextDecoder().decode(await unpack(packed))).toBe("hello ".repeat(20_000));
    await expect(unpack(packed, 1000)).rejects.toThrow(/file: more than 1000 bytes/);
    const wrong = packed.slice();
    wrong[wrong.length - 6]! ^= 1;
    await expect(unpack(wrong)).rejects.toThrow("damaged");
    for (const n of [5, 50, packed.length - 4]) await expect(unpack(packed.subarray(0, n))).rejects.toThrow("damaged");
  });
});

describe("text", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasmith-data-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("comes in as lines, in other encodings, without a byte order mark", async () => {
    expect(await readLines(text("\ufeffa\r\nb\n\nc"))).toEqual(["a", "b", "", "c"]);
    expect(await readLines(text(""))).toEqual([]);
    expect(await readText(Uint8Array.of(0xe9), { encoding: "latin1" })).toBe("é");
    await expect(readText(Uint8Array.of(0xe9))).rejects.toThrow(/text: not text in the encoding utf-8\n.*latin1/);
    expect(await readText("data:text/plain,hello")).toBe("hello");
    await expect(readJsonLines("data:text/plain,hello")).rejects.toThrow(/^JSON lines: line 1 is no JSON/);
    await expect(readText(text("a"), { encoding: "klingon" })).rejects.toThrow(/there is no encoding "klingon"/);
    await expect(readText(text("a"), { encodng: "utf-8" } as never)).rejects.toThrow(/did you mean "encoding"/);
  });

  it("of JSON lines comes in as values, with the line of an error", async () => {
    expect(await readJsonLines(text('{"a":1}\n\n[2]\r\n'))).toEqual([{ a: 1 }, [2]]);
    await expect(readJsonLines(text('{"a":1}\n{"a":'))).rejects.toThrow(/JSON lines: line 2 is no JSON/);
  });

  it("of tables comes in with the types of its columns", async () => {
    const rows = await readCsv(text('id,name,x,big,flag\n1,"a, ""b""\nc",1.5,9007199254740993,true\n2,d,,7,false\n'), {
      types: { flag: "boolean" },
    });
    expect(rows).toEqual([
      { id: 1, name: 'a, "b"\nc', x: 1.5, big: "9007199254740993", flag: true },
      { id: 2, name: "d", x: Number.NaN, big: "7", flag: false },
    ]);
    expect(await readCsv(text("1;2\n3;4"), { header: false, delimiter: ";" })).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(await readCsv(text("1,2"), { header: ["a", "b"] })).toEqual([{ a: 1, b: 2 }]);
    expect(await readCsv(text("a\n007\n"), { types: { a: "string" } })).toEqual([{ a: "007" }]);
    expect(await readCsv(text("a\n-inf\n"), { types: { a: "number" } })).toEqual([{ a: -Infinity }]);
    expect(await readCsv(text("#c\na,b\n1,2\n"), { comment: "#" })).toEqual([{ a: 1, b: 2 }]);
    expect(await readCsv(text("a,b\n"))).toEqual([]);
    const path = join(folder, "t.tsv.gz");
    await writeFile(path, gzipSync('ham\tsay "hi\nspam\tno'));
    expect(await readCsv(path, { header: ["label", "text"], quote: false })).toEqual([
      { label: "ham", text: 'say "hi' },
      { label: "spam", text: "no" },
    ]);
  });

  it("of tables that are wrong says where", async () => {
    const wrong: readonly [string, object, RegExp][] = [
      ["a,b\n1,2\n3\n", {}, /CSV file: record 3 has 1 cells, expected 2/],
      ["a,a\n1,2\n", {}, /two columns are called "a"/],
      ['a,b\n1,"2\n', {}, /record 2: Quoted field unterminated/],
      ['a,b\n"1"x,2\n', {}, /record 2: .*quote/i],
      ["a,b\n1,x\n", { types: { b: "number" } }, /record 2, column "b": "x" is no number/],
      ["a\nmaybe\n", { types: { a: "boolean" } }, /column "a": "maybe" is neither true nor false/],
      ["a\n1\n", { types: { z: "number" } }, /there is no column "z"\n.*the columns are: a/],
      ["", {}, /it is empty, and has no header/],
      ["a\n1", { types: { a: "float" } }, /option types: expected an object whose values are "number"/],
    ];
    for (const [table, options, message] of wrong) await expect(readCsv(text(table), options)).rejects.toThrow(message);
  });

  it("of tables comes back as it was written", async () => {
    const cell = fc.string({ unit: fc.constantFrom("a", "1", " ", ",", '"', "\n", "é", "\t", "'"), maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 8 }), async (rows) => {
        const quoted = rows.map((r) => r.map((c) => `"${c.replaceAll('"', '""')}"`).join(",")).join("\n");
        const back = await readCsv(text(quoted), { header: false, types: { 0: "string", 1: "string" } });
        expect(back).toEqual(rows);
      }),
    );
  });
});

describe("images", () => {
  const want = json("pixels.json");
  const cases: readonly [string, string, { channels?: 1 | 3 | 4 }, number][] = [
    ["rgb.png", "rgb.png", {}, 0],
    ["rgb.png", "rgb.png L", { channels: 1 }, 0],
    ["rgba.png", "rgba.png", { channels: 4 }, 0],
    ["gray.png", "gray.png", {}, 0],
    ["palette.png", "palette.png", {}, 0],
    ["bits.png", "bits.png", { channels: 1 }, 0],
    ["gray16.png", "gray16.png", { channels: 1 }, 0],
    // Decoders round and smooth in their own ways.
    ["444.jpg", "444.jpg", {}, 3],
    ["420.jpg", "420.jpg", {}, 40],
    ["progressive.jpg", "progressive.jpg", {}, 3],
    ["gray.jpg", "gray.jpg", { channels: 1 }, 1],
  ];
  it.each(cases)("in %s come in as Pillow has them (%s)", async (file, key, options, most) => {
    const { shape, data, dtype } = await readImage(fixture(file), { ...options, layout: "HWC" });
    const channels = options.channels ?? 3;
    expect(shape).toEqual([...want[key]!.shape.slice(0, 2), channels]);
    expect(dtype).toBe(file === "gray16.png" ? "u16" : "u8");
    let worst = 0;
    for (const [i, v] of want[key]!.values.entries()) worst = Math.max(worst, Math.abs(Number(data[i]) - v));
    expect(worst).toBeLessThanOrEqual(most);
    const planes = await readImage(fixture(file), { ...options });
    const pixels = data.length / channels;
    for (let i = 0; i < data.length; i++)
      expect(planes.data[(i % channels) * pixels + Math.floor(i / channels)]).toBe(data[i]);
  });

  it("of other kinds, too large ones and damaged ones are refused", async () => {
    await expect(readImage(text("GIF89a"))).rejects.toThrow(/image: neither a PNG nor a JPEG image, but a GIF image/);
    await expect(readImage(text("<html>"))).rejects.toThrow(/XML or HTML/);
    await expect(readImage(fixture("rgb.png"), { maxPixels: 100 })).rejects.toThrow(/13×9 pixels are more than 100/);
    await expect(readImage(fixture("444.jpg"), { maxPixels: 100 })).rejects.toThrow(
      /444.jpg: more than 100 pixels\n.*maxPixels/,
    );
    await expect(readImage(fixture("rgb.png"), { channels: 2 } as never)).rejects.toThrow(
      /option channels: expected 1 or 3 or 4/,
    );
    for (const name of ["rgb.png", "palette.png", "gray16.png", "bits.png"]) {
      const share = await damaged(bytesOf(name), readImage);
      expect(share).toBeGreaterThan(0.9);
    }
    // Files whose sizes are not explained by their bytes.
    const start = bytesOf("gray.jpg").findIndex((b, i, all) => b === 0xff && all[i + 1] === 0xc0) + 5;
    const huge = bytesOf("gray.jpg");
    huge.set([0x20, 0, 0x20, 0], start);
    await expect(readImage(huge)).rejects.toThrow(/image: more pixels than its \d+ bytes can hold/);
    const scans = new Uint8Array([...bytesOf("gray.jpg"), ...Array(600).fill([0xff, 0xda]).flat(), 0xff, 0xd9]);
    await expect(readImage(scans)).rejects.toThrow(/60\d scans are more than 500/);
    const deep = bytesOf("rgba.png");
    deep[24] = 255;
    await expect(readImage(deep)).rejects.toThrow(/its elements have 255 bits/);
    const bomb = bytesOf("rgb.png");
    bomb.set([0, 0x40, 0, 0, 0, 0, 0, 9], 16);
    await expect(readImage(bomb)).rejects.toThrow(/4194304×9 pixels take|its pixels take \d+ bytes, but there are 360/);
    for (const name of ["444.jpg", "420.jpg", "progressive.jpg", "gray.jpg"]) await damaged(bytesOf(name), readImage);
  });
});

it("files that are damaged at random end in errors of their readers", async () => {
  const readers: readonly [string, (bytes: Uint8Array) => Promise<unknown>][] = [
    ["compressed.npz", readNpz],
    ["fortran.npy", readNpy],
    ["rgba.png", readImage],
    ["palette.png", readImage],
    ["420.jpg", readImage],
    ["progressive.jpg", readImage],
  ];
  const random = randomOf(2026);
  for (let i = 0; i < 3000; i++) {
    const [name, read] = readers[i % readers.length]!;
    let bytes = bytesOf(name);
    for (let k = random.integer(5); k >= 0; k--) {
      const at = random.integer(bytes.length);
      const cut = random.integer(3);
      if (cut === 0) bytes[at] = random.integer(256);
      else if (cut === 1)
        bytes = new Uint8Array([...bytes.subarray(0, at), ...bytes.subarray(at + 1 + random.integer(8))]);
      else
        bytes = new Uint8Array([
          ...bytes.subarray(0, at),
          ...bytes.subarray(random.integer(at + 1), at),
          ...bytes.subarray(at),
        ]);
    }
    await read(bytes).catch((error: Error) =>
      expect([name, i, error.name, error.message]).toEqual([name, i, "ModelError", error.message]),
    );
  }
});
