/**
 * Random numbers. ONNX's own ops leave their stream open; Philox 4×32-10 written out in integers gives every runtime the numbers
 * that the IR defines.
 */

import { dimCeilDiv } from "../../../../ir/dim.js";
import type { Value } from "../../../../ir/graph.js";
import { productOf } from "../../../../ir/ops/movement.js";
import { int, type Ref, string } from "../draft.js";
import type { Emitter } from "../emitter.js";
import type { Row, SomeRows } from "./row.js";

const ROUNDS = 10;
const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57] as const;
const WEYL = [0x9e3779b9, 0xbb67ae85] as const;

/** Words are kept in u64; products are taken in i64, whose low 64 bits are the same, since runtimes lack Mul of u64. */
function words(e: Emitter) {
  const mask = e.scalar("u64", 0xffffffffn);
  const half = e.scalar("u64", 32n);
  const low = (x: Ref) => e.op("BitwiseAnd", [x, mask]);
  return {
    multiply(x: Ref, factor: number): { readonly high: Ref; readonly low: Ref } {
      const product = e.cast(e.op("Mul", [e.cast(x, "u64", "i64"), e.scalar("i64", factor)]), "i64", "u64");
      return { high: e.op("BitShift", [product, half], { direction: string("RIGHT") }), low: low(product) };
    },
    add: (x: Ref, n: number): Ref =>
      low(e.cast(e.op("Add", [e.cast(x, "u64", "i64"), e.scalar("i64", n)]), "i64", "u64")),
    xor: (...[first, ...rest]: readonly Ref[]): Ref => rest.reduce((a, b) => e.op("BitwiseXor", [a, b]), first!),
  };
}

const randomBits: Row<"randomBits"> = (e, node) => {
  const [key, counter] = node.operands as [Value, Value];
  const { shape } = node.attrs;
  const { multiply, add, xor } = words(e);
  const total = productOf(shape);
  const blocks = e.op("Range", [e.scalar("i64", 0), e.sizes.scalar(dimCeilDiv(total, 4)), e.scalar("i64", 1)]);
  const word = (v: Value, i: number) => e.op("Gather", [e.cast(e.ref(v), "u32", "u64"), e.ints([i])], { axis: int(0) });
  let [k0, k1] = [word(key, 0), word(key, 1)];
  let c: readonly [Ref, Ref, Ref, Ref] = [
    e.cast(blocks, "i64", "u64"),
    // Blocks are fewer than 2³²: their number has no high word. Zeros of its shape, for the concatenation.
    e.op("BitwiseAnd", [e.cast(blocks, "i64", "u64"), e.scalar("u64", 0n)]),
    word(counter, 0),
    word(counter, 1),
  ];
  for (let round = 0; round < ROUNDS; round++) {
    if (round > 0) [k0, k1] = [add(k0, WEYL[0]), add(k1, WEYL[1])];
    const a = multiply(c[0], MULTIPLIERS[0]);
    const b = multiply(c[2], MULTIPLIERS[1]);
    c = [xor(b.high, c[1], k0), b.low, xor(a.high, c[3], k1), a.low];
  }
  const columns = c.map((x) => e.op("Unsqueeze", [x, e.ints([1])]));
  const all = e.op("Reshape", [e.op("Concat", columns, { axis: int(1) }), e.ints([-1])]);
  const kept = e.op("Slice", [all, e.ints([0]), e.sizes.shape([total]), e.ints([0])]);
  return e.reshape(e.cast(kept, "u64", "u32"), shape);
};

export const random = {
  randomBits,
  randomNormal: "decompose",
  randomUniform: "decompose",
  bernoulli: "decompose",
  dropout: "decompose",
  idleDropout: (e, node) => {
    const x = node.operands[0]!;
    return e.op("Dropout", [e.ref(x), e.scalar("f32", node.attrs.probability)]);
  },
} satisfies SomeRows;
