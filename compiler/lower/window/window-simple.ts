/** Pools and their adjoints with symbolic padding, one element after the other. Adjoints gather: each input position looks for the windows that see it, so no two threads write one element. */

import { type Dim, dimAdd, dimMul } from "../../../ir/dim.js";
import { isFloat } from "../../../ir/dtype.js";
import type { Shape, Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import { spatialOf } from "../../../ir/ops/window-geometry.js";
import type { LowerContext } from "../core/context.js";
import { registerOf } from "../core/kernel-builder.js";
import { neutral } from "../elementwise/elementwise.js";
import { bind, settle } from "../elementwise/registers.js";
import { mapKernel, type Node, workOf } from "../elementwise/structured.js";
import { zeroOf } from "../reduce/sum-over.js";
import { forTaps, imageIndex, seen, seenBy, splitIndex } from "./window-loops.js";

/** Flat index over the spatial axes. */
const flat = (index: readonly Dim[], shape: Shape): Dim =>
  index.reduce<Dim>((at, i, a) => dimAdd(dimMul(at, shape[a]!), i), 0);

export function lowerMaxPoolSimple(ctx: LowerContext, node: Node<"maxPool">): void {
  const x = node.operands[0]!;
  const [y, places] = node.results as [Value, Value];
  const { layout, window } = node.attrs;
  const { dtype } = x.type;
  const inputs = spatialOf(x.type.shape, layout);
  mapKernel(ctx, node, `${dtype}_maxpool`, y.type.shape, workOf(...window), (k) => {
    const xs = k.read(x);
    const ys = k.write(y);
    const ps = k.write(places);
    return (index) => {
      const { n, c, spatial } = splitIndex(index, layout);
      const best = k.block.mut("best", B.constant(registerOf(dtype), neutral("reduceMax", dtype)));
      const place = k.block.mut("place", B.i32(-1));
      forTaps(k, window, (taps) =>
        seen(k, spatial, taps, inputs, node.attrs, (inside) => {
          const v = k.block.let("v", k.load(xs, imageIndex(n, c, inside, layout)));
          k.block.if(B.or(B.ltS(place, 0), beats(v, best, dtype)), () => {
            k.block.assign(best, v);
            k.block.assign(place, k.e.index(flat(inside, inputs)));
          });
        }),
      );
      k.store(ys, index, best);
      k.store(ps, index, place);
    };
  });
}

/** Larger, or the first NaN. */
function beats(v: Expr, best: Expr, dtype: Value["type"]["dtype"]): Expr {
  if (isFloat(dtype)) return B.or(B.gt(v, best), B.and(B.ne(v, v), B.eq(best, best)));
  return dtype === "u32" || dtype === "u64" ? B.gtU(v, best) : B.gtS(v, best);
}

export function lowerMaxPoolGradSimple(ctx: LowerContext, node: Node<"maxPoolGrad">): void {
  const [dy, places] = node.operands as [Value, Value];
  const dx = node.results[0]!;
  const { layout, window } = node.attrs;
  const { dtype } = dx.type;
  const inputs = spatialOf(dx.type.shape, layout);
  const outputs = spatialOf(dy.type.shape, layout);
  mapKernel(ctx, node, `${dtype}_maxpoolgrad`, dx.type.shape, workOf(...window), (k) => {
    const ys = k.read(dy);
    const ps = k.read(places);
    const xs = k.write(dx);
    return (index) => {
      const { n, c, spatial } = splitIndex(index, layout);
      const acc = k.block.mut("acc", zeroOf(dtype));
      const own = k.block.let("own", k.e.index(flat(spatial, inputs)));
      forTaps(k, window, (taps) =>
        seenBy(k, spatial, taps, outputs, node.attrs, (p) => {
          const at = imageIndex(n, c, p, layout);
          k.block.if(B.eq(k.load(ps, at), own), () => k.block.assign(acc, B.add(acc, k.load(ys, at))));
        }),
      );
      k.store(xs, index, settle(dtype, acc));
    };
  });
}

export function lowerMaxPoolGather(ctx: LowerContext, node: Node<"maxPoolGather">): void {
  const [x, places] = node.operands as [Value, Value];
  const y = node.results[0]!;
  const { layout } = node.attrs;
  const { dtype } = y.type;
  const inputs = spatialOf(x.type.shape, layout);
  const plane = inputs.reduce<Dim>((p, d) => dimMul(p, d), 1);
  const first = layout === "channelsFirst";
  mapKernel(ctx, node, `${dtype}_maxpoolgather`, y.type.shape, 1, (k) => {
    const xs = k.read(x);
    const ps = k.read(places);
    const ys = k.write(y);
    // x with its spatial axes taken as one.
    const [batch, channels] = first ? [x.type.shape[0]!, x.type.shape[1]!] : [x.type.shape[0]!, x.type.shape.at(-1)!];
    const flatX = { ...xs, shape: first ? [batch, channels, plane] : [batch, plane, channels] };
    return (index) => {
      const { n, c } = splitIndex(index, layout);
      const place = k.block.let("place", k.load(ps, index));
      const result = k.block.mut("result", zeroOf(dtype));
      // Indices are maxPool's: −1 or within the plane.
      k.block.if(B.ltU(place, k.size(plane)), () =>
        k.computed(place, (s) => k.block.assign(result, k.load(flatX, first ? [n, c, s] : [n, s, c]))),
      );
      k.store(ys, index, result);
    };
  });
}

export function lowerWindowSumSimple(ctx: LowerContext, node: Node<"windowSum">): void {
  const x = node.operands[0]!;
  const y = node.results[0]!;
  const { layout, window } = node.attrs;
  const { dtype } = y.type;
  mapKernel(ctx, node, `${dtype}_windowsum`, y.type.shape, workOf(...window), (k) => {
    const xs = k.read(x);
    const ys = k.write(y);
    return (index) => {
      const { n, c, spatial } = splitIndex(index, layout);
      const acc = k.block.mut("acc", zeroOf(dtype));
      forTaps(k, window, (taps) =>
        seen(k, spatial, taps, spatialOf(x.type.shape, layout), node.attrs, (inside) =>
          k.block.assign(acc, B.add(acc, k.load(xs, imageIndex(n, c, inside, layout)))),
        ),
      );
      k.store(ys, index, settle(dtype, bind(k.block, acc)));
    };
  });
}

export function lowerWindowSumGradSimple(ctx: LowerContext, node: Node<"windowSumGrad">): void {
  const dy = node.operands[0]!;
  const dx = node.results[0]!;
  const { layout, window } = node.attrs;
  const { dtype } = dx.type;
  mapKernel(ctx, node, `${dtype}_windowsumgrad`, dx.type.shape, workOf(...window), (k) => {
    const ys = k.read(dy);
    const xs = k.write(dx);
    return (index) => {
      const { n, c, spatial } = splitIndex(index, layout);
      const acc = k.block.mut("acc", zeroOf(dtype));
      forTaps(k, window, (taps) =>
        seenBy(k, spatial, taps, spatialOf(dy.type.shape, layout), node.attrs, (p) =>
          k.block.assign(acc, B.add(acc, k.load(ys, imageIndex(n, c, p, layout)))),
        ),
      );
      k.store(xs, index, settle(dtype, acc));
    };
  });
}
