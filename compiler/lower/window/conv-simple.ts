/** Convolution and its adjoints for any dtype, layout and group count: one sum after the other. */

import { type Dim, dimAdd, dimFloorDiv, dimMod, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { channelsOf, spatialOf } from "../../../ir/ops/window-geometry.js";
import type { LowerContext } from "../core/context.js";
import { mapKernel, type Node, workOf } from "../elementwise/structured.js";
import { sumOver } from "../reduce/sum-over.js";
import { imageIndex, seen, seenBy, splitIndex } from "./window-loops.js";

const nameOf = (what: string, y: Value, x: Value): string =>
  `${y.type.dtype === x.type.dtype ? "" : `${y.type.dtype}_`}${x.type.dtype}_${what}`;

/** y[n,o,p] = Σ over c of the group, taps:  x[n, c, p·stride + t·dilation − pad] · w[o,c,t] */
export function lowerConvSimple(ctx: LowerContext, node: Node<"conv">): void {
  const [x, w] = node.operands as [Value, Value];
  const y = node.results[0]!;
  const { layout, groups } = node.attrs;
  const window = spatialOf(w.type.shape, layout);
  const cPer = channelsOf(w.type.shape, layout);
  const oPer = dimFloorDiv(w.type.shape[0]!, groups);
  mapKernel(ctx, node, nameOf("conv", y, x), y.type.shape, workOf(cPer, ...window), (k) => {
    const xs = k.read(x);
    const ws = k.read(w);
    const ys = k.write(y);
    return (index) => {
      const { n, c: o, spatial } = splitIndex(index, layout);
      const first = groups === 1 ? 0 : dimMul(dimFloorDiv(o, oPer), cPer);
      const sum = sumOver(k, window, y.type.dtype, (taps, add) => {
        seen(k, spatial, taps, spatialOf(x.type.shape, layout), node.attrs, (inside) => {
          k.loop(cPer, (c) => {
            const xAt = imageIndex(n, dimAdd(first, c), inside, layout);
            add(k.load(xs, xAt), k.load(ws, imageIndex(o, c, taps, layout)));
          });
        });
      });
      k.store(ys, index, sum);
    };
  });
}

/** x[n,c,i] = Σ over o of the group, taps with i = p·stride + t·dilation − pad:  y[n,o,p] · w[o,c,t] */
export function lowerConvInputGradSimple(ctx: LowerContext, node: Node<"convInputGrad">): void {
  const [dy, w] = node.operands as [Value, Value];
  const dx = node.results[0]!;
  const { layout, groups } = node.attrs;
  const window = spatialOf(w.type.shape, layout);
  const cPer = channelsOf(w.type.shape, layout);
  const oPer = dimFloorDiv(w.type.shape[0]!, groups);
  mapKernel(ctx, node, nameOf("convinputgrad", dx, dy), dx.type.shape, workOf(oPer, ...window), (k) => {
    const ys = k.read(dy);
    const ws = k.read(w);
    const xs = k.write(dx);
    return (index) => {
      const { n, c, spatial } = splitIndex(index, layout);
      const first = groups === 1 ? 0 : dimMul(dimFloorDiv(c, cPer), oPer);
      const own = groups === 1 ? c : dimMod(c, cPer);
      const sum = sumOver(k, window, dx.type.dtype, (taps, add) => {
        seenBy(k, spatial, taps, spatialOf(dy.type.shape, layout), node.attrs, (p) => {
          k.loop(oPer, (o0) => {
            const o = dimAdd(first, o0);
            add(k.load(ys, imageIndex(n, o, p, layout)), k.load(ws, imageIndex(o, own, taps, layout)));
          });
        });
      });
      k.store(xs, index, sum);
    };
  });
}

/** w[o,c,t] = Σ over n, p:  x[n, group(o) + c, p·stride + t·dilation − pad] · y[n,o,p] */
export function lowerConvWeightGradSimple(ctx: LowerContext, node: Node<"convWeightGrad">): void {
  const [x, dy] = node.operands as [Value, Value];
  const dw = node.results[0]!;
  const { layout, groups } = node.attrs;
  const outputs = spatialOf(dy.type.shape, layout);
  const batch: Dim = x.type.shape[0]!;
  const cPer = channelsOf(dw.type.shape, layout);
  const oPer = dimFloorDiv(dw.type.shape[0]!, groups);
  mapKernel(ctx, node, nameOf("convweightgrad", dw, x), dw.type.shape, workOf(batch, ...outputs), (k) => {
    const xs = k.read(x);
    const ys = k.read(dy);
    const ws = k.write(dw);
    return (index) => {
      const { n: o, c, spatial: taps } = splitIndex(index, layout);
      const first = groups === 1 ? 0 : dimMul(dimFloorDiv(o, oPer), cPer);
      const sum = sumOver(k, [batch, ...outputs], dw.type.dtype, ([n, ...p], add) => {
        seen(k, p, taps, spatialOf(x.type.shape, layout), node.attrs, (inside) => {
          const xAt = imageIndex(n!, dimAdd(first, c), inside, layout);
          add(k.load(xs, xAt), k.load(ys, imageIndex(n!, o, p, layout)));
        });
      });
      k.store(ws, index, sum);
    };
  });
}
