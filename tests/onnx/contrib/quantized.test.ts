/** Weights of few bits and products of bytes. */
import { describe, it } from "vitest";
import { type Tensor, tensorFrom } from "../../../ir/tensor.js";
import { at, byIndex, checkOp, draws, f32, i32, i64 } from "./check.js";
import { roundEven, sigmoid, sum } from "./formulas.js";

const d = draws(33);
const one = (dtype: "u8" | "i8", value: number) => tensorFrom(dtype, [], [value]);
/** Field i of a row of packed bytes, the lowest bits first. */
const field = (row: (byte: number) => number, bits: number, i: number) =>
  (row(Math.floor((i * bits) / 8)) >> ((i * bits) % 8)) & (2 ** bits - 1);

describe("weights in blocks", () => {
  const [N, block] = [5, 16];

  it.each([
    [2, 32],
    [4, 32],
    [4, 40],
    [8, 40],
  ])("MatMulNBits of %d bits, K = %d", async (bits, K) => {
    const blocks = Math.ceil(K / block);
    const [a, packed, scales] = [d.floats([3, K]), d.bytes([N, blocks, (block * bits) / 8]), d.positive([N * blocks])];
    const zeros = d.bytes([N * Math.ceil((blocks * bits) / 8)]);
    const groups = i32(
      [K],
      Array.from({ length: K }, (_, k) => (k * 7) % blocks),
    );
    const weight = (n: number, k: number, group: number, withZeros: boolean) => {
      const q = field((byte) => at(packed)(n, 0, byte), bits, k);
      const bytes = Math.ceil((blocks * bits) / 8);
      const zero = withZeros ? field((byte) => at(zeros)(n * bytes + byte), bits, group) : 2 ** (bits - 1);
      return (q - zero) * at(scales)(n * blocks + group);
    };
    const product = (group: (k: number) => number, withZeros: boolean) =>
      byIndex([3, N], (m, n) => sum(K, (k) => at(a)(m, k) * weight(n, k, group(k), withZeros)));
    const attrs = { K, N, bits, block_size: block };
    const inTurn = (k: number) => Math.floor(k / block);
    const tol = 1e-3;
    for (const constants of [[1, 2, 3], []]) {
      const inputs = [a, packed, scales, zeros];
      await checkOp({
        op: "MatMulNBits",
        inputs,
        constants,
        attrs,
        want: [product(inTurn, true)],
        tol,
        onnxruntime: false,
      });
    }
    const inputs = [a, packed, scales];
    await checkOp({ op: "MatMulNBits", inputs, constants: [1, 2], attrs, want: [product(inTurn, false)], tol });
    await checkOp({
      op: "MatMulNBits",
      inputs: [a, packed, scales, undefined, groups],
      constants: [1, 2, 4],
      attrs,
      want: [product((k) => at(groups)(k), false)],
      tol,
      onnxruntime: false,
    });
  });

  it.each([
    ["FP4", 0, 0b0011, 1],
    ["FP4", 0, 0b1101, -0.5],
    ["NF4", 1, 0b0000, -1],
    ["NF4", 1, 0b0111, 0],
  ])("MatMulBnb4 of %s codes", async (_, kind, code, value) => {
    const [a, largest] = [d.floats([2, 32]), d.positive([4])];
    const packed = tensorFrom("u8", [32], Array<number>(32).fill(code * 16 + code));
    await checkOp({
      op: "MatMulBnb4",
      inputs: [a, packed, largest],
      constants: [1, 2],
      attrs: { K: 32, N: 2, block_size: 16, quant_type: kind },
      want: [byIndex([2, 2], (m, n) => sum(32, (k) => at(a)(m, k) * value * at(largest)(n * 2 + Math.floor(k / 16))))],
    });
  });

  it.each([4, 8])("GatherBlockQuantized of bytes of %d bits", async (bits) => {
    const per = 8 / bits;
    const [V, D] = [6, 32];
    const [table, scales, zeros] = [d.bytes([V, D / per]), d.positive([V, D / block]), d.bytes([V, D / block / per])];
    const ids = i64([2, 2], [0, 5, 3, 3]);
    const taken = (withZeros: boolean) =>
      byIndex([2, 2, D], (p, q, i) => {
        const row = at(ids)(p, q);
        const zero = withZeros ? field((byte) => at(zeros)(row, byte), bits, Math.floor(i / block)) : 2 ** (bits - 1);
        return (field((byte) => at(table)(row, byte), bits, i) - zero) * at(scales)(row, Math.floor(i / block));
      });
    const attrs = { bits, block_size: block, gather_axis: 0, quantize_axis: 1 };
    const op = "GatherBlockQuantized";
    await checkOp({ op, inputs: [table, ids, scales, zeros], attrs, want: [taken(true)], onnxruntime: false });
    await checkOp({
      op,
      inputs: [table, ids, scales],
      attrs,
      constants: [0, 2],
      want: [taken(false)],
      onnxruntime: false,
    });
  });
});

describe("DynamicQuantizeLSTM", () => {
  /** As its definition says: rounded to 255 steps of its range with 0. */
  function rounded(values: readonly number[]): readonly number[] {
    const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
    const scale = high === low ? 1 : Math.fround((high - low) / 255);
    const zero = Math.min(255, Math.max(0, roundEven(-low / scale)));
    return values.map((v) => (Math.min(255, Math.max(0, roundEven(Math.fround(v / scale)) + zero)) - zero) * scale);
  }

  it.each(["forward", "reverse", "bidirectional"])("%s", async (direction) => {
    const directions = direction === "bidirectional" ? 2 : 1;
    const [steps, inputs, H] = [4, 3, 2];
    const x = d.floats([steps, 1, inputs]);
    const [w, r, b] = [
      d.bytes([directions, inputs, 4 * H], "i8"),
      d.bytes([directions, H, 4 * H], "i8"),
      d.floats([directions, 8 * H]),
    ];
    const [ws, rs] = [d.positive([directions], 0.01), d.positive([directions], 0.01)];
    const zeros = tensorFrom("i8", [directions], Array<number>(directions).fill(0));
    const seen = rounded([...x.data].map(Number));
    const hidden = new Map<string, number>();
    const last: { h: number[]; c: number[] }[] = [];
    for (let dir = 0; dir < directions; dir++) {
      let [h, c] = [Array<number>(H).fill(0), Array<number>(H).fill(0)];
      for (let k = 0; k < steps; k++) {
        const t = direction === "reverse" || dir === 1 ? steps - 1 - k : k;
        const before = rounded(h);
        const gate = (g: number, j: number) => {
          const column = g * H + j;
          const own = sum(inputs, (i) => seen[t * inputs + i]! * at(w)(dir, i, column)) * at(ws)(dir);
          const back = sum(H, (i) => before[i]! * at(r)(dir, i, column)) * at(rs)(dir);
          return own + back + at(b)(dir, column) + at(b)(dir, 4 * H + column);
        };
        const cell = c;
        c = c.map((_, j) => sigmoid(gate(2, j)) * cell[j]! + sigmoid(gate(0, j)) * Math.tanh(gate(3, j)));
        h = c.map((v, j) => sigmoid(gate(1, j)) * Math.tanh(v));
        for (const [j, v] of h.entries()) hidden.set(`${t} ${dir} ${j}`, v);
      }
      last.push({ h, c });
    }
    await checkOp({
      op: "DynamicQuantizeLSTM",
      inputs: [x, w, r, b, undefined, undefined, undefined, undefined, ws, zeros, rs, zeros],
      constants: [1, 2, 3, 8, 9, 10, 11],
      attrs: { hidden_size: H, direction },
      want: [
        byIndex([steps, directions, 1, H], (t, dir, _, j) => hidden.get(`${t} ${dir} ${j}`)!),
        byIndex([directions, 1, H], (dir, _, j) => last[dir]!.h[j]!),
        byIndex([directions, 1, H], (dir, _, j) => last[dir]!.c[j]!),
      ],
      // A step of what is rounded may fall the other way.
      tol: 4e-3,
    });
  });
});

describe("images of bytes with the channels last", () => {
  const x = d.bytes([1, 5, 5, 2]);

  it("are pooled", async () => {
    const y = byIndex([1, 2, 2, 2], (n, i, j, c) =>
      Math.max(...[0, 1, 2, 3].map((k) => at(x)(n, 2 * i + (k >> 1), 2 * j + (k & 1), c))),
    );
    await checkOp({
      op: "NhwcMaxPool",
      inputs: [x],
      attrs: { kernel_shape: [2, 2], strides: [2, 2] },
      want: [tensorFrom("u8", y.shape, [...y.data].map(Number))],
    });
  });

  it("are convolved", async () => {
    const w = d.bytes([3, 2, 3, 3], "i8");
    const [sx, sw, sy] = [0.02, 0.01, 0.3].map((s) => f32([], [s])) as [Tensor, Tensor, Tensor];
    const y = byIndex([1, 3, 3, 3], (n, i, j, o) => {
      const acc = sum(18, (k) => {
        const [c, p, q] = [k % 2, Math.floor(k / 6), Math.floor(k / 2) % 3];
        return (at(x)(n, i + p, j + q, c) - 100) * at(w)(o, c, p, q);
      });
      return Math.min(255, Math.max(0, roundEven(acc * ((at(sx)() * at(sw)()) / at(sy)())) + 128));
    });
    await checkOp({
      op: "QLinearConv",
      inputs: [x, sx, one("u8", 100), w, sw, one("i8", 0), sy, one("u8", 128)],
      constants: [1, 2, 3, 4, 5, 6, 7],
      attrs: { channels_last: 1 },
      want: [tensorFrom("u8", y.shape, [...y.data].map(Number))],
    });
  });
});
