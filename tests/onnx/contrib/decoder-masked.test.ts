/** Single steps of decoders: over caches that grow, buffers with a count, keys of another layer, beams. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../compiler/onnx/import.js";
import { encodeModel } from "../../../compiler/onnx/protobuf.js";
import type { Tensor } from "../../../ir/tensor.js";
import { model, node, tensorInfo } from "../build.js";
import { at, byIndex, checkOp, draws, f32, float, i32 } from "./check.js";
import { attend, heads, sum } from "./formulas.js";

const [N, H] = [2, 4];
const WIDTH = N * H;
const FILLER = -20;

interface Form {
  readonly batch: number;
  readonly past: number;
  /** Length of the buffer; none where the cache is as long as what it holds. */
  readonly buffer?: number;
  readonly mask?: boolean;
  readonly bias?: boolean;
  readonly packed?: boolean;
  readonly projected?: boolean;
  readonly beams?: number;
  readonly dynamic?: boolean;
}
const forms: readonly (readonly [string, Form])[] = [
  ["a cache that grows", { batch: 2, past: 3 }],
  ["a cache that grows, mask and bias", { batch: 2, past: 3, mask: true, bias: true }],
  ["a cache of sizes that only the run knows", { batch: 2, past: 3, mask: true, dynamic: true }],
  ["a buffer", { batch: 2, past: 3, buffer: 6 }],
  ["a buffer that is empty", { batch: 2, past: 0, buffer: 6 }],
  ["a buffer that gets full", { batch: 1, past: 5, buffer: 6, packed: true }],
  ["a buffer, mask and bias", { batch: 2, past: 3, buffer: 6, mask: true, bias: true, projected: true }],
  ["a buffer of a size that only the run knows", { batch: 2, past: 3, buffer: 6, mask: true, dynamic: true }],
  ["beams over a buffer", { batch: 6, past: 4, buffer: 7, beams: 3, mask: true }],
];

/** What a step gives, by the formula. */
function stepOf({ batch, past, buffer, mask: masked, bias: biased, beams }: Form, operands: readonly Tensor[]) {
  const d = draws(past + 77);
  const total = past + 1;
  const columns = buffer ?? total;
  const [pastKey, pastValue] = [0, 1].map(() => d.floats([batch, N, buffer ?? past, H])) as [Tensor, Tensor];
  const mask = i32(
    [batch, total],
    Array.from({ length: batch * total }, (_, i) => (i % 3 === 1 ? 0 : 1)),
  );
  const bias = d.floats([1, N, 1, total]);
  const source = (b: number, j: number) => (b * 2 + j) % (beams ?? 1);
  const indirection = beams
    ? i32(
        [batch / beams, beams, columns],
        Array.from({ length: batch * columns }, (_, i) => source(Math.floor(i / columns), i % columns)),
      )
    : undefined;
  const [q, k, v] = operands.map((x) => heads(x, N, H)) as [Tensor, Tensor, Tensor];
  const put = (old: Tensor, now: Tensor) =>
    byIndex([batch, N, columns, H], (b, h, j, i) => (j === past ? at(now)(b, h, 0, i) : at(old)(b, h, j, i)));
  const [key, value] = [put(pastKey, k), put(pastValue, v)];
  const read = (x: Tensor) =>
    byIndex([batch, N, total, H], (b, h, j, i) => {
      const from = beams && j < past ? Math.floor(b / beams) * beams + source(b, j) : b;
      return at(x)(from, h, j, i);
    });
  const term = (b: number, h: number, j: number) =>
    (masked && at(mask)(b, j) === 0 ? FILLER : 0) + (biased ? at(bias)(0, h, 0, j) : 0);
  const scale = 0.4;
  const [seenKey, seenValue] = [read(key), read(value)];
  const y = attend({ q, k: seenKey, v: seenValue, scale, bias: (b, h, _s, j) => term(b, h, j) });
  const scores = byIndex(
    [batch, N, 1, total],
    (b, h, _s, j) => scale * sum(H, (i) => at(q)(b, h, 0, i) * at(seenKey)(b, h, j, i)) + term(b, h, j),
  );
  return { pastKey, pastValue, mask, bias, indirection, key, value, y, scores };
}

describe("DecoderMaskedMultiHeadAttention", () => {
  it.each(forms)("over %s", async (_, form) => {
    const { batch, past, buffer, packed, projected, beams, dynamic } = form;
    const d = draws(past);
    const given = [0, 1, 2].map(() => d.floats([batch, 1, WIDTH])) as [Tensor, Tensor, Tensor];
    const shift = d.floats([3 * WIDTH]);
    const operands = projected
      ? given.map((x, part) => byIndex(x.shape, (b, s, i) => at(x)(b, s, i) + at(shift)(part * WIDTH + i)))
      : given;
    const want = stepOf(form, operands);
    const together = byIndex([batch, 1, 3 * WIDTH], (b, s, i) => at(given[Math.floor(i / WIDTH)]!)(b, s, i % WIDTH));
    await checkOp({
      op: "DecoderMaskedMultiHeadAttention",
      inputs: [
        ...(packed ? [together, undefined, undefined] : given),
        form.mask ? want.mask : undefined,
        form.bias ? want.bias : undefined,
        want.pastKey,
        want.pastValue,
        buffer ? i32([1], [past]) : undefined,
        beams ? i32([1], [beams]) : undefined,
        want.indirection,
        projected ? shift : undefined,
      ],
      attrs: {
        num_heads: N,
        scale: float(0.4),
        mask_filter_value: float(FILLER),
        past_present_share_buffer: buffer ? 1 : 0,
        output_qk: 1,
      },
      want: [want.y, want.key, want.value, want.scores],
      // ONNX Runtime's CPU takes buffers only, leaves its memory with empty ones and with packed operands, and reads beams by the
      // wrong index.
      onnxruntime: buffer !== undefined && past > 0 && !packed && !beams,
      ...(dynamic
        ? {
            dims: {
              0: ["b", "s", WIDTH],
              1: ["b", "s", WIDTH],
              2: ["b", "s", WIDTH],
              3: ["b", "total"],
              5: ["b", N, "past", H],
              6: ["b", N, "past", H],
            },
          }
        : {}),
    });
  });

  it("with keys of another layer", async () => {
    const d = draws(3);
    const [batch, keys] = [2, 5];
    const q = d.floats([batch, 1, WIDTH]);
    const [k, v] = [d.floats([batch, N, keys, H]), d.floats([batch, N, keys, H])];
    const mask = i32([batch, keys], [1, 1, 0, 1, 1, 1, 0, 0, 1, 1]);
    const term = (b: number, j: number) => (at(mask)(b, j) === 0 ? FILLER : 0);
    const scale = 1 / Math.sqrt(H);
    const own = heads(q, N, H);
    await checkOp({
      op: "DecoderMaskedMultiHeadAttention",
      inputs: [q, k, v, mask],
      attrs: { num_heads: N, mask_filter_value: float(FILLER), output_qk: 1 },
      want: [attend({ q: own, k, v, scale, bias: (b, _h, _s, j) => term(b, j) })],
    });
  });

  it.each([
    [{ past_present_share_buffer: 1 }, [1, 1, WIDTH], /needs the input past_sequence_length/],
    [{}, [1, 2, WIDTH], /input 0 should be \[batch, 1, features\], but is f32\[1,2,8\]/],
  ] as const)("says what it does not take: %j", (attrs, query, message) => {
    const made = model({
      input: [
        ...["q", "k", "v"].map((name) => tensorInfo(name, [...query])),
        ...["pk", "pv"].map((name) => tensorInfo(name, [1, N, 3, H])),
      ],
      output: [tensorInfo("y", undefined)],
      node: [
        node(
          "DecoderMaskedMultiHeadAttention",
          ["q", "k", "v", "", "", "pk", "pv"],
          ["y"],
          { num_heads: N, ...attrs },
          { domain: "com.microsoft" },
        ),
      ],
    });
    made.opsetImport!.push({ domain: "com.microsoft", version: 1 });
    expect(() => importOnnx(encodeModel(made))).toThrow(message);
  });
});

describe("DecoderMaskedSelfAttention", () => {
  it.each(forms.filter(([, f]) => !f.packed && !f.projected && !f.dynamic))("over %s", async (_, form) => {
    const { batch, past, buffer, beams } = form;
    const d = draws(past + 5);
    const inner = 3;
    const [x, weights, shift] = [d.floats([batch, 1, inner]), d.floats([inner, 3 * WIDTH]), d.floats([3 * WIDTH])];
    const operands = [0, 1, 2].map((part) =>
      byIndex([batch, 1, WIDTH], (b, s, i) => {
        const column = part * WIDTH + i;
        return at(shift)(column) + sum(inner, (j) => at(x)(b, s, j) * at(weights)(j, column));
      }),
    );
    const want = stepOf(form, operands);
    const both = (key: Tensor, value: Tensor) =>
      f32([2, ...key.shape], [...(key.data as Float32Array), ...(value.data as Float32Array)]);
    await checkOp({
      op: "DecoderMaskedSelfAttention",
      inputs: [
        ...[x, weights, shift],
        form.mask ? want.mask : undefined,
        both(want.pastKey, want.pastValue),
        form.bias ? want.bias : undefined,
        i32([1], [past]),
        beams ? i32([1], [beams]) : undefined,
        want.indirection,
      ],
      constants: [1, 2],
      attrs: {
        num_heads: N,
        scale: float(0.4),
        mask_filter_value: float(FILLER),
        past_present_share_buffer: buffer ? 1 : 0,
      },
      want: [want.y, both(want.key, want.value)],
      // It has no kernel for CPUs.
      onnxruntime: false,
    });
  });
});
