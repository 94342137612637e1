/** How each op takes a batch of samples at once: see vectorize.ts. Total over the primitives, so that none is forgotten. */

import { moveAxis, reshapeTo } from "../../ir/build.js";
import { scanOp } from "../../ir/control-build.js";
import { type Dim, dimMul } from "../../ir/dim.js";
import type { Attrs, GraphNode, NodeOf, Value } from "../../ir/graph.js";
import { makeNode } from "../../ir/op.js";
import { type ElementwiseName, elementwiseNames } from "../../ir/ops/classes.js";
import { iota } from "../../ir/ops/constant.js";
import { type DotAttrs, dotGeneral, freeAxes } from "../../ir/ops/contraction.js";
import { mul } from "../../ir/ops/elementwise.js";
import { type AttrsOf, opOf, type PrimitiveName } from "../../ir/ops/index.js";
import { broadcast, concat, transpose } from "../../ir/ops/movement.js";

/** Operands of a node, of which one at least has an axis of samples, the first. */
export interface Batch {
  readonly size: Dim;
  readonly values: readonly Value[];
  readonly batched: readonly boolean[];
  /** The operands, each with the axis of samples. */
  readonly all: () => readonly Value[];
}

/** Results with the axis of samples; undefined where these operands have no such form. */
type Rule<N extends PrimitiveName> = (n: NodeOf<N, AttrsOf<N>>, b: Batch) => readonly Value[] | undefined;
type AnyRule = (n: GraphNode, b: Batch) => readonly Value[] | undefined;

/** The same op with other attributes. */
const again = (n: { readonly op: string }, operands: readonly Value[], attrs: unknown): readonly Value[] =>
  (makeNode(opOf(n as GraphNode), operands, attrs as Attrs) as unknown as GraphNode).results;

const later = (axes: readonly number[]) => axes.map((a) => a + 1);

const elementwise: AnyRule = (n, b) => again(n, b.all(), n.attrs);

/** Ops that work along axes. */
const alongAxis = (n: { readonly op: string; readonly attrs: { readonly axis: number } }, b: Batch) =>
  again(n, b.all(), { ...n.attrs, axis: n.attrs.axis + 1 });
const alongAxes = (n: { readonly op: string; readonly attrs: { readonly axes: readonly number[] } }, b: Batch) =>
  again(n, b.all(), { ...n.attrs, axes: later(n.attrs.axes) });

/** Images of all samples as one batch of images: what treats every image alike. */
function asImages(n: GraphNode, b: Batch, shared: readonly number[] = []): readonly Value[] | undefined {
  if (b.batched.some((is, i) => is && shared.includes(i))) return undefined;
  const all = b.all();
  const images = n.operands.map((_, i) => {
    if (shared.includes(i)) return b.values[i]!;
    const [size, count, ...rest] = all[i]!.type.shape as readonly [Dim, Dim, ...Dim[]];
    return reshapeTo(all[i]!, [dimMul(size, count), ...rest]);
  });
  return again(n, images, n.attrs).map((v, i) => reshapeTo(v, [b.size, ...n.results[i]!.type.shape]));
}

/** Sums over axes of one element are products without a sum. */
function outerProduct(a: Value, b: Value, attrs: DotAttrs): Value {
  const { batchA, batchB, contractA, contractB } = attrs;
  const [freeA, freeB] = [
    freeAxes(a.type.shape.length, batchA, contractA),
    freeAxes(b.type.shape.length, batchB, contractB),
  ];
  const sizes = (v: Value, axes: readonly number[]) => axes.map((x) => v.type.shape[x]!);
  const shape = [...sizes(a, batchA), ...sizes(a, freeA), ...sizes(b, freeB)];
  const ordered = (v: Value, axes: readonly number[]) => {
    const perm = [...axes, ...v.type.shape.map((_, x) => x).filter((x) => !axes.includes(x))];
    return reshapeTo(transpose([v], { perm }), sizes(v, axes));
  };
  const first = batchA.map((_, i) => i);
  const [middle, last] = [freeA.map((_, i) => first.length + i), freeB.map((_, i) => first.length + freeA.length + i)];
  return mul([
    broadcast([ordered(a, [...batchA, ...freeA])], { shape, axes: [...first, ...middle] }),
    broadcast([ordered(b, [...batchB, ...freeB])], { shape, axes: [...first, ...last] }),
  ]);
}

const dot: Rule<"dotGeneral"> = (n, { values, batched }) => {
  const [a, b] = values as readonly [Value, Value];
  const { batchA, batchB, contractA, contractB, ...more } = n.attrs;
  const free = freeAxes(n.operands[0]!.type.shape.length, batchA, contractA).length;
  if (batched[0] && batched[1]) {
    const attrs: DotAttrs = {
      ...more,
      batchA: [0, ...later(batchA)],
      batchB: [0, ...later(batchB)],
      contractA: later(contractA),
      contractB: later(contractB),
    };
    const isOuter =
      contractA.every((axis) => a.type.shape[axis + 1] === 1) && a.type.dtype === n.results[0]!.type.dtype;
    return [isOuter && a.type.dtype === b.type.dtype ? outerProduct(a, b, attrs) : dotGeneral([a, b], attrs)];
  }
  const attrs = batched[0]
    ? { ...n.attrs, batchA: later(batchA), contractA: later(contractA) }
    : { ...n.attrs, batchB: later(batchB), contractB: later(contractB) };
  const at = batched[0] ? batchA.length : batchA.length + free;
  return [moveAxis(dotGeneral([a, b], attrs), at, 0)];
};

/** The op for one sample after the other. */
const eachApart: AnyRule = (n, b) =>
  scanOp({ carried: [], inputs: b.all() }, (_, rows) => ({ carried: [], scanned: again(n, rows, n.attrs) })).scanned;

/** Index tuples with the sample in front. */
function withSample(indices: Value, size: Dim): Value {
  const { dtype, shape } = indices.type;
  const front = [...shape.slice(0, -1), 1];
  const sample = iota([], { dtype, shape: [size], axis: 0 });
  return concat([broadcast([sample], { shape: front, axes: [0] }), indices], { axis: shape.length - 1 });
}

const none = () => undefined;

const others = {
  constant: none,
  dimSize: none,
  iota: none,
  dotGeneral: dot,
  weightProduct: (n, b) =>
    b.batched.slice(1).some((x) => x) ? eachApart(n as GraphNode, b) : again(n, b.values, n.attrs),
  tiledAttention: (n, b) => again(n, b.all(), n.attrs),
  tiledAttentionGrad: (n, b) => again(n, b.all(), n.attrs),
  conv: (n, b) => asImages(n as GraphNode, b, [1]),
  convInputGrad: (n, b) => asImages(n as GraphNode, b, [1]),
  // Each sample's own kernel has its own sum over places, which fills the kernel's tiles.
  convWeightGrad: (n, b) => eachApart(n as GraphNode, b),
  maxPool: (n, b) => asImages(n as GraphNode, b),
  maxPoolGrad: (n, b) => asImages(n as GraphNode, b),
  maxPoolGather: (n, b) => asImages(n as GraphNode, b),
  windowSum: (n, b) => asImages(n as GraphNode, b),
  windowSumGrad: (n, b) => asImages(n as GraphNode, b),
  reshape: (n, b) => [reshapeTo(b.values[0]!, [b.size, ...n.attrs.shape])],
  transpose: (n, b) => again(n, b.values, { perm: [0, ...later(n.attrs.perm)] }),
  broadcast: (n, b) => again(n, b.values, { shape: [b.size, ...n.attrs.shape], axes: [0, ...later(n.attrs.axes)] }),
  slice: (n, b) => {
    const { starts, sizes, steps } = n.attrs;
    return again(n, b.values, { starts: [0, ...starts], sizes: [b.size, ...sizes], steps: [1, ...steps] });
  },
  updateSlice: (n, b) => again(n, b.all(), { ...n.attrs, starts: [0, ...n.attrs.starts] }),
  pad: (n, b) => {
    const { low, high, interior, value } = n.attrs;
    return again(n, b.values, { low: [0, ...low], high: [0, ...high], interior: [0, ...interior], value });
  },
  concat: alongAxis,
  sum: alongAxes,
  prod: alongAxes,
  reduceMax: alongAxes,
  reduceMin: alongAxes,
  any: alongAxes,
  all: alongAxes,
  argMax: alongAxis,
  argMin: alongAxis,
  cumSum: alongAxis,
  cumProd: alongAxis,
  sort: alongAxis,
  topK: alongAxis,
  gatherElements: alongAxis,
  scatterElements: alongAxis,
  checkIndices: (n, b) => again(n, b.values, n.attrs),
  gather: (n, b) => {
    const [x, indices] = b.values as readonly [Value, Value];
    if (!b.batched[1]) return again(n, [x, indices], { axis: n.attrs.axis + 1 });
    if (b.batched[0]) return undefined;
    return again(n, [x, indices], n.attrs).map((v) => moveAxis(v, n.attrs.axis, 0));
  },
  gatherND: (n, b) => again(n, b.all(), { batchDims: n.attrs.batchDims + 1 }),
  scatterND: (n, b) => {
    const [x, indices, updates] = b.all() as readonly [Value, Value, Value];
    return again(n, [x, withSample(indices, b.size), updates], n.attrs);
  },
  after: (n, b) => again(n, b.all(), n.attrs),
  // Streams of random numbers are no axis of one stream.
  randomBits: (n, b) => eachApart(n as GraphNode, b),
  // What finds a size may find another one in each sample.
  bindDim: none,
  range: none,
  nonZero: none,
  unique: none,
  nonMaxSuppression: none,
  if: none,
  loop: none,
  scan: none,
  fusion: none,
} as const satisfies { readonly [N in Exclude<PrimitiveName, ElementwiseName>]: Rule<N> };

const elementwiseOps: ReadonlySet<string> = new Set(elementwiseNames);

/** Undefined for composites. */
export function ruleOf(n: GraphNode): AnyRule | undefined {
  if (elementwiseOps.has(n.op)) return elementwise;
  return (others as Readonly<Record<string, AnyRule | undefined>>)[n.op];
}
