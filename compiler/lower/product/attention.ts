/** Attention by the kernels of compiler/kernels/attention.ts. */

import { type Dim, dimAdd, dimMul } from "../../../ir/dim.js";
import type { Shape, TensorType, Value } from "../../../ir/graph.js";
import { elemBytes } from "../../../ir/loop.js";
import type { TiledAttentionAttrs } from "../../../ir/ops/attention.js";
import {
  type AttentionMask,
  type AttentionSpec,
  attentionBlock,
  attentionGradKernel,
  attentionKernel,
  attentionScratch,
} from "../../kernels/attention.js";
import type { Arg } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import type { KernelRow } from "../core/kernel-row.js";
import { addMicroKernel, ceilDiv, viewArg } from "../core/micro-kernel.js";
import { sizeOf, stridesOf } from "../core/place.js";
import type { Node } from "../elementwise/structured.js";

interface Sizes {
  readonly spec: AttentionSpec;
  /** Matrices of queries. */
  readonly matrices: Dim;
  readonly args: { readonly [name: string]: Arg | Dim };
}

/** What both kernels take besides pointers. */
function sizesOf(
  operands: readonly Value[],
  { scale, causal, keys }: TiledAttentionAttrs,
  scratch: (typeof attentionScratch)["forward" | "gradient"],
  mask?: TensorType,
): Sizes {
  const [q, k, v] = operands.slice(0, 3).map((o) => o.type.shape) as [Shape, Shape, Shape];
  const [d, e] = [q.at(-1)!, v.at(-1)!];
  const [l, rows] = [q.at(-2)!, k.at(-2)!];
  const s = keys ?? rows;
  const batch = q.slice(0, -2);
  const isShared = [k, v].some((shape) => batch.some((n, a) => shape[a] === 1 && n !== 1)) || mask !== undefined;
  const stepsOf = (shape: Shape): readonly Dim[] => {
    const own = shape.slice(0, -2);
    return stridesOf(own).map((step, a) => (own[a] === 1 ? 0 : step));
  };
  const [keySteps, valueSteps] = [stepsOf(k), stepsOf(v)];
  const wide = scratch.wide === 2 ? dimAdd(d, e) : d;
  const blockRows = dimAdd(dimAdd(wide, dimMul(scratch.deep, s)), scratch.single);
  const elements = dimMul(attentionBlock, blockRows);
  const axes = isShared ? batch.length : 0;
  const maskStrides = mask ? stridesOf(mask.shape).map((step, a) => (mask.shape[a] === 1 ? 0 : step)) : [];
  const steps = batch.slice(0, axes).map((n, i) => ({
    [`batch${i}`]: n,
    [`keyStep${i}`]: keySteps[i]!,
    [`valueStep${i}`]: valueSteps[i]!,
    ...(mask === undefined ? {} : { [`maskStep${i}`]: maskStrides[i]! }),
  }));
  return {
    spec: {
      causal,
      axes,
      ...(mask ? { masked: mask.dtype as AttentionMask } : {}),
      ...(keys === undefined ? {} : { partial: true }),
      ...(typeof d === "number" ? { d } : {}),
      ...(typeof e === "number" ? { e } : {}),
    },
    matrices: sizeOf(batch),
    args: {
      l,
      s,
      d,
      e,
      ...(keys === undefined ? {} : { rows }),
      scale: { kind: "f32", value: scale },
      work: { kind: "scratch", bytes: dimMul(elements, elemBytes.f32), perThread: true },
      ...(mask === undefined ? {} : { maskRow: maskStrides.at(-2)! }),
      ...(Object.assign({}, ...steps) as { readonly [name: string]: Dim }),
    },
  };
}

function lowerTiledAttention(ctx: LowerContext, node: Node<"tiledAttention">): void {
  const [q, k, v, mask] = node.operands.map((o) => viewArg(ctx.view(o), "read")) as [Arg, Arg, Arg, Arg?];
  const { spec, matrices, args } = sizesOf(node.operands, node.attrs, attentionScratch.forward, node.operands[3]?.type);
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("attention", attentionKernel, spec),
    chunks: dimMul(matrices, ceilDiv(node.operands[0]!.type.shape.at(-2)!, attentionBlock)),
    args: { q, k, v, y: viewArg(ctx.result(node.results[0]!), "write"), ...(mask ? { mask } : {}), ...args },
    loc: node.loc,
  });
}

function lowerTiledAttentionGrad(ctx: LowerContext, node: Node<"tiledAttentionGrad">): void {
  const [q, k, v, dy] = node.operands.map((o) => viewArg(ctx.view(o), "read")) as [Arg, Arg, Arg, Arg];
  const { spec, matrices, args } = sizesOf(node.operands, node.attrs, attentionScratch.gradient);
  const [dq, dk, dv] = node.results.map((r, i) => viewArg(ctx.result(r), i === 0 ? "write" : "readWrite")) as [
    Arg,
    Arg,
    Arg,
  ];
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("attentionGrad", attentionGradKernel, spec),
    chunks: matrices,
    args: { q, k, v, dy, dq, dk, dv, ...args },
    loc: node.loc,
  });
}

export const attentionKernels: readonly KernelRow<"tiledAttention">[] = [
  { name: "blocks", lower: lowerTiledAttention },
];

export const attentionGradKernels: readonly KernelRow<"tiledAttentionGrad">[] = [
  { name: "blocks", lower: lowerTiledAttentionGrad },
];
