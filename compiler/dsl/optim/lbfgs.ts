/** L-BFGS over all parameters as one vector. */

import { amax, asType, concatenate, np, reshapeTo, sliceAxis, sum, where } from "../../../ir/build.js";
import { scanOp } from "../../../ir/control-build.js";
import { ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { constantLike, scalarConstant } from "../../../ir/ops/constant.js";
import { abs, neg } from "../../../ir/ops/elementwise.js";
import { productOf } from "../../../ir/ops/movement.js";
import { elementCount } from "../../../ir/tensor.js";
import { choice, count, factory, flag, type OptionsOf, option, type Settings, settle, size } from "../../schema.js";
import { strongWolfe } from "./line-search.js";
import type { JointRule, JointUpdate, Optimizer } from "./rule.js";

const options = {
  lr: option(size, 1, "Learning rate at the start: the length of steps"),
  maximize: option(flag, false, "Climb instead of descend"),
  historySize: option(count, 100, "Updates that are remembered, each as two vectors of all parameters"),
  toleranceGradient: option(size, 1e-7, "Nothing changes where no element of the gradient is larger"),
  toleranceChange: option(size, 1e-9, "Parameters stay where the slope along the step is smaller"),
  lineSearch: option(
    choice("none", "strongWolfe"),
    "none",
    "Whether a step's length is searched for (PyTorch's `line_search_fn=\"strong_wolfe\"`): the loss is computed again for each that is tried, with the same batch and random numbers",
  ),
};

/**
 * Each training step is one iteration of PyTorch's `LBFGS`. Its `step(closure)` makes up to `max_iter` of them on one batch: call `step` as
 * often with the same batch.
 */
export const LBFGS = factory(
  {
    name: "optim.LBFGS",
    summary:
      "https://doi.org/10.1007/BF01589116. Each training step is one iteration, with its line search: `max_iter` of PyTorch's `step(closure)` is as many steps on the same batch.",
    options,
  },
  (given: OptionsOf<typeof options> = {}): Optimizer => {
    const o = settle("optim.LBFGS", given, options);
    return {
      name: "LBFGS",
      lr: o.lr,
      options: o,
      // Every parameter has the optimiser's rate; its state belongs to all of them together.
      ruleFor: () => ({ lr: o.lr, slots: {}, update: (u) => ({ param: u.param, slots: {} }) }),
      joint: rule(o),
    };
  },
);

const dot = (a: Value, b: Value): Value => sum(np.mul(a, b));

function rule(o: Settings<typeof options>): JointRule {
  const history = o.historySize;
  return {
    slots: (parameters) => {
      const n = parameters.reduce((total, p) => total + elementCount(p.shape), 0);
      return {
        iterations: { shape: [], initial: 0 },
        gradient: { shape: [n], initial: 0 },
        lastStep: { shape: [n], initial: 0 },
        changes: { shape: [history, n], initial: 0 },
        steps: { shape: [history, n], initial: 0 },
        curvatures: { shape: [history], initial: 0 },
        scale: { shape: [], initial: 1 },
      };
    },
    update: (u) => iterate(u, o),
  };
}

function iterate(u: JointUpdate, o: Settings<typeof options>): ReturnType<JointRule["update"]> {
  const before = u.slots as Readonly<
    Record<"iterations" | "gradient" | "lastStep" | "changes" | "steps" | "curvatures" | "scale", Value>
  >;
  const joined = flattened(u.gradients);
  const g = o.maximize ? neg([joined]) : joined;
  const first = np.eq(before.iterations, 0);

  // The newest change of the gradient and the step that made it join the history where the curvature is positive. Rows that
  // are still empty have a curvature of 0 and take no part.
  const change = np.sub(g, before.gradient);
  const along = dot(change, before.lastStep);
  const useful = np.and(np.gt(along, 1e-10), np.eq(first, scalarConstant("bool", 0)));
  const safe = where(useful, along, 1);
  const push = (list: Value, row: Value): Value => {
    const shifted = concatenate([sliceAxis(list, 0, 1, o.historySize - 1), reshapeTo(row, [1, ...row.type.shape])], 0);
    return where(useful, shifted, list);
  };
  const changes = push(before.changes, change);
  const steps = push(before.steps, before.lastStep);
  const curvatures = push(before.curvatures, np.div(constantLike(safe, 1), safe));
  const size2 = where(useful, dot(change, change), 1);
  const scale = where(useful, np.div(along, size2), before.scale);

  const back = scanOp(
    { carried: [neg([g])], inputs: [changes, steps, curvatures], reverse: true },
    ([q], [y, s, c]) => {
      const share = np.mul(dot(s!, q!), c!);
      return { carried: [np.sub(q!, np.mul(y!, share))], scanned: [share] };
    },
  );
  const forth = scanOp(
    { carried: [np.mul(back.carried[0]!, scale)], inputs: [changes, steps, curvatures, back.scanned[0]!] },
    ([r], [y, s, c, share]) => {
      const taken = np.mul(dot(y!, r!), c!);
      return { carried: [np.add(r!, np.mul(s!, np.sub(share!, taken)))] };
    },
  );
  const direction = forth.carried[0]!;

  const one = scalarConstant("f32", 1);
  const total = sum(abs([g]));
  const length = np.mul(u.lr, where(first, np.min(np.div(one, total), 1), one));
  const descends = np.le(dot(g, direction), -o.toleranceChange);
  const goesOn = np.gt(amax(abs([g])), o.toleranceGradient);
  const moves = np.and(descends, goesOn);
  const found = o.lineSearch === "none" ? length : searched(u, o, { g, direction, length, moves });
  const step = np.mul(direction, found);
  const params = moved(u.params, step).map((p, i) => where(moves, p, u.params[i]!));
  const next = {
    iterations: np.add(before.iterations, 1),
    gradient: g,
    lastStep: step,
    changes,
    steps,
    curvatures,
    scale,
  };
  return {
    params,
    slots: Object.fromEntries(Object.entries(next).map(([name, v]) => [name, where(goesOn, v, u.slots[name]!)])),
  };
}

const flattened = (values: readonly Value[]): Value =>
  concatenate(
    values.map((v) => reshapeTo(asType(v, "f32"), [productOf(v.type.shape)])),
    0,
  );

/** The parameters after a step of all of them as one vector. */
function moved(params: readonly Value[], step: Value): readonly Value[] {
  let start = 0;
  return params.map((p) => {
    const n = elementCount(p.type.shape as readonly number[]);
    const part = reshapeTo(sliceAxis(step, 0, start, n), p.type.shape);
    start += n;
    return np.add(p, asType(part, p.type.dtype));
  });
}

interface Found {
  readonly g: Value;
  readonly direction: Value;
  readonly length: Value;
  readonly moves: Value;
}

/** The length of a step that meets the strong Wolfe conditions. */
function searched(
  { params, objective }: JointUpdate,
  { maximize, toleranceChange }: Settings<typeof options>,
  { g, direction, length, moves }: Found,
): Value {
  if (objective === undefined)
    throw new ModelError({
      where: "optim.LBFGS",
      message:
        "its line search computes the loss anew, which needs one loss, of one batch, whose gradients nothing changes",
      hint: "use ctx.minimize or trainStep, without clip and accumulate",
    });
  const own = (v: Value) => (maximize ? neg([v]) : v);
  const scalar = (loss: Value) => own(asType(reshapeTo(loss, []), "f32"));
  return strongWolfe({
    start: { f: scalar(objective.loss), slope: dot(g, direction) },
    first: length,
    largest: amax(abs([direction])),
    wanted: moves,
    toleranceChange,
    at: (t) => {
      const there = objective.at(moved(params, np.mul(direction, t)));
      return { f: scalar(there.loss), slope: dot(own(flattened(there.gradients)), direction) };
    },
  });
}
