/** What changes all gradients before an update, and their common norm. */

import { amax, asType, np, square, sum } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { scalarConstant } from "../../../ir/ops/constant.js";
import { abs, sqrt } from "../../../ir/ops/elementwise.js";
import { further, type Kind, parameter, positional, positive, size } from "../../schema.js";
import { same } from "./rule.js";

/** Changes all gradients before the update. */
export type Clip = (gradients: readonly Value[]) => readonly Value[];

/** Those to which rows that are zeros make no difference, and that treat elements alike. */
const ofAnyRows = new WeakSet<Clip>();

/** Whether the clip may be given the sums of a gradient's rows in the gradient's place. */
export const takesRows = (clip: Clip): boolean => ofAnyRows.has(clip);

function forAnyRows(clip: Clip): Clip {
  ofAnyRows.add(clip);
  return clip;
}

const norm: Kind<number> = {
  expected: "a number > 0, or Infinity",
  fits: (v) => typeof v === "number" && v > 0,
};

/** Norm of all gradients as one vector, a scalar f32; p may be Infinity. @throws ModelError where there are none */
export function gradientNorm(gradients: readonly Value[], p = 2): Value {
  if (gradients.length === 0) throw new ModelError("the norm of no gradients");
  const f32s = gradients.map((g) => asType(g, "f32"));
  const join = (values: readonly Value[], by: (a: Value, b: Value) => Value) => values.reduce((a, b) => by(a, b));
  if (p === Infinity)
    return join(
      f32s.map((g) => amax(abs([g]))),
      np.max,
    );
  const power = (g: Value) => (p === 2 ? square(g) : p === 1 ? abs([g]) : np.pow(abs([g]), p));
  const total = join(
    f32s.map((g) => sum(power(g))),
    np.add,
  );
  return p === 2 ? sqrt([total]) : p === 1 ? total : np.pow(total, 1 / p);
}

export const clipNorm = positional(
  "optim.clipNorm",
  "Scales all gradients down so that their common norm is at most `max`.",
  [parameter("max", size, "Largest norm"), further("p", norm, "Which norm, default 2")],
  (max: number, p = 2): Clip =>
    forAnyRows((gradients) => {
      const factor = np.min(np.div(scalarConstant("f32", max), np.add(gradientNorm(gradients, p), 1e-6)), 1);
      return gradients.map((g) => np.mul(g, same(factor, g)));
    }),
);

export const clipValue = positional(
  "optim.clipValue",
  "Limits each element of each gradient to [−max, max].",
  [parameter("max", size, "Largest amount")],
  (max: number): Clip => forAnyRows((gradients) => gradients.map((g) => np.min(np.max(g, -max), max))),
);

export const clipEachNorm = positional(
  "optim.clipEachNorm",
  "Scales each gradient down so that its own norm is at most `max` (Keras's `clipnorm`).",
  [parameter("max", positive, "Largest norm")],
  (max: number): Clip => forAnyRows((gradients) => gradients.flatMap((g) => clipNorm(max)([g]))),
);
