/** Weights of a few bits, quantised in blocks: MatMulNBits, MatMulBnb4, GatherBlockQuantized. */
import {
  asType,
  expandDims,
  np,
  rankOf,
  repeatElements,
  reshapeTo,
  sliceAxis,
  swapAxes,
} from "../../../../ir/build.js";
import { dimMul } from "../../../../ir/dim.js";
import type { Value } from "../../../../ir/graph.js";
import { gather } from "../../../../ir/ops/indexing.js";
import { tensorFrom, toNumbers } from "../../../../ir/tensor.js";
import { host } from "../../build.js";
import type { ImportOp, NodeContext, OpRow } from "../../context.js";
import { matmul } from "../products.js";
import { withBias } from "./common.js";

/** u8[…, n] as i32[…, n · 8 / bits]: the fields of each byte, the lowest bits first. */
export function unpackedFields(packed: Value, bits: number): Value {
  const wide = asType(packed, "i32");
  const fields = 8 / bits;
  if (fields === 1) return wide;
  const shifts = host(
    tensorFrom(
      "i32",
      [fields],
      Array.from({ length: fields }, (_, i) => 2 ** (i * bits)),
    ),
  );
  const apart = np.rem(np.div(expandDims(wide, -1), shifts), 2 ** bits);
  const { shape } = packed.type;
  return reshapeTo(apart, [...shape.slice(0, -1), dimMul(shape.at(-1)!, fields)]);
}

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

/** Weights [K, N] that are unpacked when compiling. */
function constantWeights(c: NodeContext, { K, N, bits, block, blocks }: Blocks): Value | undefined {
  const [packed, scales, zeros, groups] = [1, 2, 3, 4].map((i) => (c.has(i) ? c.constant(i) : undefined));
  if (!packed || !scales || (c.has(3) && !zeros) || (c.has(4) && !groups)) return undefined;
  const field = (data: ArrayLike<number | bigint>, rowBytes: number, row: number, i: number): number =>
    (Number(data[row * rowBytes + Math.floor((i * bits) / 8)]) >> ((i * bits) % 8)) & (2 ** bits - 1);
  const packedZeros = zeros?.dtype === "u8" ? zeros.data : undefined;
  const floatZeros = zeros && !packedZeros ? toNumbers(zeros) : undefined;
  const scale = toNumbers(scales);
  if (packed.data.length * 8 < N * blocks * block * bits || scale.length < N * blocks)
    throw c.error(
      `its weights have ${packed.data.length} bytes and ${scale.length} scales, too few for K = ${K}, N = ${N}`,
    );
  const weight = new Float32Array(K * N);
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  for (let n = 0; n < N; n++)
    for (let k = 0; k < K; k++) {
      const b = groups ? Number(groups.data[k]) : Math.floor(k / block);
      const zero = floatZeros
        ? floatZeros[n * blocks + b]!
        : packedZeros
          ? field(packedZeros, zeroBytes, n, b)
          : 2 ** (bits - 1);
      weight[k * N + n] = (field(packed.data, (blocks * block * bits) / 8, n, k) - zero) * scale[n * blocks + b]!;
    }
  return host(tensorFrom("f32", [K, N], weight));
}

/** Weights [K, N] that the program unpacks. */
function computedWeights(c: NodeContext, { K, N, bits, block, blocks }: Blocks): Value {
  if (c.has(4)) throw c.error("a group index (g_idx) needs weights that are constants");
  const fields = asType(unpackedFields(reshapeTo(c.input(1), [N, blocks, (block * bits) / 8]), bits), "f32");
  const scales = asType(reshapeTo(c.input(2), [N, blocks, 1]), "f32");
  const given = c.optional(3);
  const zeros = given && given.type.dtype === "u8" ? unpackedZeros(given, N, blocks, bits) : given;
  const shift = zeros ? asType(reshapeTo(zeros, [N, blocks, 1]), "f32") : 2 ** (bits - 1);
  const rows = reshapeTo(np.mul(np.sub(fields, shift), scales), [N, blocks * block]);
  return swapAxes(sliceAxis(rows, 1, 0, K), 0, 1);
}

function unpackedZeros(zeros: Value, rows: number, blocks: number, bits: number): Value {
  const bytes = Math.ceil((blocks * bits) / 8);
  return sliceAxis(unpackedFields(reshapeTo(zeros, [rows, bytes]), bits), 1, 0, blocks);
}

const matMulNBits: ImportOp = (c) => {
  const form = readBlocks(c);
  const a = c.input(0);
  const weight = constantWeights(c, form) ?? computedWeights(c, form);
  return withBias(matmul(a, asType(weight, a.type.dtype)), c.optional(5));
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
  const [packed, largest] = [c.constant(1), c.constant(2)];
  if (!packed || !largest) throw c.error("its weights should be constants");
  const most = toNumbers(largest);
  if (packed.data.length * 2 < N * K || most.length * block < N * K)
    throw c.error(`its weights have ${packed.data.length} bytes and ${most.length} blocks, too few for ${N} × ${K}`);
  const weight = new Float32Array(K * N);
  for (let i = 0; i < N * K; i++) {
    const byte = Number(packed.data[i >> 1]);
    const code = i % 2 === 0 ? byte >> 4 : byte & 15;
    weight[(i % K) * N + Math.floor(i / K)] = levels[code]! * most[Math.floor(i / block)]!;
  }
  const a = c.input(0);
  return matmul(a, asType(host(tensorFrom("f32", [K, N], weight)), a.type.dtype));
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
