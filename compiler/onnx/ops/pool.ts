/** Pooling. */
import {
  amax,
  asType,
  constantLike,
  dimScalar,
  full,
  mean,
  np,
  padConstant,
  rankOf,
  reshapeTo,
  sum,
} from "../../../ir/build.js";
import { type Dim, dimAdd, dimMul, dimSub } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { iota } from "../../../ir/ops/constant.js";
import { abs } from "../../../ir/ops/elementwise.js";
import { scatterElements } from "../../../ir/ops/indexing.js";
import { productOf } from "../../../ir/ops/movement.js";
import { averagePool, globalAveragePool } from "../../../ir/ops/pooling.js";
import { maxPool, windowSum } from "../../../ir/ops/window.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../context.js";
import { inF32 } from "./elementwise.js";
import { perAxis, perPads, readWindow, roundUp, type Window } from "./window.js";

const spatialOf = (x: Value): readonly Dim[] => x.type.shape.slice(2);

interface Pool {
  /** The window as stated, and with padHigh raised for ceil_mode. */
  readonly stated: Window;
  readonly window: Window;
}

function readPool(c: NodeContext, x: Value): Pool {
  const stated = readWindow(c, spatialOf(x), c.attrs.requiredInts("kernel_shape"));
  const ceil = c.attrs.flag("ceil_mode", false);
  return { stated, window: ceil ? roundUp(stated, spatialOf(x)) : stated };
}

const attrsOf = ({ kernel, strides, dilations, padLow, padHigh }: Window) => ({
  window: kernel,
  strides,
  dilations,
  padLow,
  padHigh,
  layout: "channelsFirst" as const,
});

/** Indices within a plane of [N, C, …] as indices into the whole tensor. */
function globalIndices(x: Value, inPlane: Value, columnMajor: boolean): Value {
  const spatial = spatialOf(x);
  let index = asType(inPlane, "i64");
  if (columnMajor) {
    // Row-major position → coordinates → position with the first axis fastest.
    let rest = index;
    const coordinates = spatial.map(() => index);
    for (let a = spatial.length - 1; a >= 0; a--) {
      const size = sizeScalar(spatial[a]!);
      coordinates[a] = np.rem(rest, size);
      rest = np.div(rest, size);
    }
    let position: Value | undefined;
    for (let a = spatial.length - 1; a >= 0; a--)
      position =
        position === undefined ? coordinates[a]! : np.add(np.mul(position, sizeScalar(spatial[a]!)), coordinates[a]!);
    index = position ?? index;
  }
  const [n, channels] = x.type.shape as [Dim, Dim];
  const ones = spatial.map(() => 1);
  const batch = reshapeTo(iota([], { dtype: "i64", shape: [n], axis: 0 }), [n, 1, ...ones]);
  const channel = reshapeTo(iota([], { dtype: "i64", shape: [channels], axis: 0 }), [1, channels, ...ones]);
  const plane = np.add(np.mul(batch, sizeScalar(channels)), channel);
  return np.add(np.mul(plane, sizeScalar(productOf(spatial))), index);
}

const sizeScalar = (d: Dim): Value => dimScalar(d, "i64");

/** The max pool that the node's attributes describe, of x; with the indices within each plane. */
export const maxPoolOf = (c: NodeContext, x: Value): readonly Value[] => maxPool([x], attrsOf(readPool(c, x).window));

const maxPoolRow: ImportOp = (c): readonly Bound[] => {
  const x = c.input(0);
  const [y, where] = maxPoolOf(c, x);
  if (c.node.outputs.length < 2) return [y!];
  return [y!, globalIndices(x, where!, c.attrs.int("storage_order", 0) === 1)];
};

/** The average pool that the node's attributes describe, of x. */
export function averagePoolOf(c: NodeContext, x: Value): Value {
  const { stated, window } = readPool(c, x);
  const unpadded = [...stated.padLow, ...stated.padHigh].every((p) => p === 0);
  // Stated padding counts where the node says so; what ceil_mode adds beyond it does not.
  return averagePool([x], {
    ...attrsOf(window),
    countPadding: unpadded || c.attrs.flag("count_include_pad", false),
    overhang: window.padHigh.map((p, a) => dimSub(p, stated.padHigh[a]!)),
  });
}

const globalAverage: ImportOp = (c) => {
  const x = c.input(0);
  return rankOf(x) > 2 ? globalAveragePool([x], { layout: "channelsFirst" }) : mean(x, [], { keepDims: true });
};

function power(x: Value, p: number): Value {
  const size = abs([x]);
  return p === 1 ? size : p === 2 ? np.mul(size, size) : np.pow(size, constantLike(x, p));
}

const lpPool: ImportOp = (c) =>
  inF32([c.input(0)], ([x]) => {
    const p = c.since < 2 ? c.attrs.float("p", 2) : c.attrs.int("p", 2);
    const total = windowSum([power(x!, p)], attrsOf(readPool(c, x!).window));
    return p === 1 ? total : np.pow(total, constantLike(total, 1 / p));
  });

const global =
  (reduce: (x: Value, axes: readonly number[]) => Value): ImportOp =>
  (c) => {
    const x = c.input(0);
    return reduce(
      x,
      x.type.shape.map((_, i) => i).filter((i) => i >= 2),
    );
  };

const globalLpPool: ImportOp = (c) =>
  inF32([c.input(0)], ([x]) => {
    const p = c.since < 2 ? c.attrs.float("p", 2) : c.attrs.int("p", 2);
    const axes = x!.type.shape.map((_, i) => i).filter((i) => i >= 2);
    const total = sum(power(x!, p), axes, { keepDims: true });
    return p === 1 ? total : np.pow(total, constantLike(total, 1 / p));
  });

const maxUnpool: ImportOp = (c) => {
  const x = c.input(0);
  const axes = rankOf(x) - 2;
  const kernel = c.attrs.requiredInts("kernel_shape");
  const strides = perAxis(c, "strides", axes, 1);
  const pads = perPads(c, axes);
  const inferred = spatialOf(x).map((d, a) =>
    dimSub(dimAdd(dimMul(dimSub(d, 1), strides[a]!), kernel[a]!), pads[a]! + pads[a + axes]!),
  );
  const own = [...x.type.shape.slice(0, 2), ...inferred];
  const zeros = full(x.type.dtype, [productOf(own)], 0);
  const flat = (v: Value) => reshapeTo(v, [productOf(x.type.shape)]);
  const scattered = scatterElements([zeros, flat(c.input(1)), flat(x)], { axis: 0, reduction: "none" });
  const y = reshapeTo(scattered, own);
  if (!c.has(2)) return y;
  // The indices count in the inferred shape; a larger output has it in its first corner.
  const shape = c.dims(2, "the output shape");
  const high = shape.map((d, a) => dimSub(d, own[a]!));
  return padConstant(
    y,
    high.map(() => 0),
    high,
  );
};

export const pool = {
  MaxPool: maxPoolRow,
  AveragePool: (c) => averagePoolOf(c, c.input(0)),
  LpPool: lpPool,
  GlobalMaxPool: global((x, axes) => amax(x, axes, { keepDims: true })),
  GlobalAveragePool: globalAverage,
  GlobalLpPool: globalLpPool,
  MaxUnpool: maxUnpool,
} as const satisfies Readonly<Record<string, OpRow>>;
