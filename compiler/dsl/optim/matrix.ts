/** Optimisers that see parameters as matrices (Adafactor, Muon), and several optimisers as one, as Muon takes matrices only. */

import { mean, moveAxis, norm2, np, rankOf, square } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { scalarConstant } from "../../../ir/ops/constant.js";
import { dotGeneral } from "../../../ir/ops/contraction.js";
import { sqrt } from "../../../ir/ops/elementwise.js";
import { elementCount } from "../../../ir/tensor.js";
import { choice, count, defined, flag, list, number, option, optional, positive, share, size } from "../../schema.js";
import {
  common,
  defineOptimizer,
  descend,
  epsilonOption,
  gradientOf,
  mix,
  type Optimizer,
  same,
  shrunk,
} from "./rule.js";

const shapeOf = (v: Value): readonly number[] => v.type.shape as readonly number[];
const one = scalarConstant("f32", 1);

/** The shape with one element along an axis, counted from the end; undefined for vectors, which keep no such factor. */
const factor = (axis: -1 | -2) => (shape: readonly number[]) =>
  shape.length > 1 ? shape.map((d, a) => (a === shape.length + axis ? 1 : d)) : undefined;

export const Adafactor = defineOptimizer({
  name: "Adafactor",
  summary:
    "Adam without a mean, whose second moments are kept as a row and a column for each matrix, https://arxiv.org/abs/1804.04235; by the formulas of PyTorch's `Adafactor`.",
  options: {
    ...common(1e-2),
    beta2Decay: option(number, -0.8, "Power of the step's number that new second moments are weighted by"),
    epsilon: optional(
      positive,
      "Smallest mean of the second moments, and root of the smallest one. Default: the precision of f32",
    ),
    epsilonScale: option(size, 1e-3, "Least size that a parameter counts as having"),
    clipThreshold: option(positive, 1, "Largest root mean square of a step, before its rate (PyTorch's `d`)"),
    weightDecay: option(size, 0, "Share of the parameter that each step takes off, times the rate"),
  },
  rule: (o) => {
    const epsilon = o.epsilon ?? 2 ** -23;
    return {
      slots: {
        rows: { initial: 0, shape: factor(-1) },
        columns: { initial: 0, shape: factor(-2) },
        variance: { initial: 0, shape: (shape) => (shape.length > 1 ? undefined : shape) },
      },
      update: (u) => {
        const g = gradientOf(u, { ...o, weightDecay: 0 });
        const news = np.pow(u.step, o.beta2Decay);
        const towards = (slot: Value, to: Value) => np.add(slot, np.mul(np.sub(to, slot), same(news, slot)));
        const slots: Record<string, Value> = {};
        if (rankOf(g) > 1) {
          slots.rows = towards(u.slots.rows!, mean(square(g), -1, { keepDims: true }));
          slots.columns = towards(u.slots.columns!, mean(square(g), -2, { keepDims: true }));
        } else slots.variance = towards(u.slots.variance!, square(g));
        const estimate =
          slots.variance ??
          np.div(np.mul(slots.rows!, slots.columns!), np.max(mean(slots.rows!, -2, { keepDims: true }), epsilon));
        const direction = np.div(g, sqrt([np.max(estimate, epsilon * epsilon)]));
        const root = Math.sqrt(elementCount(shapeOf(g)));
        const scale = np.max(np.div(norm2(u.param), root), o.epsilonScale);
        const slow = np.min(same(u.lr, scale), same(np.div(one, sqrt([u.step])), scale));
        const clipped = np.max(np.div(norm2(direction), root * o.clipThreshold), 1);
        const rate = np.div(np.mul(scale, slow), clipped);
        return { param: descend(shrunk(u, o.weightDecay), rate, direction), slots };
      },
    };
  },
});

/**
 * The nearest matrix with orthogonal rows or columns, roughly: five steps of a quintic Newton–Schulz iteration bring all singular values
 * near 1. https://kellerjordan.github.io/posts/muon
 */
function orthogonalized(g: Value, steps: number, [a, b, c]: readonly number[], epsilon: number): Value {
  const [rows, columns] = shapeOf(g) as readonly [number, number];
  const flat = rows > columns ? moveAxis(g, 0, 1) : g;
  const product = (x: Value, y: Value, contractB: 0 | 1) =>
    dotGeneral([x, y], { batchA: [], batchB: [], contractA: [1], contractB: [contractB] });
  let x = np.div(flat, np.max(norm2(flat), epsilon));
  for (let i = 0; i < steps; i++) {
    const gram = product(x, x, 1);
    const update = mix(b!, gram, c!, product(gram, gram, 0));
    x = np.add(np.mul(x, a!), product(update, x, 0));
  }
  return rows > columns ? moveAxis(x, 0, 1) : x;
}

export const Muon = defineOptimizer({
  name: "Muon",
  summary:
    "Momentum whose steps are made orthogonal, for the matrices of hidden layers, https://kellerjordan.github.io/posts/muon; by the formulas of PyTorch's `Muon`, which iterates in bf16 where this does in f32. Other parameters need another optimiser: see `optim.combined`.",
  options: {
    ...common(1e-3),
    weightDecay: option(size, 0.1, "Share of the parameter that each step takes off, times the rate"),
    momentum: option(share, 0.95, "Share of the last step that is kept"),
    nesterov: option(flag, true, "Nesterov's momentum"),
    coefficients: option(list(number), [3.4445, -4.775, 2.0315], "Of each iteration: of x, x³ and x⁵"),
    iterations: option(count, 5, "Iterations of a step"),
    epsilon: epsilonOption(1e-7),
    adjustRate: option(
      choice("original", "matchAdamW"),
      "original",
      "Rate by the shape: √max(1, rows/columns), or 0.2·√max(rows, columns), so that steps are as large as AdamW's",
    ),
  },
  rule: (o) => ({
    slots: { momentum: { initial: 0 } },
    update: (u) => {
      const shape = shapeOf(u.param);
      const [rows, columns] = shape as readonly [number, number];
      if (shape.length !== 2 || o.coefficients.length !== 3)
        throw new ModelError({
          message:
            shape.length === 2
              ? `Muon takes three coefficients, not ${o.coefficients.length}`
              : `Muon learns matrices, but this parameter is [${shape}]`,
          hint: 'optim.combined(optim.Muon(), [{ params: (name) => name.endsWith("bias"), optimizer: optim.AdamW() }])',
        });
      const g = gradientOf(u, { ...o, weightDecay: 0 });
      const kept = u.momentum === undefined ? o.momentum : same(u.momentum, g);
      const towards = (x: Value, to: Value, by: Value | number) => np.add(x, np.mul(np.sub(to, x), by));
      const momentum = towards(g, u.slots.momentum!, kept);
      const direction = o.nesterov ? towards(g, momentum, kept) : momentum;
      const ratio =
        o.adjustRate === "original" ? Math.sqrt(Math.max(1, rows / columns)) : 0.2 * Math.sqrt(Math.max(rows, columns));
      const step = orthogonalized(direction, o.iterations, o.coefficients, o.epsilon);
      return { param: descend(shrunk(u, o.weightDecay), np.mul(u.lr, ratio), step), slots: { momentum } };
    },
  }),
});

/** Some parameters, and what learns them. */
export interface Part {
  /** A prefix of their names, or a test. The first part that fits counts. */
  readonly params: string | ((name: string) => boolean);
  readonly optimizer: Optimizer;
}

export const combined = defined(
  {
    name: "optim.combined",
    summary:
      'One optimiser of several: each of a list of `{ params, optimizer }` learns the parameters whose names begin with the prefix or pass the test, the first those that are left. Rates keep their ratios to the first one\'s: `optim.combined(optim.Muon(), [{ params: (name) => name.endsWith("bias"), optimizer: optim.AdamW() }])`.',
  },
  (optimizer: Optimizer, parts: readonly Part[]): Optimizer => {
    const all = [optimizer, ...parts.map((p) => p.optimizer)];
    const whole = all.find((o) => o.joint !== undefined || o.average !== undefined);
    if (whole)
      throw new ModelError({
        where: "optim.combined",
        message: `${whole.name} ${whole.joint ? "learns all parameters together" : "keeps averages"}`,
        hint: whole.joint ? "use it alone" : "average what is combined: optim.averaged(optim.combined(…))",
      });
    const fits = ({ params }: Part, name: string) =>
      typeof params === "string" ? name.startsWith(params) : params(name);
    return {
      name: all.map((o) => o.name).join("+"),
      lr: optimizer.lr,
      options: optimizer.options,
      prefixes: [
        ...all.flatMap((o) => o.prefixes ?? []),
        ...parts.flatMap((p) => (typeof p.params === "string" ? [p.params] : [])),
      ],
      ruleFor: (name) => (parts.find((p) => fits(p, name))?.optimizer ?? optimizer).ruleFor(name),
    };
  },
);
