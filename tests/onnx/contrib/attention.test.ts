import { describe, it } from "vitest";
import type { Tensor } from "../../../ir/tensor.js";
import { at, byIndex, checkOp, draws, f32, float, i32, i64 } from "./check.js";
import { attend, heads, rotated, sigmoid, sum } from "./formulas.js";

const NONE = Number.NEGATIVE_INFINITY;
const [N, KV, H] = [4, 2, 8];
const scale = 1 / Math.sqrt(H);

describe("GroupQueryAttention", () => {
  interface Form {
    readonly batch: number;
    readonly rows: number;
    /** Entries of the given cache; none without one. */
    readonly cached?: number;
    /** Lengths of the sequences after this call. */
    readonly lengths: readonly number[];
    readonly packed?: boolean;
    readonly rotary?: "halves" | "pairs";
    readonly window?: number;
    readonly softcap?: number;
    readonly smooth?: boolean;
    readonly sink?: boolean;
    readonly bias?: boolean;
    readonly positions?: boolean;
    readonly onnxruntime?: boolean;
    readonly dynamic?: boolean;
  }
  const forms: readonly (readonly [string, Form])[] = [
    ["a first call", { batch: 2, rows: 3, lengths: [3, 3] }],
    ["a first call of sequences of two lengths", { batch: 2, rows: 3, lengths: [3, 2] }],
    ["one step behind a cache", { batch: 2, rows: 1, cached: 4, lengths: [5, 3] }],
    ["one step into a longer cache", { batch: 1, rows: 1, cached: 9, lengths: [6] }],
    ["several steps behind a cache", { batch: 1, rows: 3, cached: 4, lengths: [7], rotary: "halves" }],
    ["operands in one tensor", { batch: 2, rows: 1, cached: 4, lengths: [5, 5], packed: true }],
    ["rotary positions", { batch: 2, rows: 4, lengths: [4, 4], rotary: "halves" }],
    ["rotary positions of pairs", { batch: 2, rows: 1, cached: 4, lengths: [5, 3], rotary: "pairs" }],
    ["positions that are given", { batch: 1, rows: 3, lengths: [3], rotary: "halves", positions: true }],
    ["a window", { batch: 2, rows: 6, lengths: [6, 6], window: 3 }],
    ["a window of the cache", { batch: 1, rows: 1, cached: 8, lengths: [9], window: 2 }],
    ["a soft cap", { batch: 2, rows: 3, lengths: [3, 3], softcap: 0.5 }],
    ["a smooth softmax", { batch: 2, rows: 3, lengths: [3, 3], smooth: true }],
    ["a sink a head", { batch: 2, rows: 3, lengths: [3, 3], sink: true }],
    ["a bias", { batch: 2, rows: 1, cached: 4, lengths: [5, 5], bias: true }],
    [
      "sizes that only the run knows",
      { batch: 2, rows: 1, cached: 4, lengths: [5, 3], dynamic: true, rotary: "halves" },
    ],
  ];

  it.each(forms)("%s", async (_, form) => {
    const { batch, rows, cached = 0, lengths, window = -1, softcap = 0 } = form;
    const d = draws(form.rows * 100 + cached);
    const total = Math.max(...lengths);
    const columns = Math.max(cached, total);
    const [q, k, v] = [N, KV, KV].map((n) => d.floats([batch, rows, n * H])) as [Tensor, Tensor, Tensor];
    const packed = byIndex([batch, rows, (N + 2 * KV) * H], (b, s, i) =>
      i < N * H ? at(q)(b, s, i) : i < (N + KV) * H ? at(k)(b, s, i - N * H) : at(v)(b, s, i - (N + KV) * H),
    );
    const [pastK, pastV] = [0, 1].map(() => d.floats([batch, KV, Math.max(cached, 1), H])) as [Tensor, Tensor];
    const [cos, sin] = [d.floats([12, H / 2]), d.floats([12, H / 2])];
    const past = (b: number) => (rows === total ? 0 : lengths[b]! - rows);
    const given = i64(
      [batch, rows],
      Array.from({ length: batch * rows }, (__, i) => (i * 3) % 7),
    );
    const position = (b: number, s: number) => (form.positions ? at(given)(b, s) : past(b) + s);
    const turn = (x: Tensor) => (form.rotary ? rotated(x, cos, sin, position, form.rotary === "pairs") : x);
    const [Q, newK, newV] = [turn(heads(q, N, H)), turn(heads(k, KV, H)), heads(v, KV, H)];
    const joined = (old: Tensor, now: Tensor) =>
      byIndex([batch, KV, columns, H], (b, h, j, i) => {
        if (j < past(b)) return at(old)(b, h, j, i);
        return j < past(b) + rows ? at(now)(b, h, j - past(b), i) : 0;
      });
    const [K, V] = [joined(pastK, newK), joined(pastV, newV)];
    const bias = d.floats([1, N, 1, total]);
    const sink = d.floats([N]);
    const y = attend({
      q: Q,
      k: K,
      v: V,
      scale,
      softcap,
      bias: (b, h, s, j) => {
        const last = past(b) + s;
        if (j > last || j >= lengths[b]! || (window >= 0 && j <= last - window)) return NONE;
        return form.bias ? at(bias)(0, h, 0, j) : 0;
      },
      ...(form.sink ? { sink: (h: number) => at(sink)(h) } : form.smooth ? { sink: () => 0 } : {}),
    });
    await checkOp({
      op: "GroupQueryAttention",
      inputs: [
        ...(form.packed ? [packed, undefined, undefined] : [q, k, v]),
        ...(cached > 0 ? [pastK, pastV] : [undefined, undefined]),
        i32(
          [batch],
          lengths.map((n) => n - 1),
        ),
        i32([], [total]),
        ...(form.rotary ? [cos, sin] : [undefined, undefined]),
        form.positions ? given : undefined,
        form.bias ? bias : undefined,
        form.sink ? sink : undefined,
      ],
      attrs: {
        num_heads: N,
        kv_num_heads: KV,
        do_rotary: form.rotary ? 1 : 0,
        rotary_interleaved: form.rotary === "pairs" ? 1 : 0,
        local_window_size: window,
        ...(softcap > 0 ? { softcap: float(softcap) } : {}),
        ...(form.smooth ? { smooth_softmax: 1 } : {}),
      },
      want: [y, K, V],
      // ONNX Runtime asks for head sizes that are multiples of 16 with rotary positions.
      onnxruntime: !form.rotary,
      ...(form.dynamic
        ? {
            dims: {
              0: ["b", "s", N * H],
              1: ["b", "s", KV * H],
              2: ["b", "s", KV * H],
              3: ["b", KV, "past", H],
              4: ["b", KV, "past", H],
              5: ["b"],
            },
          }
        : {}),
    });
  });
});

describe("MultiHeadAttention", () => {
  const d = draws(5);
  const [batch, rows, keys] = [2, 3, 5];
  const [q, k, v] = [rows, keys, keys].map((n) => d.floats([batch, n, 2 * H])) as [Tensor, Tensor, Tensor];
  const bias = d.floats([6 * H]);
  const plus = (x: Tensor, from: number) => byIndex(x.shape, (b, s, i) => at(x)(b, s, i) + at(bias)(from + i));

  it("adds a bias to its operands", async () => {
    const [Q, K, V] = [plus(q, 0), plus(k, 2 * H), plus(v, 4 * H)].map((x) => heads(x, 2, H)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    await checkOp({
      op: "MultiHeadAttention",
      inputs: [q, k, v, bias],
      attrs: { num_heads: 2 },
      want: [attend({ q: Q, k: K, v: V, scale })],
    });
  });

  it("takes operands in one tensor", async () => {
    const packed = d.floats([batch, rows, 2, 3, H]);
    const part = (p: number) => byIndex([batch, 2, rows, H], (b, h, s, i) => at(packed)(b, s, h, p, i));
    await checkOp({
      op: "MultiHeadAttention",
      inputs: [packed],
      attrs: { num_heads: 2 },
      want: [attend({ q: part(0), k: part(1), v: part(2), scale })],
      onnxruntime: false,
    });
    const kv = d.floats([batch, keys, 2, 2, H]);
    const side = (p: number) => byIndex([batch, 2, keys, H], (b, h, s, i) => at(kv)(b, s, h, p, i));
    await checkOp({
      op: "MultiHeadAttention",
      inputs: [q, kv],
      attrs: { num_heads: 2 },
      want: [attend({ q: heads(q, 2, H), k: side(0), v: side(1), scale })],
      onnxruntime: false,
    });
  });

  it("masks keys, adds a bias to scores, and keeps a cache", async () => {
    const [pastK, pastV] = [d.floats([batch, 2, 4, H]), d.floats([batch, 2, 4, H])];
    const total = 4 + keys;
    const mask = i32(
      [batch, total],
      Array.from({ length: batch * total }, (_, i) => (i % 5 === 3 ? 0 : 1)),
    );
    const scores = d.floats([1, 2, rows, total]);
    const joined = (old: Tensor, x: Tensor) =>
      byIndex([batch, 2, total, H], (b, h, j, i) => (j < 4 ? at(old)(b, h, j, i) : at(x)(b, j - 4, h * H + i)));
    const [K, V] = [joined(pastK, k), joined(pastV, v)];
    const y = attend({
      q: heads(q, 2, H),
      k: K,
      v: V,
      scale: 0.4,
      bias: (b, h, s, j) => at(scores)(0, h, s, j) + (at(mask)(b, j) === 0 ? -10000 : 0),
    });
    await checkOp({
      op: "MultiHeadAttention",
      inputs: [q, k, v, undefined, mask, scores, pastK, pastV],
      attrs: { num_heads: 2, scale: float(0.4) },
      want: [y, K, V],
    });
  });
});

describe("Attention", () => {
  const d = draws(9);
  const [batch, rows] = [2, 3];
  const product = (x: Tensor, w: Tensor, b: Tensor) =>
    byIndex([batch, rows, w.shape[1]!], (n, s, i) => sum(w.shape[0]!, (k) => at(x)(n, s, k) * at(w)(k, i)) + at(b)(i));

  it("projects, masks by lengths and starts, and looks back only", async () => {
    const [x, w, b] = [d.floats([batch, rows, 6]), d.floats([6, 6 * H]), d.floats([6 * H])];
    const all = product(x, w, b);
    const lengths = i32([2 * batch], [2, 3, 1, 0]);
    const y = attend({
      q: heads(all, 2, H),
      k: heads(all, 2, H, 2 * H),
      v: heads(all, 2, H, 4 * H),
      scale,
      bias: (n, _h, s, j) => (j > s ? NONE : 0) + (j < at(lengths)(n) && j >= at(lengths)(batch + n) ? 0 : -10000),
    });
    await checkOp({
      op: "Attention",
      inputs: [x, w, b, lengths],
      attrs: { num_heads: 2, unidirectional: 1 },
      want: [y],
    });
  });

  it("takes values of another size", async () => {
    const [x, w, b] = [d.floats([batch, rows, 6]), d.floats([6, 4 * H + 8]), d.floats([4 * H + 8])];
    const all = product(x, w, b);
    const y = attend({ q: heads(all, 2, H), k: heads(all, 2, H, 2 * H), v: heads(all, 2, 4, 4 * H), scale });
    await checkOp({
      op: "Attention",
      inputs: [x, w, b],
      attrs: { num_heads: 2, qkv_hidden_sizes: [2 * H, 2 * H, 8] },
      want: [y],
    });
  });

  it("of bytes is the one of what they stand for", async () => {
    const [x, w, b] = [d.bytes([batch, rows, 6]), d.bytes([6, 6 * H], "i8"), d.floats([6 * H])];
    const real = (t: Tensor, s: number, z: number) => byIndex(t.shape, (...i) => (at(t)(...i) - z) * s);
    const all = product(real(x, 0.02, 7), real(w, 0.01, 3), b);
    const y = attend({ q: heads(all, 2, H), k: heads(all, 2, H, 2 * H), v: heads(all, 2, H, 4 * H), scale });
    const scalars = [f32([], [0.02]), f32([], [0.01])];
    const u8 = { dtype: "u8", shape: [], data: Uint8Array.of(7) } as Tensor;
    const i8 = { dtype: "i8", shape: [], data: Int8Array.of(3) } as Tensor;
    await checkOp({
      op: "QAttention",
      inputs: [x, w, b, ...scalars, undefined, u8, i8],
      attrs: { num_heads: 2 },
      want: [y],
    });
  });
});

describe("biases of relative positions", () => {
  it.each([true, false])("by T5's buckets, in both directions: %s", async (both) => {
    const [rows, columns, buckets, furthest] = [40, 30, 32, 20];
    const table = draws(3).floats([buckets, 2]);
    const half = both ? buckets / 2 : buckets;
    const bucket = (row: number, column: number) => {
      const away = column - row;
      const n = both ? Math.abs(away) : Math.max(-away, 0);
      const exact = half / 2;
      const far = exact + Math.floor((Math.log(n / exact) / Math.log(furthest / exact)) * (half - exact));
      return (n < exact ? n : Math.min(far, half - 1)) + (both && away > 0 ? half : 0);
    };
    await checkOp({
      op: "RelativePositionBias",
      inputs: [table, i64([1], [rows]), i64([1], [columns])],
      attrs: { max_distance: furthest, is_bidirectional: both ? 1 : 0 },
      want: [byIndex([1, 2, rows, columns], (_, h, r, c) => at(table)(bucket(r, c), h))],
      onnxruntime: false,
    });
  });

  it("gated by the query, as in WavLM", async () => {
    const d = draws(4);
    const [q, qb, rel] = [d.floats([2, 3, 2 * H]), d.floats([2 * H]), d.floats([1, 2, 3, 3])];
    const [w, b, eco] = [d.floats([H, 8]), d.floats([8]), d.floats([1, 2, 1, 1])];
    const gate = (n: number, h: number, s: number, half: number) =>
      sigmoid(
        sum(4, (j) => {
          const column = half * 4 + j;
          return sum(H, (i) => (at(q)(n, s, h * H + i) + at(qb)(h * H + i)) * at(w)(i, column)) + at(b)(column);
        }),
      );
    await checkOp({
      op: "GatedRelativePositionBias",
      inputs: [q, qb, rel, w, b, eco],
      attrs: { num_heads: 2 },
      want: [
        byIndex([2, 2, 3, 3], (n, h, s, j) => {
          const factor = gate(n, h, s, 0) * (gate(n, h, s, 1) * at(eco)(0, h, 0, 0) - 1) + 2;
          return factor * at(rel)(0, h, s, j);
        }),
      ],
      onnxruntime: false,
    });
  });
});
