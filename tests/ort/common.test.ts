/** The same calls of tensors here and of onnxruntime-common, and its registry of backends. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import * as ort from "../../ort/index.js";
import { product } from "./models.js";

const entry = new URL("./node_modules/onnxruntime-common/dist/esm/index.js", import.meta.url);
const isThere = existsSync(fileURLToPath(entry));
const howToGetIt = isThere ? "" : " (skipped: run npm ci --prefix tests/ort --ignore-scripts)";

type Constructor = new (...args: unknown[]) => ort.Tensor;
interface Common {
  readonly Tensor: Constructor & typeof ort.Tensor;
  readonly InferenceSession: {
    create(bytes: Uint8Array, options: object): Promise<ort.InferenceSession>;
  };
  registerBackend(name: string, backend: object, priority: number): void;
}

/** Arguments of constructors, right and wrong. */
const calls: readonly (readonly unknown[])[] = [
  ["float32", Float32Array.of(1, 2), [2]],
  ["float32", Float32Array.of(1, 2), [1, 2, 1]],
  ["float32", [1, 2.5]],
  ["float32", [], [0]],
  ["float32", Float32Array.of(1, 2), [3]],
  ["float32", Float32Array.of(1, 2), "2"],
  ["float32", Float32Array.of(1, 2), [-2, -1]],
  ["float32", Float32Array.of(1, 2), [0.5, 4]],
  ["float32", Float64Array.of(1, 2)],
  ["float32", Float32Array.of(5), []],
  [Float32Array.of(1, 2)],
  [Float32Array.of(1, 2), [2, 1]],
  [Float64Array.of(1)],
  [Int8Array.of(1)],
  [Uint8Array.of(1)],
  [Int16Array.of(1)],
  [Uint16Array.of(1)],
  [Int32Array.of(1)],
  [Uint32Array.of(1)],
  [BigInt64Array.of(1n)],
  [BigUint64Array.of(1n)],
  [Uint8ClampedArray.of(1, 2)],
  ["uint8", Uint8ClampedArray.of(1, 2)],
  ["int8", Uint8ClampedArray.of(1, 2)],
  [
    ["a", "b"],
    [2, 1],
  ],
  [[true, false]],
  [[1, 2]],
  [[]],
  ["bool", [true, false]],
  ["bool", Uint8Array.of(1, 0)],
  ["string", ["a"]],
  ["string", Float32Array.of(1)],
  ["int64", [1, 2]],
  ["int64", [1n, 2n]],
  ["uint64", [1, 2n]],
  ["int32", [1, 2]],
  ["float16", Uint16Array.of(0x3c00)],
  ["uint4", Uint8Array.of(0x21, 3), [3]],
  ["int4", Uint8Array.of(0x21), [2]],
  ["int4", Uint8Array.of(0x21), [3]],
  ["int4", [1, 2]],
  ["complex64", Float32Array.of(1, 2)],
  [{ location: "cpu-pinned", type: "float32", data: Float32Array.of(1), dims: [1] }],
  [{ location: "cpu-pinned", type: "float32", data: Int8Array.of(1), dims: [1] }],
  [{ location: "elsewhere", type: "float32", dims: [1] }],
];

/** What a call gives, or how it fails; onnxruntime shows the source text of an array's constructor there. */
function outcome(Tensor: Constructor, args: readonly unknown[]): unknown {
  try {
    const { type, dims, size, data, location } = new Tensor(...args);
    return { type, dims, size, data, location };
  } catch (error) {
    return [(error as Error).name, (error as Error).message.replace(/(must be type of).*/s, "$1")];
  }
}

describe.skipIf(!isThere)(`as onnxruntime-common${howToGetIt}`, () => {
  const common = async (): Promise<Common> => (await import(/* @vite-ignore */ entry.href)) as Common;

  it.each(
    calls.map(
      (args) =>
        [args.map((a) => JSON.stringify(a, (_, x) => (typeof x === "bigint" ? `${x}n` : x))).join(", "), args] as const,
    ),
  )("new Tensor(%s)", async (_, args) => {
    expect(outcome(ort.Tensor as unknown as Constructor, args)).toEqual(outcome((await common()).Tensor, args));
  });

  it("reshapes, disposes, gives its data", async () => {
    for (const Tensor of [(await common()).Tensor, ort.Tensor]) {
      const x = new Tensor("float32", Float32Array.of(1, 2, 3, 4), [4]);
      expect(x.reshape([2, 2]).dims).toEqual([2, 2]);
      expect(x.reshape([2, 2]).data).toBe(x.data);
      expect(() => x.reshape([3])).toThrow("does not match");
      expect(await x.getData()).toBe(x.data);
      x.dispose();
      expect(x.location).toBe("none");
      expect(() => x.data).toThrow("The tensor is disposed.");
      expect(() => x.reshape([4])).toThrow("The tensor is disposed.");
    }
  });

  it("knows its tensors, and takes them", async () => {
    const { Tensor } = await common();
    const theirs = new Tensor(
      "float32",
      Float32Array.from({ length: 12 }, (_, i) => i),
      [3, 4],
    );
    expect(theirs).toBeInstanceOf(ort.Tensor);
    expect({ type: "float32", dims: [1] }).not.toBeInstanceOf(ort.Tensor);
    ort.env.wasmith.worker = false;
    ort.env.wasmith.cache = false;
    const session = await ort.InferenceSession.create(product());
    const { c } = await session.run({ a: theirs, b: theirs.reshape([4, 3]) });
    expect((c as ort.Tensor).data[0]).toBe(42);
    await session.release();
  });

  it("is a backend of its registry", async () => {
    const { InferenceSession, Tensor, registerBackend } = await common();
    registerBackend("wasmith", ort.backend, 10);
    for (const options of [{ executionProviders: ["wasmith"] }, {}]) {
      const session = await InferenceSession.create(product(), options);
      expect(session.inputNames).toEqual(["a", "b"]);
      const ones = new Tensor("float32", new Float32Array(12).fill(1), [3, 4]);
      const { c } = await session.run({ a: ones, b: ones.reshape([4, 3]) });
      expect(Object.getPrototypeOf(c)).toBe(Tensor.prototype);
      expect([...(c as ort.Tensor).data]).toEqual(Array(9).fill(4));
      await session.release();
    }
  });
});
