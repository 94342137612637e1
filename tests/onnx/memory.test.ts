/** What importing and compiling keep in memory: views of the file, and packed weights one at a time. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type LlamaSize, llama, llamaFeeds, llamaTiny } from "../../bench/models/llama.js";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { readOnnx } from "../../compiler/onnx/model.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { tensorFrom } from "../../ir/tensor.js";
import { type Feeds, load } from "../../runtime/index.js";
import { model } from "./build.js";

describe("a file whose bytes are handed over", () => {
  const dtypes = ["f32", "i64", "f16", "i8", "f64"] as const;
  const lengths = [0, 1, 3, 17, 40, 3000];
  /** Tensors at every byte of a word, long and short. */
  const file = (): Uint8Array => {
    const initializer = Array.from({ length: 9 }, (_, shift) =>
      dtypes.flatMap((dtype) =>
        lengths.map((n) => {
          const values = Array.from({ length: n }, (_, i) => (7 * i + shift) % 120);
          return encodeTensor(tensorFrom(dtype, [n], values), `${dtype}.${n}.${"x".repeat(shift)}`);
        }),
      ),
    ).flat();
    return encodeModel(model({ initializer, node: [], input: [], output: [] }));
  };

  it("gives the same tensors, as views of the file where they are long", () => {
    const bytes = file();
    const kept = readOnnx(file());
    const { initializers } = readOnnx(bytes, { transfer: true }).graph;
    expect(initializers).toEqual(kept.graph.initializers);
    for (const [name, t] of initializers) {
      const size = dtypeInfo[t.dtype as "f32"].array.BYTES_PER_ELEMENT;
      if (size <= 4 && t.data.length === 3000)
        expect([name, (t.data as Float32Array).buffer === bytes.buffer]).toEqual([name, true]);
    }
  });

  it("stays as it is without", () => {
    const bytes = file();
    readOnnx(bytes);
    expect(bytes).toEqual(file());
  });
});

describe("packed weights", () => {
  const size: LlamaSize = { ...llamaTiny, layers: 1 };

  it("of a tied embedding are no second copy in the file, however the model ties it", async () => {
    const sizes = ["once", "twice"] as const;
    const [once, twice] = sizes.map((tied) => llama({ ...size, tied })) as [Uint8Array, Uint8Array];
    expect(twice.length - once.length).toBeGreaterThan(0.9 * size.vocabulary * size.width * 4);
    const results = [];
    for (const file of [once, twice]) {
      const artifact = await compile(importOnnx(file), { variants: ["simd128"] });
      expect(artifact.weights.length).toBeLessThan(1.05 * once.length);
      const session = await load(artifact);
      for (const queries of [1, 20]) results.push(await session.run(llamaFeeds(size, queries, 3) as unknown as Feeds));
      session.dispose();
    }
    expect(results.slice(2)).toEqual(results.slice(0, 2));
  });

  it("are written as they are put together", async () => {
    const artifact = await compile(importOnnx(llama(size)), { variants: ["simd128"], name: "tiny" });
    const folder = mkdtempSync(join(tmpdir(), "wasmith-"));
    try {
      await artifact.write(folder);
      const written = readFileSync(join(folder, artifact.manifest.weights.file));
      expect(new Uint8Array(written)).toEqual(artifact.weights);
      expect(written.length).toBe(artifact.manifest.weights.bytes);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
