/** Softmax, normalisation layers, dropout. */
import {
  asType,
  broadcastTo,
  expandDims,
  full,
  mean,
  moveAxis,
  np,
  oneHot,
  rankOf,
  reshapeTo,
  rsqrt,
  square,
} from "../../../ir/build.js";
import { dimFloorDiv } from "../../../ir/dim.js";
import { isFloat } from "../../../ir/dtype.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { idleDropout } from "../../../ir/ops/dropout.js";
import { productOf } from "../../../ir/ops/movement.js";
import * as norm from "../../../ir/ops/normalize.js";
import { argMax } from "../../../ir/ops/reduce.js";
import { logSoftmax, softmax } from "../../../ir/ops/softmax.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../context.js";
import { describeCode, dtypeOfCode } from "../dtype.js";
import { inF32 } from "./elementwise.js";
import { trainingDropout } from "./random.js";

/** Along an axis; before opset 13 over all axes from it on, taken as one. */
const alongAxis =
  (build: (x: Value, axis: number) => Value): ImportOp =>
  (c) => {
    const x = c.input(0);
    const axis = c.axis(c.attrs.int("axis", c.since < 13 ? 1 : -1), rankOf(x));
    if (c.since >= 13 || axis === rankOf(x) - 1) return build(x, axis);
    const { shape } = x.type;
    const flat = reshapeTo(x, [productOf(shape.slice(0, axis)), productOf(shape.slice(axis))]);
    return reshapeTo(build(flat, 1), shape);
  };

function hardmax(x: Value, axis: number): Value {
  const winner = argMax([x], { axis, keepDims: false });
  return moveAxis(oneHot(winner, x.type.shape[axis]!, x.type.dtype), -1, axis);
}

/** All operands in f32 if they differ or are narrower, and the result in the type of the first. */
export function common(
  values: readonly (Value | undefined)[],
  build: (values: readonly (Value | undefined)[]) => Value,
): Value {
  const { dtype } = values[0]!.type;
  const same = values.every((v) => v === undefined || v.type.dtype === dtype);
  if (same && (dtype === "f32" || dtype === "f64")) return build(values);
  const wide = values.some((v) => v?.type.dtype === "f64") ? "f64" : "f32";
  return asType(build(values.map((v) => v && asType(v, wide))), dtype);
}

/** Operands of an op whose last ones may be absent. */
const present = (values: readonly (Value | undefined)[]): readonly Value[] => values.filter((v) => v !== undefined);

/** The shortest decimal that an f32 was rounded from: PyTorch's 1 − 0.1 and not 0.8999999762. */
function shortest(x: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const decimal = Number(x.toPrecision(digits));
    if (Math.fround(decimal) === Math.fround(x)) return decimal;
  }
  return x;
}

const batchNormalization: ImportOp = (c): readonly Bound[] => {
  const [x, scale, bias, average, variance] = [0, 1, 2, 3, 4].map((i) => c.input(i));
  const epsilon = c.attrs.float("epsilon", 1e-5);
  const momentum = 1 - shortest(c.attrs.float("momentum", 0.9));
  const training =
    c.since >= 14
      ? c.attrs.flag("training_mode", false)
      : c.since < 7
        ? !c.attrs.flag("is_test", false) && c.node.outputs.length > 1
        : c.node.outputs.length > 1;
  if (!c.attrs.flag("spatial", true) && rankOf(x!) > 2)
    throw c.error("statistics per element (spatial = 0) are not supported");
  if (!training)
    return [
      common([x, average, variance, scale, bias], (v) => norm.batchNorm(present(v), { axis: 1, epsilon, momentum })),
    ];
  const operands = [x!, average!, variance!, scale!, bias!].map((v) =>
    asType(v, x!.type.dtype === "f64" ? "f64" : "f32"),
  );
  const results = norm.batchNormTrain(operands, { axis: 1, epsilon, momentum, correction: 0 });
  const types = [x!.type.dtype, average!.type.dtype, variance!.type.dtype];
  return results.map((r, i) => asType(r, types[i]!));
};

const layerNormalization: ImportOp = (c): readonly Bound[] => {
  const x = c.input(0);
  const axis = c.axis(c.attrs.int("axis", -1), rankOf(x));
  const epsilon = c.attrs.float("epsilon", 1e-5);
  const y = common([x, c.input(1), c.optional(2)], (v) => norm.layerNorm(present(v), { axis, epsilon }));
  if (c.node.outputs.length === 1) return [y];
  const wide = asType(x, x.type.dtype === "f64" ? "f64" : "f32");
  const axes = x.type.shape.map((_, i) => i).slice(axis);
  const average = mean(wide, axes, { keepDims: true });
  const variance = mean(square(np.sub(wide, average)), axes, { keepDims: true });
  const stash = c.attrs.int("stash_type", 1);
  const dtype = dtypeOfCode(stash);
  if (dtype === undefined || dtype === "string" || !isFloat(dtype))
    throw c.error(`stash_type ${stash} is ${describeCode(stash)}; it should be a float type`);
  return [y, asType(average, dtype), asType(rsqrt(np.add(variance, epsilon)), dtype)];
};

const rmsNormalization: ImportOp = (c) => {
  const x = c.input(0);
  const scale = c.input(1);
  const attrs = { axis: c.axis(c.attrs.int("axis", -1), rankOf(x)), epsilon: c.attrs.float("epsilon", 1e-5) };
  if (x.type.dtype === scale.type.dtype && x.type.dtype === "f32") return norm.rmsNorm([x, scale], attrs);
  // The statistics are taken in f32, the scale is applied in its own type.
  const normalized = asType(norm.rmsNorm([asType(x, x.type.dtype === "f64" ? "f64" : "f32")], attrs), scale.type.dtype);
  return np.mul(normalized, scale);
};

const groupNormalization: ImportOp = (c) => {
  const x = c.input(0);
  const groups = c.attrs.requiredInt("num_groups");
  const channels = x.type.shape[1];
  if (channels === undefined) throw c.error(`the input should have channels, but is ${typeText(x.type)}`);
  // Before opset 21 scale and bias were one per group.
  const perChannel = (v: Value) =>
    c.since >= 21 ? v : reshapeTo(broadcastTo(expandDims(v, 1), [groups, dimFloorDiv(channels, groups)]), [channels]);
  return common([x, perChannel(c.input(1)), perChannel(c.input(2))], (v) =>
    norm.groupNorm(present(v), { groups, epsilon: c.attrs.float("epsilon", 1e-5) }),
  );
};

const meanVarianceNormalization: ImportOp = (c) =>
  inF32([c.input(0)], ([x]) => {
    const axes = c.axes(c.attrs.ints("axes", [0, 2, 3]), rankOf(x!));
    const centred = np.sub(x!, mean(x!, axes, { keepDims: true }));
    return np.mul(centred, rsqrt(np.add(mean(square(centred), axes, { keepDims: true }), 1e-9)));
  });

/** Whether a node of this opset drops elements when it runs. */
function dropoutTrains(c: NodeContext): boolean {
  if (c.since < 7) return !c.attrs.flag("is_test", false) && c.node.outputs.length > 1;
  return c.since >= 12 && c.has(2) && c.scalar(2, "training_mode") !== 0;
}

const dropout: ImportOp = (c): readonly Bound[] => {
  const x = c.input(0);
  const ratio = c.since >= 12 ? (c.has(1) ? c.scalar(1, "the ratio") : 0.5) : c.attrs.float("ratio", 0.5);
  if (dropoutTrains(c) && ratio !== 0) return trainingDropout(c, x, ratio);
  return [ratio > 0 && ratio <= 1 ? idleDropout([x], { probability: ratio }) : x, full("bool", x.type.shape, 1)];
};

export const normalize = {
  Softmax: alongAxis((x, axis) => softmax([x], { axis })),
  LogSoftmax: alongAxis((x, axis) => logSoftmax([x], { axis })),
  Hardmax: alongAxis(hardmax),
  BatchNormalization: batchNormalization,
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  GroupNormalization: groupNormalization,
  InstanceNormalization: (c) =>
    common([c.input(0), c.input(1), c.input(2)], (v) =>
      norm.instanceNorm(present(v), { epsilon: c.attrs.float("epsilon", 1e-5) }),
    ),
  LRN: (c) =>
    inF32([c.input(0)], ([x]) => {
      const size = c.attrs.requiredInt("size");
      if (!(size >= 1 && size <= 1024)) throw c.error(`a window of ${size} channels is out of range (1 to 1024)`);
      return norm.lrn([x!], {
        before: Math.floor((size - 1) / 2),
        after: Math.ceil((size - 1) / 2),
        alpha: c.attrs.float("alpha", 1e-4),
        beta: c.attrs.float("beta", 0.75),
        bias: c.attrs.float("bias", 1),
      });
    }),
  LpNormalization: (c) =>
    inF32([c.input(0)], ([x]) =>
      norm.lpNormalize([x!], {
        axis: c.axis(c.attrs.int("axis", -1), rankOf(x!)),
        p: c.attrs.int("p", 2),
        epsilon: 1e-30,
      }),
    ),
  MeanVarianceNormalization: meanVarianceNormalization,
  Dropout: dropout,
} as const satisfies Readonly<Record<string, OpRow>>;
