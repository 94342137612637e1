/** Caches of decoders: quantised ones, and blocks of them that queries see. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../compiler/onnx/import.js";
import { encodeModel } from "../../../compiler/onnx/protobuf.js";
import { type Tensor, tensorFrom } from "../../../ir/tensor.js";
import { model, node, tensorInfo } from "../build.js";
import { at, byIndex, checkOp, draws, f32, float, i32 } from "./check.js";
import { attend, heads, rotated, roundEven, sum } from "./formulas.js";

const NONE = Number.NEGATIVE_INFINITY;
const [N, KV] = [4, 2];
const text = (s: string) => ({ type: 3, s: new TextEncoder().encode(s) });

describe("GroupQueryAttention", () => {
  interface Form {
    readonly bits: 8 | 4;
    readonly kind: "PER_TENSOR" | "PER_CHANNEL";
    readonly batch: number;
    readonly rows: number;
    readonly cached?: number;
    readonly lengths: readonly number[];
    readonly size?: number;
    readonly rotary?: boolean;
    readonly dynamic?: boolean;
    readonly onnxruntime?: boolean;
  }
  const forms: readonly (readonly [string, Form])[] = (["PER_TENSOR", "PER_CHANNEL"] as const).flatMap((kind) =>
    ([8, 4] as const).flatMap((bits) => [
      [`a first call, ${bits} bits, ${kind}`, { bits, kind, batch: 2, rows: 3, lengths: [3, 2] }],
      [`a step behind a cache, ${bits} bits, ${kind}`, { bits, kind, batch: 2, rows: 1, cached: 4, lengths: [5, 3] }],
      [
        `steps into a longer cache, ${bits} bits, ${kind}`,
        { bits, kind, batch: 1, rows: 3, cached: 9, lengths: [7], rotary: true },
      ],
      [
        `sizes that only the run knows, ${bits} bits, ${kind}`,
        { bits, kind, batch: 2, rows: 1, cached: 4, lengths: [5, 4], dynamic: true },
      ],
      [`heads of an odd size, ${bits} bits, ${kind}`, { bits, kind, batch: 1, rows: 2, lengths: [2], size: 5 }],
    ]),
  );

  it.each(forms)("of a quantised cache: %s", async (_, form) => {
    const { bits, kind, batch, rows, cached = 0, lengths, size = 8 } = form;
    const d = draws(rows * 10 + cached);
    const columns = Math.max(cached, ...lengths);
    const width = bits === 4 ? Math.ceil(size / 2) : size;
    const [q, k, v] = [N, KV, KV].map((n) => d.floats([batch, rows, n * size])) as [Tensor, Tensor, Tensor];
    const count = kind === "PER_TENSOR" ? [1] : [1, KV, 1, size];
    const [kScale, vScale] = [0, 1].map(() => d.positive(count, 1 / 2 ** (bits - 1))) as [Tensor, Tensor];
    const scaleAt = (scale: Tensor, h: number, i: number) =>
      kind === "PER_TENSOR" ? at(scale)(0) : at(scale)(0, h, 0, i);
    const cacheOf = () => {
      const bytes = d.bytes([batch, KV, Math.max(cached, 1), width], bits === 4 ? "u8" : "i8");
      return { bytes, get: at(bytes) };
    };
    const [pastK, pastV] = [cacheOf(), cacheOf()];
    const past = (b: number) => (rows === Math.max(...lengths) ? 0 : lengths[b]! - rows);
    const [cos, sin] = [d.floats([12, size >> 1]), d.floats([12, size >> 1])];
    const turn = (x: Tensor) => (form.rotary ? rotated(x, cos, sin, (b, s) => past(b) + s, false) : x);

    /** The steps that the cache holds for a key or value. */
    const steps =
      (old: ReturnType<typeof cacheOf>, now: Tensor, scale: Tensor) => (b: number, h: number, j: number, i: number) => {
        if (j < past(b)) {
          if (bits === 8) return old.get(b, h, j, i);
          return ((old.get(b, h, j, i >> 1) >> (i % 2 === 0 ? 0 : 4)) & 15) - 8;
        }
        const step = roundEven(at(now)(b, h, j - past(b), i) / scaleAt(scale, h, i));
        return Math.min(Math.max(step, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1);
      };
    const [keySteps, valueSteps] = [
      steps(pastK, turn(heads(k, KV, size)), kScale),
      steps(pastV, heads(v, KV, size), vScale),
    ];
    const used = (b: number, j: number) => j < past(b) + rows;
    const real = (of: typeof keySteps, scale: Tensor) =>
      byIndex([batch, KV, columns, size], (b, h, j, i) => (used(b, j) ? of(b, h, j, i) * scaleAt(scale, h, i) : 0));
    const stored = (of: typeof keySteps) => {
      const { shape, data } = byIndex([batch, KV, columns, width], (b, h, j, i) => {
        if (!used(b, j)) return 0;
        if (bits === 8) return of(b, h, j, i);
        return of(b, h, j, 2 * i) + 8 + 16 * (2 * i + 1 < size ? of(b, h, j, 2 * i + 1) + 8 : 0);
      });
      return tensorFrom(bits === 4 ? "u8" : "i8", shape, [...(data as Float32Array)]);
    };
    const y = attend({
      q: turn(heads(q, N, size)),
      k: real(keySteps, kScale),
      v: real(valueSteps, vScale),
      scale: 1 / Math.sqrt(size),
      bias: (b, _h, s, j) => (j > past(b) + s || j >= lengths[b]! ? NONE : 0),
    });
    await checkOp({
      op: "GroupQueryAttention",
      inputs: [
        ...[q, k, v],
        ...(cached > 0 ? [pastK.bytes, pastV.bytes] : [undefined, undefined]),
        i32(
          [batch],
          lengths.map((n) => n - 1),
        ),
        i32([], [Math.max(...lengths)]),
        ...(form.rotary ? [cos, sin] : [undefined, undefined]),
        ...[undefined, undefined, undefined, kScale, vScale],
      ],
      attrs: {
        num_heads: N,
        kv_num_heads: KV,
        do_rotary: form.rotary ? 1 : 0,
        k_quant_type: text(kind),
        v_quant_type: text(kind),
        kv_cache_bit_width: bits,
      },
      want: [y, stored(keySteps), stored(valueSteps)],
      // ONNX Runtime takes the type of its caches from those of before, and asks for head sizes that are multiples of 8, of 16 with
      // rotary positions.
      onnxruntime: cached > 0 && size % 8 === 0 && !form.rotary,
      ...(form.dynamic
        ? {
            dims: {
              0: ["b", "s", N * size],
              1: ["b", "s", KV * size],
              2: ["b", "s", KV * size],
              3: ["b", KV, "past", width],
              4: ["b", KV, "past", width],
              5: ["b"],
            },
          }
        : {}),
    });
  });

  it("of keys in 8-bit floats, which are stored as they are where the scale allows", async () => {
    const d = draws(31);
    const size = 8;
    const q = d.floats([1, 1, N * size]);
    // Multiples of 1/8 up to 1 have at most 3 bits of mantissa; ¼ of them is exact in the cache.
    const grid = (seed: number) => byIndex([1, 1, KV * size], (_b, _s, i) => (((i * 7 + seed) % 15) - 7) / 8);
    const [k, v] = [grid(1), grid(4)];
    const bitsOf = (x: number): number => {
      if (x === 0) return 0;
      const exponent = Math.floor(Math.log2(Math.abs(x)));
      return (x < 0 ? 128 : 0) + (exponent + 7) * 8 + (Math.abs(x) / 2 ** exponent - 1) * 8;
    };
    const old = byIndex([1, KV, 2, size], (_b, h, j, i) => (((i * 5 + h + 3 * j) % 15) - 7) / 2);
    const cache = tensorFrom("f8e4m3fn", [1, KV, 2, size], [...(old.data as Float32Array)]);
    expect([...cache.data].slice(0, 4)).toEqual([...(old.data as Float32Array)].slice(0, 4).map(bitsOf));
    const scale = 0.25;
    const whole = (now: Tensor) =>
      byIndex([1, KV, 3, size], (_b, h, j, i) => (j < 2 ? at(old)(0, h, j, i) * scale : at(now)(0, 0, h * size + i)));
    const stored = (now: Tensor) => {
      const all = whole(now).data as Float32Array;
      return tensorFrom(
        "f8e4m3fn",
        [1, KV, 3, size],
        [...all].map((x) => x / scale),
      );
    };
    await checkOp({
      op: "GroupQueryAttention",
      inputs: [
        q,
        k,
        v,
        cache,
        cache,
        i32([1], [2]),
        i32([], [3]),
        ...Array<undefined>(5),
        f32([1], [scale]),
        f32([1], [scale]),
      ],
      attrs: {
        num_heads: N,
        kv_num_heads: KV,
        k_quant_type: text("PER_TENSOR"),
        v_quant_type: text("PER_TENSOR"),
        kv_cache_bit_width: 8,
      },
      want: [
        attend({ q: heads(q, N, size), k: whole(k), v: whole(v), scale: 1 / Math.sqrt(size) }),
        stored(k),
        stored(v),
      ],
      onnxruntime: false,
    });
  });

  it.each([true, false])("normalises heads before it turns them, looking back only: %s", async (causal) => {
    const d = draws(8);
    const [batch, rows, size] = [2, 3, 8];
    const [q, k, v] = [N, KV, KV].map((n) => d.floats([batch, rows, n * size])) as [Tensor, Tensor, Tensor];
    const [qNorm, kNorm] = [d.positive([size]), d.positive([size])];
    const [cos, sin] = [d.floats([6, size / 2]), d.floats([6, size / 2])];
    const epsilon = 0.01;
    const normed = (x: Tensor, weight: Tensor) =>
      byIndex(x.shape, (b, h, s, i) => {
        const squares = sum(size, (j) => at(x)(b, h, s, j) ** 2) / size;
        return (at(x)(b, h, s, i) / Math.sqrt(squares + epsilon)) * at(weight)(i);
      });
    const turn = (x: Tensor) => rotated(x, cos, sin, (_b, s) => s, false);
    const [K, V] = [turn(normed(heads(k, KV, size), kNorm)), heads(v, KV, size)];
    await checkOp({
      op: "GroupQueryAttention",
      inputs: [
        q,
        k,
        v,
        undefined,
        undefined,
        i32([2], [2, 1]),
        i32([], [3]),
        cos,
        sin,
        ...Array<undefined>(5),
        qNorm,
        kNorm,
      ],
      attrs: { num_heads: N, kv_num_heads: KV, do_rotary: 1, qk_norm_epsilon: float(epsilon), causal: causal ? 1 : 0 },
      want: [
        attend({
          q: turn(normed(heads(q, N, size), qNorm)),
          k: K,
          v: V,
          scale: 1 / Math.sqrt(size),
          bias: (b, _h, s, j) => (j >= 3 - b || (causal && j > s) ? NONE : 0),
        }),
        K,
        V,
      ],
      // Its wasm build has no norms of heads.
      onnxruntime: false,
    });
  });

  it.each([
    [{ k_quant_type: text("PER_TENSOR") }, /k_quant_type is "PER_TENSOR", which needs the input k_scale/],
    [{ k_quant_type: text("PER_ROW") }, /"PER_ROW"; expected one of NONE, PER_TENSOR, PER_CHANNEL/],
    [
      { sliding_window_cache: 1, local_window_size: 2 },
      /drops old entries itself \(sliding_window_cache\) is not supported/,
    ],
    [{ causal: 0, local_window_size: 2 }, /local_window_size\) needs causal to be 1/],
    [{ qk_output: 1 }, /qk_output/],
  ] as const)("says what it does not take: %j", (attrs, message) => {
    const made = model({
      input: [tensorInfo("q", [1, 1, 64]), tensorInfo("n", [1], 6), tensorInfo("t", [], 6)],
      output: [tensorInfo("y", undefined)],
      node: [
        node(
          "GroupQueryAttention",
          ["q", "", "", "", "", "n", "t"],
          ["y"],
          { num_heads: N, kv_num_heads: KV, ...attrs },
          {
            domain: "com.microsoft",
          },
        ),
      ],
    });
    made.opsetImport!.push({ domain: "com.microsoft", version: 1 });
    expect(() => importOnnx(encodeModel(made))).toThrow(message);
  });
});

describe("SparseAttention", () => {
  // The layouts of its documentation: blocks of queries × blocks of keys.
  const masks = [
    [
      [1, 0, 0, 0],
      [1, 1, 0, 0],
      [0, 1, 1, 0],
      [0, 1, 1, 1],
    ],
    [
      [1, 0, 0, 0],
      [1, 1, 0, 0],
      [1, 1, 1, 0],
      [1, 0, 1, 1],
    ],
  ];
  const rowPointers = i32([2, 5], [0, 1, 3, 5, 8, 0, 1, 3, 6, 9]);
  const columnIndices = i32([2, 9], [0, 0, 1, 1, 2, 1, 2, 3, -1, 0, 0, 1, 0, 1, 2, 0, 2, 3]);
  const [block, size] = [16, 8];

  it.each([
    ["a prompt", { batch: 2, rows: 50, lengths: [50, 37] }],
    ["a step", { batch: 2, rows: 1, lengths: [61, 33] }],
    ["several steps", { batch: 1, rows: 5, lengths: [50] }],
    ["operands in one tensor, turned by pairs", { batch: 1, rows: 3, lengths: [36], packed: true, pairs: true }],
    ["indices that are data", { batch: 1, rows: 40, lengths: [40], data: true }],
    ["sizes that only the run knows", { batch: 2, rows: 2, lengths: [61, 34], dynamic: true }],
  ] as const)("%s", async (_, form) => {
    const {
      batch,
      rows,
      lengths,
      packed = false,
      pairs = false,
      data = false,
      dynamic = false,
    } = {
      packed: false,
      pairs: false,
      data: false,
      dynamic: false,
      ...form,
    };
    const cached = 64;
    const d = draws(rows);
    const total = Math.max(...lengths);
    const [q, k, v] = [N, KV, KV].map((n) => d.floats([batch, rows, n * size])) as [Tensor, Tensor, Tensor];
    const together = byIndex([batch, rows, (N + 2 * KV) * size], (b, s, i) =>
      i < N * size
        ? at(q)(b, s, i)
        : i < (N + KV) * size
          ? at(k)(b, s, i - N * size)
          : at(v)(b, s, i - (N + KV) * size),
    );
    const [pastK, pastV] = [d.floats([batch, KV, cached, size]), d.floats([batch, KV, cached, size])];
    const past = (b: number) => (rows === total ? 0 : lengths[b]! - rows);
    const [cos, sin] = [d.floats([cached, size / 2]), d.floats([cached, size / 2])];
    const turn = (x: Tensor) => (pairs ? rotated(x, cos, sin, (b, s) => past(b) + s, true) : x);
    const joined = (old: Tensor, now: Tensor) =>
      byIndex([batch, KV, cached, size], (b, h, j, i) => {
        if (j < past(b)) return at(old)(b, h, j, i);
        return j < past(b) + rows ? at(now)(b, h, j - past(b), i) : 0;
      });
    const [K, V] = [joined(pastK, turn(heads(k, KV, size))), joined(pastV, heads(v, KV, size))];
    const y = attend({
      q: turn(heads(q, N, size)),
      k: K,
      v: V,
      scale: 0.3,
      bias: (b, h, s, j) => {
        const row = past(b) + s;
        const seen = masks[h % 2]![Math.floor(row / block)]![Math.floor(j / block)] === 1;
        return j > row || j >= lengths[b]! || !seen ? NONE : 0;
      },
    });
    await checkOp({
      op: "SparseAttention",
      inputs: [
        ...(packed ? [together, undefined, undefined] : [q, k, v]),
        ...[pastK, pastV, rowPointers, columnIndices, i32([1], [total]), i32([batch], lengths)],
        ...(pairs ? [cos, sin] : []),
      ],
      constants: data ? [] : [5, 6],
      attrs: {
        num_heads: N,
        kv_num_heads: KV,
        sparse_block_size: block,
        scale: float(0.3),
        do_rotary: pairs ? 1 : 0,
        rotary_interleaved: pairs ? 1 : 0,
      },
      want: [y, K, V],
      // ONNX Runtime takes it only where the caches of before and after are one buffer.
      onnxruntime: false,
      ...(dynamic
        ? {
            dims: {
              0: ["b", "s", N * size],
              1: ["b", "s", KV * size],
              2: ["b", "s", KV * size],
              3: ["b", KV, "cache", size],
              4: ["b", KV, "cache", size],
              8: ["b"],
            },
          }
        : {}),
    });
  });
});
