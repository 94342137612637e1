/**
 * Transposed convolution by sub-pixel phases: with a stride s, a pixel of the result sees one of every s taps, and which ones is its place
 * modulo s, its phase. So phases are convolutions of stride 1 of dy, whose results are interleaved. Nothing is multiplied by inserted
 * zeros, and a single image fills tiles.
 *
 *   dx[s·t + a − shift] = Σ over j:  dy[t + f − j] · w[k + s·j]      a < s, k = (a + pad − shift) mod s, f = ⌊(a + pad − shift) / s⌋
 *
 * Phases of many channels are convolutions of their own (shift 0). Those of few are the channels of one, which fills vectors; shifted by
 * the padding, all of them see the same ⌈kernel / s⌉ pixels of dy.
 */

import { type Dim, dimAdd, dimFloorDiv, dimMax, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import type { Tensor } from "../../../ir/tensor.js";
import { plainTilesFor, type Tile } from "../../kernels/choose-tile.js";
import { interleave } from "../../kernels/interleave.js";
import { packBy, packedLength } from "../../kernels/pack.js";
import type { View } from "../../schedule.js";
import { type LowerContext, offsetView } from "../core/context.js";
import { type Finish, type KernelRow, plainFinish } from "../core/kernel-row.js";
import { addMicroKernel, viewArg } from "../core/micro-kernel.js";
import { perNode } from "../core/per-node.js";
import type { Node } from "../elementwise/structured.js";
import { emitDirect } from "./conv.js";
import { directCost, typicalEdge } from "./conv-cost.js";
import { floats, type Geometry, geometryOf, geometryOfSizes, paddedInput, pixelProduct } from "./conv-geometry.js";

type Floats = "f32" | "f64";
/** Of height and width. */
type Pair<T> = readonly [T, T];

/** Phases of an axis that one convolution computes, and the pixels of dy that they see: those from t + `first` on, `taps` of them. */
interface Span {
  readonly from: number;
  readonly count: number;
  readonly first: number;
  readonly taps: number;
}

interface Part {
  readonly spans: Pair<Span>;
  readonly geometry: Geometry<Floats>;
}

interface Phases {
  /** Of the forward convolution, whose input gradient is computed. */
  readonly forward: Geometry<Floats>;
  /** dy with the pixels around it that parts see. */
  readonly around: Geometry<Floats>;
  readonly parts: readonly Part[];
  /** Weights [O, kh, kw, C]. */
  readonly weights: Tensor;
  readonly channels: number;
  readonly shift: Pair<number>;
  /** Values of t. */
  readonly blocks: Pair<Dim>;
}

/** Channels from which on a phase fills vectors by itself. */
const manyChannels = 12;

const one = [1, 1, 1] as const;
const pairOf = <T>(f: (axis: 1 | 2) => T): Pair<T> => [f(1), f(2)];

/** First tap of a phase, and how far from t on it sees dy. */
function phaseOf(g: Geometry, axis: 1 | 2, shift: number, a: number): { readonly tap: number; readonly last: number } {
  const q = a + g.padLow[axis] - shift;
  return { tap: q % g.stride[axis], last: Math.floor(q / g.stride[axis]) };
}

function spanOf(g: Geometry, axis: 1 | 2, shift: number, from: number, count: number): Span {
  const phases = Array.from({ length: count }, (_, i) => phaseOf(g, axis, shift, from + i));
  const tapsOf = (tap: number) => Math.max(1, Math.ceil((g.kernel[axis] - tap) / g.stride[axis]));
  const first = Math.min(...phases.map(({ tap, last }) => last - tapsOf(tap) + 1));
  return { from, count, first, taps: Math.max(...phases.map((p) => p.last)) - first + 1 };
}

const phasesOf = perNode(({ operands: [dy, w], results: [dx], attrs }: Node<"convInputGrad">): Phases | undefined => {
  const g = geometryOf(dx!, w!, dy!, attrs);
  const weights = w!.def.op === "constant" ? w!.def.attrs.value : undefined;
  if (g === undefined || weights === undefined || typeof g.channels !== "number" || typeof g.outputs !== "number")
    return undefined;
  const isPlane = g.kernel[0] === 1 && g.input[0] === 1 && g.output[0] === 1;
  const isWhole = g.groups === 1 && g.dilation.every((d) => d === 1) && g.stride.some((s) => s > 1);
  if (!isPlane || !isWhole) return undefined;
  const { channels } = g;
  const isApart = channels >= manyChannels;
  const shift = pairOf((a) => (isApart ? 0 : g.padLow[a]));
  const spans = pairOf((a) => {
    const starts = isApart ? Array.from({ length: g.stride[a] }, (_, i) => i) : [0];
    return starts.map((from) => spanOf(g, a, shift[a - 1]!, from, isApart ? 1 : g.stride[a]));
  });
  const blocks = pairOf((a) => dimAdd(dimFloorDiv(dimAdd(g.input[a], shift[a - 1]! - 1), g.stride[a]), 1));
  const before = pairOf((a) => Math.max(0, ...spans[a - 1]!.map((s) => -s.first)));
  const padded = pairOf((a) => {
    const last = Math.max(...spans[a - 1]!.map((s) => s.first + s.taps - 1));
    return dimAdd(dimMax(dimAdd(blocks[a - 1]!, last), g.output[a]), before[a - 1]!);
  });
  const sizes = {
    lane: g.lane,
    dtype: g.dtype,
    images: g.images,
    channels: g.outputs,
    groups: 1,
    padded: [1, ...padded],
    output: [1, ...blocks],
    stride: one,
    dilation: one,
    padHigh: [0, 0, 0],
  } as const;
  const parts = spans[0].flatMap((h) =>
    spans[1].map((v): Part => {
      const outputs = h.count * v.count * channels;
      const kernel = [1, h.taps, v.taps] as const;
      return {
        spans: [h, v],
        geometry: geometryOfSizes({ ...sizes, outputs, kernel, input: sizes.padded, padLow: [0, 0, 0] }),
      };
    }),
  );
  const around = { ...parts[0]!.geometry, input: g.output, padLow: [0, ...before] } as const;
  return { forward: g, around, parts, weights, channels, shift, blocks };
});

/** A part's weights as panels of [taps · O, phases · C]; taps that a phase does not have are 0. */
function packedWeights(ctx: LowerContext, p: Phases, { spans, geometry }: Part, nr: number): View {
  const { forward: g, weights, channels, shift } = p;
  const [h, v] = spans;
  const [o, n] = [geometry.channels as number, geometry.outputs as number];
  const k = h.taps * v.taps * o;
  const how = `phases ${h.from} ${v.from} ${g.stride} ${g.padLow} ${shift} ${nr}`;
  return ctx.derived(weights, how, [weights.dtype, [packedLength(k, n, nr)]], (out) => {
    const own = floats(weights);
    // One 0 more, for taps that are none.
    const padded = new (own.constructor as Float32ArrayConstructor)(own.length + 1);
    padded.set(own);
    /** The tap of the kernel by which a phase sees the pixel t + first + `at`. */
    const tapOf = (axis: 1 | 2, span: Span, phase: number, at: number): number => {
      const { tap, last } = phaseOf(g, axis, shift[axis - 1]!, span.from + phase);
      return tap + g.stride[axis] * (last - span.first - at);
    };
    const at = (i: number, j: number): number => {
      const [place, from] = [Math.floor(i / o), i % o];
      const [phase, c] = [Math.floor(j / channels), j % channels];
      const y = tapOf(1, h, Math.floor(phase / v.count), Math.floor(place / v.taps));
      const x = tapOf(2, v, phase % v.count, place % v.taps);
      const [, kh, kw] = g.kernel;
      return y >= 0 && y < kh && x >= 0 && x < kw ? ((from * kh + y) * kw + x) * channels + c : own.length;
    };
    packBy(padded, k, n, nr, at, floats(out));
  });
}

function store(ctx: LowerContext, node: Node<"convInputGrad">, to: View, finish: Finish, tile: Tile): void {
  const phases = phasesOf(node)!;
  const { forward: g, around, parts, channels, shift, blocks } = phases;
  const [, sh, sw] = g.stride;
  const dy = paddedInput(ctx, node.operands[0]!, around, node.loc);
  const yPixel = sh * sw * channels;
  const all = ctx.temp(g.lane, [g.images, ...blocks, yPixel]);
  for (const part of parts) {
    const [h, v] = part.spans;
    const row = dimMul(around.padLow[1] + h.first, around.padded[2]);
    const from = offsetView(dy, dimMul(dimAdd(row, around.padLow[2] + v.first), around.channels));
    const panels = {
      view: packedWeights(ctx, phases, part, tile.nr),
      k: h.taps * v.taps * (around.channels as number),
    };
    const target = offsetView(all, (h.from * sw + v.from) * channels);
    emitDirect(ctx, from, panels, part.geometry, { view: target, pixel: yPixel }, plainFinish(g.lane), tile, node.loc);
  }
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("interleave", interleave, {
      lane: g.lane,
      phases: [sh, sw],
      channels,
      epilogue: finish.epilogue,
    }),
    chunks: dimMul(g.images, g.input[1]),
    args: {
      x: viewArg(all, "read"),
      y: viewArg(to, "write"),
      h: g.input[1],
      w: g.input[2],
      blocksH: blocks[0],
      blocksW: blocks[1],
      top: shift[0],
      left: shift[1],
    },
    epilogue: finish.args,
    loc: node.loc,
  });
}

export const phasesKernel: KernelRow<"convInputGrad"> = {
  name: "phases",
  serves: (node) => phasesOf(node) !== undefined,
  cost: (node) => {
    const { forward: g, parts, channels } = phasesOf(node)!;
    // An element is interleaved in about a cycle.
    const elements = typicalEdge(g.input[1]) * typicalEdge(g.input[2]) * channels;
    return parts.reduce((sum, { geometry }) => sum + directCost(geometry, "convolution"), elements);
  },
  matrix: (node, output: Value) => {
    const { forward: g, channels } = phasesOf(node)!;
    // Pixels of few channels are no vectors: what follows is faster over all elements.
    if (output.type.dtype !== g.lane || channels < 4) return undefined;
    return { batch: 1, rows: dimMul(g.images, dimMul(g.input[1], g.input[2])), columns: channels };
  },
  // Parts have as many pixels and channels each.
  tiles: (node) => {
    const { geometry } = phasesOf(node)!.parts[0]!;
    return plainTilesFor(geometry.lane, pixelProduct(geometry));
  },
  store,
};
