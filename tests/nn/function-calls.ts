/** Calls of F that PyTorch has too, for tests; what PyTorch gives is in tests/fixtures/functions, made by its make.py. */
import { readFileSync } from "node:fs";
import { F } from "../../compiler/dsl/index.js";
import type { DType } from "../../ir/dtype.js";
import type { Value } from "../../ir/graph.js";

export interface Stored {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
}
export interface Case {
  readonly inputs: Readonly<Record<string, Stored>>;
  readonly outputs: readonly Stored[];
  readonly gradients: Readonly<Record<string, Stored>>;
}
const stored = JSON.parse(readFileSync(new URL("../fixtures/functions/functions.json", import.meta.url), "utf8")) as {
  readonly cases: Readonly<Record<string, Case>>;
};
/** What PyTorch gave. */
export const { cases } = stored;

type V = Readonly<Record<string, Value>>;
type Call = (v: V) => Value | readonly Value[];

const x =
  (call: (x: Value) => Value | readonly Value[]): Call =>
  (v) =>
    call(v.x!);
const xy =
  (call: (x: Value, y: Value) => Value | readonly Value[]): Call =>
  (v) =>
    call(v.x!, v.y!);
const xi =
  (call: (x: Value, i: Value) => Value | readonly Value[]): Call =>
  (v) =>
    call(v.x!, v.i!);
const xis =
  (call: (x: Value, i: Value, s: Value) => Value): Call =>
  (v) =>
    call(v.x!, v.i!, v.s!);
const triple = (x: Value): Value => x.mul(3);

const gridModes = { bilinear: "linear", nearest: "nearest", bicubic: "cubic" } as const;
const grids = Object.entries(gridModes).flatMap(([theirs, mode]) =>
  (["zeros", "border", "reflection"] as const).flatMap((padding) =>
    [false, true].map((align): [string, Call] => [
      `gridSample_${theirs}_${padding}_${align ? "True" : "False"}`,
      (v) => F.gridSample(v.x!, v.g!.mul(1.3), { mode, padding, alignCorners: align }),
    ]),
  ),
);
const norms = [0.5, 1, 2, 3, Infinity, -Infinity].map((p): [string, Call] => [
  `norm_${Math.abs(p) === Infinity ? (p > 0 ? "inf" : "-inf") : p}`,
  x((v) => v.norm(p, 1)),
]);

/** Each stored case as a call of F. */
export const calls: Readonly<Record<string, Call>> = {
  floorDivide: xy(F.floorDivide),
  floorDivide_int: x((v) => v.sub(5).floorDivide(3)),
  remainder: xy((a, b) => a.remainder(b.neg())),
  remainder_int: x((v) => v.sub(5).remainder(-3)),
  fmod: xy(F.fmod),
  div_int: x((v) => v.div(4).cast("f64")),
  logAddExp: xy(F.logAddExp),
  hypot: xy(F.hypot),
  lerp: xy((a, b) => a.lerp(b, 0.3)),
  addcmul: (v) => F.addcmul(v.x!, v.y!, v.z!, { value: 0.5 }),
  addcdiv: (v) => F.addcdiv(v.x!, v.y!, v.z!, { value: 0.5 }),
  clamp: x((v) => v.clamp(-0.5, 0.5)),
  isClose: x((v) => F.isClose(v, v.round(), 1e-5, 0.2)),
  nanToNum: x((v) => v.sub(0.8).log().nanToNum(2)),
  heaviside: x((v) => v.heaviside(0.5)),
  logicalXor: xy(F.logicalXor),
  maskedFill: (v) => v.x!.maskedFill(v.m!, -2),
  frac: x((v) => triple(v).frac()),
  exp2: x(F.exp2),
  log2: x(F.log2),
  log10: x(F.log10),
  xlogy: xy(F.xlogy),
  erfc: x(F.erfc),
  logit: x((v) => v.sub(0.3).logit(0.1)),
  deg2rad: x(F.deg2rad),
  rad2deg: x(F.rad2deg),
  act_relu6: x((v) => F.relu6(triple(v))),
  act_selu: x((v) => F.selu(triple(v))),
  act_silu: x((v) => F.silu(triple(v))),
  act_mish: x((v) => F.mish(triple(v))),
  act_softsign: x((v) => F.softsign(triple(v))),
  act_hardsigmoid: x((v) => F.hardsigmoid(triple(v))),
  act_hardswish: x((v) => F.hardswish(triple(v))),
  act_tanhshrink: x((v) => F.tanhshrink(triple(v))),
  act_logsigmoid: x((v) => F.logSigmoid(triple(v))),
  act_elu: x((v) => F.elu(triple(v))),
  act_celu: x((v) => F.celu(triple(v))),
  act_gelu: x((v) => F.gelu(triple(v))),
  act_softplus: x((v) => F.softplus(triple(v))),
  act_hardtanh: x((v) => F.hardtanh(triple(v))),
  act_hardshrink: x((v) => F.hardshrink(triple(v))),
  act_softshrink: x((v) => F.softshrink(triple(v))),
  act_leaky_relu: x((v) => F.leakyRelu(triple(v))),
  prelu: (v) => F.prelu(v.x!, v.w!),
  threshold: x((v) => F.threshold(v, 0.1, 20)),
  glu: x((v) => F.glu(v, 1)),
  softmin: x((v) => F.softmin(v, 0)),
  unflatten: x((v) => v.unflatten(1, [2, -1])),
  split: x((v) => v.split(3, 1)),
  split_sizes: x((v) => v.split([1, 4, 2], -1)),
  chunk: x((v) => v.chunk(3, 1)),
  unbind: x((v) => v.unbind(1)),
  slice: x((v) => v.slice(1, 1, -1, 2)),
  slice_clip: x((v) => v.slice(1, -100, 100)),
  roll: x((v) => v.roll([1, -2], [0, 1])),
  roll_flat: x((v) => v.roll(5)),
  flip: x((v) => v.flip(0, -1)),
  tile: x((v) => v.tile([2, 1, 3])),
  repeatInterleave: x((v) => v.repeatInterleave(2, 1)),
  repeatInterleave_flat: x((v) => v.repeatInterleave(3)),
  expand: x((v) => v.expand([2, -1, 4])),
  meshgrid: xy((a, b) => F.meshgrid(a, b)),
  tril: x((v) => v.tril(-1)),
  triu: x((v) => v.triu(1)),
  "diagonal_-2": x((v) => v.diagonal(-2)),
  diagonal_0: x((v) => v.diagonal()),
  diagonal_1: x((v) => v.diagonal(1)),
  diagEmbed: x(F.diagEmbed),
  windows: x((v) => v.windows(1, 3, 2)),
  movedim: x((v) => v.movedim(0, 2)),
  oneHot: (v) => F.oneHot(v.i!, 5, "f64"),
  linspace: () => F.linspace(-1, 2, 7, "f64"),
  logspace: () => F.logspace(-1, 1, 5).cast("f64"),
  arange: () => F.arange(1, 9, 3),
  arange_float: () => F.arange(0, 1, 0.25, "f64"),
  eye: () => F.eye(2, 3, "f64"),
  var: x((v) => v.var([0, 2])),
  std: x((v) => v.std(1, { correction: 0, keepDim: true })),
  ...Object.fromEntries(norms),
  norm_zero: x((v) => v.mul(0).norm(2, 1)),
  countNonzero: (v) => F.countNonzero(v.i!, 1),
  max: x((v) => v.max(1)),
  min_keep: x((v) => v.min(0, true)),
  kthvalue: x((v) => v.kthvalue(2, 1)),
  median: x((v) => v.median(1)),
  argMax_flat: x((v) => v.argMax()),
  sum_bool: (v) => v.m!.sum(0),
  gather: xi((v, i) => v.gather(1, i)),
  takeAlongDim: xi((v, i) => v.takeAlongDim(i, 1)),
  indexSelect: xi((v, i) => v.indexSelect(1, i)),
  take: xi((v, i) => v.take(i)),
  embedding_padding: (v) => F.embedding(v.i!, v.w!, 1),
  scatter: (v) =>
    v.x!.scatter(
      1,
      F.constant(
        [
          [0, 2],
          [3, 1],
        ],
        "i64",
      ),
      v.s!,
    ),
  scatterAdd: xis((v, i, s) => v.scatterAdd(1, i, s)),
  scatterReduce_prod: xis((v, i, s) => v.scatterReduce(1, i, s, "prod")),
  scatterReduce_amax: xis((v, i, s) => v.scatterReduce(1, i, s, "amax")),
  indexAdd: xis((v, i, s) => v.indexAdd(1, i, s)),
  indexCopy: (v) => v.x!.indexCopy(0, F.constant([2, 0], "i64"), v.s!),
  bincount: (v) => v.i!.bincount(6),
  bincount_weights: (v) => F.bincount(v.i!, 6, v.w!.detach()),
  searchSorted: (v) => F.searchSorted(v.x!.sort()[0], v.v!),
  sort: x((v) => v.sort(0, { descending: true })),
  topK: x((v) => v.topK(2, 1, { largest: false })),
  cumSum: x((v) => v.cumSum(1)),
  cumProd: x((v) => v.cumProd(1)),
  logCumSumExp: x((v) => v.logCumSumExp(1)),
  diff: x((v) => v.diff(0)),
  outer: xy(F.outer),
  addmm: (v) => F.addmm(v.x!, v.a!, v.b!, { beta: 0.5, alpha: 2 }),
  baddbmm: (v) => F.baddbmm(v.x!, v.a!, v.b!),
  tensordot: (v) =>
    F.tensordot(v.a!, v.b!, [
      [0, 2],
      [1, 0],
    ]),
  tensordot_2: (v) => F.tensordot(v.a!, v.b!),
  bilinear: (v) => F.bilinear(v.a!, v.b!, v.w!, v.c),
  trace: x(F.trace),
  normalize: x((v) => F.normalize(v)),
  cosineSimilarity: xy((a, b) => F.cosineSimilarity(a, b)),
  pairwiseDistance: xy((a, b) => F.pairwiseDistance(a, b, 1)),
  cdist: xy((a, b) => F.cdist(a, b)),
  cdist_same: x((v) => F.cdist(v, v.detach())),
  layerNorm: (v) => F.layerNorm(v.x!, [3, 4], v.w, v.b),
  groupNorm: (v) => F.groupNorm(v.x!, 2, v.w, v.b),
  instanceNorm: x((v) => F.instanceNorm(v)),
  batchNorm: (v) => F.batchNorm(v.x!, v.m!.detach(), v.v!.detach(), v.w, v.b),
  localResponseNorm: x((v) => F.localResponseNorm(v, 3, { alpha: 0.1 })),
  unfold: x((v) => F.unfold(v, [3, 2], { dilation: [1, 2], padding: 1, stride: 2 })),
  fold: x((v) => F.fold(v, [6, 7], [3, 2], { padding: 1, stride: [2, 1] })),
  lpPool: x((v) => F.lpPool(v, 2, 2)),
  pad: x((v) => F.pad(v, [1, 2, 0, 3], "constant", 0.5)),
  pad_circular: x((v) => F.pad(v, [1, 2, 2, 0], "circular")),
  pixelShuffle: x((v) => F.pixelShuffle(v, 2)),
  pixelUnshuffle: x((v) => F.pixelUnshuffle(v, 2)),
  channelShuffle: x((v) => F.channelShuffle(v, 2)),
  ...Object.fromEntries(grids.filter(([name]) => name in cases)),
  affineGrid: (v) => F.affineGrid(v.t!, [2, 1, 3, 4], true),
  attention: (v) => F.attention(v.q!, v.k!, v.v!, { mask: v.m!, causal: true }),
  rnnCell: (v) => F.rnnCell(v.x!, v.h!, v.a!, v.b!, v.c, v.d),
  lstmCell: (v) => F.lstmCell(v.x!, [v.h!, v.k!], v.a!, v.b!, v.c, v.d),
  gruCell: (v) => F.gruCell(v.x!, v.h!, v.a!, v.b!, v.c, v.d),
  crossEntropy: xi((v, i) => F.crossEntropy(v, F.where(i.eq(2), -100, i), { labelSmoothing: 0.1 })),
  klDiv: (v) => F.klDiv(F.logSoftmax(v.x!, 1), v.t!.detach(), { reduction: "sum" }),
  huberLoss: (v) => F.huberLoss(v.x!, v.t!.detach(), { delta: 0.7 }),
};
