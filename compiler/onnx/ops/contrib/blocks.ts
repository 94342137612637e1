/** Weights of a few bits, quantised in blocks: MatMulNBits, MatMulBnb4, GatherBlockQuantized. */
import {
  asType,
  flip,
  np,
  padConstant,
  rankOf,
  repeatElements,
  reshapeTo,
  sliceAxis,
  swapAxes,
} from "../../../../ir/build.js";
import { type Dim, dimText } from "../../../../ir/dim.js";
import { isStaticShape, type Value } from "../../../../ir/graph.js";
import { gather } from "../../../../ir/ops/indexing.js";
import { dequantize, unpackedFields } from "../../../../ir/ops/quantized.js";
import { elementCount, tensorFrom } from "../../../../ir/tensor.js";
import { host } from "../../build.js";
import type { ImportOp, NodeContext, OpRow } from "../../context.js";
import { matmul } from "../products.js";
import { withBias } from "./common.js";

interface Blocks {
  readonly K: number;
  readonly N: number;
  readonly bits: number;
  readonly block: number;
  /** Blocks of a column. */
  readonly blocks: number;
}

function readBlocks(c: NodeContext): Blocks {
  const [K, N] = [c.attrs.requiredInt("K"), c.attrs.requiredInt("N")];
  const bits = c.attrs.int("bits", 4);
  const block = c.attrs.requiredInt("block_size");
  if (![2, 4, 8].includes(bits)) throw c.error(`weights of ${bits} bits are not supported (2, 4 or 8)`);
  return { K, N, bits, block, blocks: Math.ceil(K / block) };
}

/**
 * Weights [K, N], unpacked by the program: constants stay as small as they are in the file. Bytes hold fields of `bits`, rows of
 * [N, blocks · block], or of any length where `g_idx` says which block each row of K is in.
 */
function unpackedWeights(c: NodeContext, { K, N, bits, block, blocks }: Blocks): Value {
  const groups = c.optional(4);
  const [packed, scale] = [c.input(1), c.input(2)];
  for (const [t, least, what] of [
    [packed, (N * blocks * block * bits) / 8, "bytes"],
    [scale, N * blocks, "scales"],
  ] as const)
    if (isStaticShape(t.type.shape) && elementCount(t.type.shape) < least)
      throw c.error(`its weights have ${elementCount(t.type.shape)} ${what}, too few for K = ${K}, N = ${N}`);
  const given = c.optional(3);
  const isPacked = given?.type.dtype === "u8";
  const zeros = given && (isPacked ? unpackedZeros(given, N, blocks, bits) : reshapeTo(given, [N, blocks]));
  const bytes = reshapeTo(packed, [N, (blocks * block * bits) / 8]);
  const scales = asType(reshapeTo(scale, [N, blocks]), "f32");
  const middle = host(tensorFrom("u8", [1, 1], [2 ** (bits - 1)]));
  if (!groups) {
    const rows = dequantize([bytes, scales, zeros ?? middle], { bits, block });
    return swapAxes(sliceAxis(rows, 1, 0, K), 0, 1);
  }
  // What there is one of for each block meets the rows of K that are in it.
  const spread = (x: Value): Value => gather([asType(x, "f32"), groups], { axis: 1 });
  const fields = sliceAxis(asType(unpackedFields(bytes, bits), "f32"), 1, 0, K);
  const centred = np.sub(fields, zeros ? spread(zeros) : 2 ** (bits - 1));
  return swapAxes(np.mul(centred, spread(scales)), 0, 1);
}

/** Zero points of few bits, each row in whole bytes, as u8. */
function unpackedZeros(zeros: Value, rows: number, blocks: number, bits: number): Value {
  const bytes = Math.ceil((blocks * bits) / 8);
  return asType(sliceAxis(unpackedFields(reshapeTo(zeros, [rows, bytes]), bits), 1, 0, blocks), "u8");
}

const matMulNBits: ImportOp = (c) => {
  const form = readBlocks(c);
  const a = c.input(0);
  return withBias(matmul(a, asType(unpackedWeights(c, form), a.type.dtype)), c.optional(5));
};

/** The values of 4-bit codes of bitsandbytes: FP4 and NF4 (https://arxiv.org/abs/2305.14314, appendix E). */
const FP4 = [0, 0.00520833, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25];
const NF4 = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

/** Codes of all weights after each other, [N, K], the high half of a byte first, with a largest value a block. */
const matMulBnb4: ImportOp = (c) => {
  const [K, N] = [c.attrs.requiredInt("K"), c.attrs.requiredInt("N")];
  const block = c.attrs.requiredInt("block_size");
  const levels = c.attrs.requiredInt("quant_type") === 1 ? NF4 : [...FP4, ...FP4.map((v) => -v)];
  const [packed, largest] = [c.input(1), c.input(2)].map((x) => reshapeTo(x, [-1])) as [Value, Value];
  const [bytes, most] = [packed, largest].map((x) => x.type.shape[0]!) as [Dim, Dim];
  if (typeof bytes !== "number" || typeof most !== "number" || bytes * 2 < N * K || most * block < N * K)
    throw c.error(`its weights have ${dimText(bytes)} bytes and ${dimText(most)} blocks, too few for ${N} × ${K}`);
  const blocks = Math.ceil((N * K) / block);
  const lowFirst = reshapeTo(unpackedFields(packed, 4), [bytes, 2]);
  const codes = sliceAxis(reshapeTo(flip(lowFirst, 1), [bytes * 2]), 0, 0, N * K);
  const own = gather([host(tensorFrom("f32", [16], levels)), codes], { axis: 0 });
  const whole = padConstant(own, [0], [blocks * block - N * K]);
  const scales = reshapeTo(sliceAxis(asType(largest, "f32"), 0, 0, blocks), [blocks, 1]);
  const values = np.mul(reshapeTo(whole, [blocks, block]), scales);
  const weight = swapAxes(reshapeTo(sliceAxis(reshapeTo(values, [blocks * block]), 0, 0, N * K), [N, K]), 0, 1);
  const a = c.input(0);
  return matmul(a, asType(weight, a.type.dtype));
};

/** Rows of a table of few bits; the table stays packed, only what is taken is unpacked. */
const gatherBlockQuantized: ImportOp = (c) => {
  const [data, indices, scales] = [c.input(0), c.input(1), c.input(2)];
  const rank = rankOf(data);
  const bits = c.attrs.int("bits", 4);
  const block = c.attrs.int("block_size", 128);
  const axis = c.axis(c.attrs.int("gather_axis", 0), rank);
  const blocked = c.axis(c.attrs.int("quantize_axis", 1), rank);
  const isBytes = data.type.dtype === "u8";
  if (axis === blocked) throw c.error(`it gathers along axis ${axis}, which is quantised in blocks`);
  if (isBytes && bits < 8 && blocked !== rank - 1)
    throw c.error(`packed bytes should be quantised along their last axis, not ${blocked}`);
  const taken = (v: Value) => gather([v, indices], { axis });
  // The indices' axes stand where the gathered axis was.
  const at = blocked < axis ? blocked : blocked - 1 + rankOf(indices);
  const fields = (v: Value) => (isBytes ? unpackedFields(taken(v), bits) : asType(taken(v), "i32"));
  const values = fields(data);
  const length = values.type.shape[at]!;
  const spread = (v: Value): Value => sliceAxis(repeatElements(v, block, at), at, 0, length);
  const zeros = c.optional(3);
  const count = scales.type.shape[blocked]!;
  const shift = zeros ? spread(sliceAxis(fields(zeros), at, 0, count)) : isBytes ? 2 ** (bits - 1) : 0;
  const own = np.mul(asType(np.sub(values, shift), "f32"), asType(spread(taken(scales)), "f32"));
  return asType(own, scales.type.dtype);
};

export const blockRows: Readonly<Record<string, OpRow>> = {
  MatMulNBits: matMulNBits,
  MatMulBnb4: matMulBnb4,
  GatherBlockQuantized: gatherBlockQuantized,
};
