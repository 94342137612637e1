/** A decoder as model builders write it: lengths come from the mask of attention, the cache of one call goes into the next. */
import { expect, it } from "vitest";
import { compile } from "../../../compiler/compile.js";
import { importOnnx } from "../../../compiler/onnx/import.js";
import { encodeModel } from "../../../compiler/onnx/protobuf.js";
import { type Tensor, tensorFrom } from "../../../ir/tensor.js";
import { load } from "../../../runtime/index.js";
import { model, node, tensorInfo } from "../build.js";
import { compareTensors } from "../compare.js";
import { at, byIndex, draws } from "./check.js";

const [HEADS, KV, SIZE] = [4, 2, 8];

function decoder(attrs: Readonly<Record<string, number>>): Uint8Array {
  const ints = (name: string, dims: number[], value: bigint) => ({ name, dims, dataType: 7, int64Data: [value] });
  const angles = (name: string, f: (x: number) => number) => ({
    name,
    dims: [32, SIZE / 2],
    dataType: 1,
    floatData: Array.from({ length: 16 * SIZE }, (_, i) => f(Math.floor(i / (SIZE / 2)) / 10 ** (i % (SIZE / 2)))),
  });
  const made = model(
    {
      input: [
        ...["q", "k", "v"].map((name, i) => tensorInfo(name, ["batch", "sequence", (i === 0 ? HEADS : KV) * SIZE])),
        tensorInfo("attention_mask", ["batch", "total"], 7),
        ...["past_key", "past_value"].map((name) => tensorInfo(name, ["batch", KV, "past_sequence", SIZE])),
      ],
      output: ["y", "present_key", "present_value"].map((name) => tensorInfo(name, undefined)),
      initializer: [
        ints("axis", [1], 1n),
        ints("one", [], 1n),
        angles("cos", Math.cos),
        angles("sin", Math.sin),
      ] as never,
      node: [
        node("ReduceSum", ["attention_mask", "axis"], ["counts"], { keepdims: 0 }),
        node("Sub", ["counts", "one"], ["last"]),
        node("Cast", ["last"], ["seqlens_k"], { to: 6 }),
        node("Shape", ["attention_mask"], ["shape"]),
        node("Gather", ["shape", "one"], ["width"], { axis: 0 }),
        node("Cast", ["width"], ["total_length"], { to: 6 }),
        node(
          "GroupQueryAttention",
          ["q", "k", "v", "past_key", "past_value", "seqlens_k", "total_length", "cos", "sin"],
          ["y", "present_key", "present_value"],
          { num_heads: HEADS, kv_num_heads: KV, do_rotary: 1, ...attrs },
          { domain: "com.microsoft" },
        ),
      ],
    },
    [],
    17,
  );
  made.opsetImport!.push({ domain: "com.microsoft", version: 1 });
  return encodeModel(made);
}

it.each([
  ["all keys", {}],
  ["a window", { local_window_size: 3 }],
  ["pairs", { rotary_interleaved: 1, smooth_softmax: 1 }],
])("gives in steps what it gives at once: %s", async (_, attrs) => {
  const session = await load(await compile(importOnnx(decoder(attrs)), { variants: ["simd128"] }), { threads: 1 });
  const length = 10;
  const d = draws(12);
  const [q, k, v] = [HEADS, KV, KV].map((n) => d.floats([1, length, n * SIZE])) as [Tensor, Tensor, Tensor];
  const rows = (t: Tensor, from: number, count: number) =>
    byIndex([1, count, t.shape[2]!], (b, s, i) => at(t)(b, from + s, i));
  const none = tensorFrom("f32", [1, KV, 0, SIZE], []);
  let cache = { past_key: none, past_value: none };
  const call = async (from: number, count: number, past: typeof cache) => {
    const mask = tensorFrom("i64", [1, from + count], Array<number>(from + count).fill(1));
    const own = { q: rows(q, from, count), k: rows(k, from, count), v: rows(v, from, count) };
    return (await session.run({ ...own, attention_mask: mask, ...past } as never)) as Record<string, Tensor>;
  };
  const whole = await call(0, length, cache);
  let from = 0;
  for (const count of [4, 1, 1, 3, 1]) {
    const step = await call(from, count, cache);
    expect(compareTensors(step.y!, rows(whole.y!, from, count), { rtol: 1e-4, atol: 1e-5 })).toBeUndefined();
    cache = { past_key: step.present_key!, past_value: step.present_value! };
    from += count;
  }
  expect(compareTensors(cache.past_key, whole.present_key!, { rtol: 1e-5, atol: 1e-6 })).toBeUndefined();
  expect(compareTensors(cache.past_value, whole.present_value!, { rtol: 1e-5, atol: 1e-6 })).toBeUndefined();
  session.dispose();
});
