import {
  broadcastTo,
  concatenate,
  flip,
  lowerTriangle,
  np,
  padConstant,
  permute,
  reshapeTo,
  roll,
  sliceAxis,
  split,
  stack,
  tile,
  where,
} from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { constant } from "../../../ir/ops/constant.js";
import { stopGradient } from "../../../ir/ops/gradient.js";
import { gather, gatherElements, gatherND, scatterElements } from "../../../ir/ops/indexing.js";
import { tensorFrom } from "../../../ir/tensor.js";
import { type Builders, iotaList, sizes, take } from "./builder.js";

/** Places that a padded axis reads: `at` says what stands in for a place outside. */
const paddedPlaces = (size: number, low: number, high: number, at: (i: number) => number): readonly number[] =>
  iotaList(size + low + high).map((i) => at(i - low));

const mirror = (size: number) => (i: number) => (i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i);
const nearest = (size: number) => (i: number) => Math.min(size - 1, Math.max(0, i));

function padWith(x: Value, pads: readonly (readonly [axis: number, low: number, high: number])[], rule: typeof mirror) {
  return pads.reduce((v, [axis, low, high]) => {
    const size = sizes(v)[axis]!;
    return take(v, axis, paddedPlaces(size, low, high, rule(size)));
  }, x);
}

/** Linear interpolation along an axis at real-valued places. */
function interpolate(x: Value, axis: number, places: readonly number[]): Value {
  const size = sizes(x)[axis]!;
  const at = places.map((p) => Math.min(size - 1, Math.max(0, p)));
  const low = at.map(Math.floor);
  const shape = sizes(x).map((_, a) => (a === axis ? places.length : 1));
  const weight = constant([], {
    value: tensorFrom(
      "f32",
      shape,
      at.map((p, i) => p - low[i]!),
    ),
  });
  const [a, b] = [
    take(x, axis, low),
    take(
      x,
      axis,
      low.map((i) => Math.min(size - 1, i + 1)),
    ),
  ];
  return np.add(a, np.mul(weight, np.sub(b, a)));
}

export const movement: Builders = {
  embedding: ({ i, w }) => gather([w!, i!], { axis: 0 }),
  embedding_padding_idx: ({ i, w }) => {
    const rows = gather([w!, i!], { axis: 0 });
    const isPadding = reshapeTo(np.eq(i!, 0), [...sizes(i!), 1]);
    return where(isPadding, stopGradient([rows]), rows);
  },
  gather: ({ x, i }) => gatherElements([x!, i!], { axis: 1 }),
  scatter_add: ({ x, i, s }) => scatterElements([x!, i!, s!], { axis: 1, reduction: "add" }),
  scatter: ({ x, i, s }) => scatterElements([x!, i!, s!], { axis: 1, reduction: "none" }),
  index_select: ({ x, i }) => gather([x!, i!], { axis: 0 }),
  advanced_index: ({ x, i, j }) => gatherND([x!, stack([i!, j!], 1)], { batchDims: 0 }),
  masked_fill: ({ x, m }) => where(m!, -2, x!),
  pad_constant: ({ x }) => padConstant(x!, [0, 0, 1], [0, 1, 2], 0.5),
  pad_reflect: ({ x }) =>
    padWith(
      x!,
      [
        [3, 2, 1],
        [2, 1, 2],
      ],
      mirror,
    ),
  pad_replicate: ({ x }) =>
    padWith(
      x!,
      [
        [3, 1, 2],
        [2, 2, 0],
      ],
      nearest,
    ),
  pad_negative: ({ x }) => padConstant(x!, [0, -1], [0, 1]),
  slice_step: ({ x }) => sliceAxis(sliceAxis(x!, 1, 1, 2, 2), 2, 0, 3),
  concat: ({ a, b }) => concatenate([a!, b!], 1),
  stack: ({ a, b }) => stack([a!, b!], 1),
  transpose_permute: ({ x }) => np.mul(permute(x!, [2, 0, 1]), 2),
  expand: ({ x }) => broadcastTo(x!, [3, 2, 4]),
  repeat: ({ x }) => tile(x!, [2, 3]),
  split_mul: ({ x }) => split(x!, 1, [1, 3]),
  flip_roll: ({ x }) => roll(flip(x!, 1), 1, 1),
  tril: ({ x }) => where(lowerTriangle(4, 4), x!, 0),
  pixel_shuffle: ({ x }) => reshapeTo(permute(reshapeTo(x!, [1, 2, 2, 2, 2, 3]), [0, 1, 4, 2, 5, 3]), [1, 2, 4, 6]),
  upsample_nearest: ({ x }) =>
    take(
      take(
        x!,
        2,
        iotaList(6).map((i) => i >> 1),
      ),
      3,
      iotaList(8).map((i) => i >> 1),
    ),
  upsample_nearest_size: ({ x }) =>
    take(
      take(
        x!,
        2,
        iotaList(5).map((i) => Math.floor((i * 3) / 5)),
      ),
      3,
      iotaList(7).map((i) => Math.floor((i * 4) / 7)),
    ),
  upsample_bilinear: ({ x }) =>
    interpolate(
      interpolate(
        x!,
        2,
        iotaList(6).map((i) => (i + 0.5) / 2 - 0.5),
      ),
      3,
      iotaList(8).map((i) => (i + 0.5) / 2 - 0.5),
    ),
  upsample_bilinear_align: ({ x }) =>
    interpolate(
      interpolate(
        x!,
        2,
        iotaList(7).map((i) => (i * 2) / 6),
      ),
      3,
      iotaList(5).map((i) => (i * 3) / 4),
    ),
};
