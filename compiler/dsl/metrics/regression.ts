/** Metrics of numbers. */

import { asType, mean, np, rankOf, square, sum } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { abs, sqrt, sub } from "../../../ir/ops/elementwise.js";
import { count, optional } from "../../schema.js";
import { like } from "../losses/define.js";
import { countOf, defineMetric, type Metric, type Sums, share } from "./define.js";

/** In f64, so that sums over many batches keep their digits. */
const difference = (output: Value, target: Value): Value =>
  np.sub(asType(output, "f64"), asType(like(target, output), "f64"));

const meanOf = (of: (difference: Value) => Value): Pick<Metric, "slots" | "update"> => ({
  slots: { total: [], count: [] },
  update: (output, target) => ({ total: sum(of(difference(output, target!))), count: countOf(output) }),
});
const quotient = ({ total, count: n }: Sums): Value => share(total!, n!);

export const meanAbsoluteError = defineMetric({
  name: "meanAbsoluteError",
  summary: "Mean of |output − target|.",
  options: {},
  of: () => ({ ...meanOf((d) => abs([d])), result: quotient }),
});

export const meanSquaredError = defineMetric({
  name: "meanSquaredError",
  summary: "Mean of (output − target)².",
  options: {},
  of: () => ({ ...meanOf(square), result: quotient }),
});

export const rootMeanSquaredError = defineMetric({
  name: "rootMeanSquaredError",
  summary: "Root of the mean of (output − target)².",
  options: {},
  of: () => ({ ...meanOf(square), result: (sums) => sqrt([quotient(sums)]) }),
});

export const r2 = defineMetric({
  name: "r2",
  summary:
    "Coefficient of determination, 1 − Σ (target − output)² / Σ (target − mean)², of all elements, or the mean over the columns of an output [N, columns].",
  options: { columns: optional(count, "Number of columns that are measured for themselves") },
  of: ({ columns }) => {
    const shape = columns === undefined ? [] : [columns];
    return {
      slots: { residual: shape, sum: shape, squares: shape, count: [] },
      update: (output, target) => {
        if (columns !== undefined && (rankOf(output) !== 2 || output.type.shape[1] !== columns))
          throw new ModelError(`an output [N, ${columns}] is needed, not ${typeText(output.type)}`);
        const axes = columns === undefined ? undefined : [0];
        const t = asType(target!, "f64");
        return {
          residual: sum(square(difference(output, target!)), axes),
          sum: sum(t, axes),
          squares: sum(square(t), axes),
          count: np.div(countOf(output), columns ?? 1),
        };
      },
      result: ({ residual, sum: s, squares, count: n }) => {
        const spread = sub([squares!, share(square(s!), n!)]);
        const each = np.add(np.mul(share(residual!, spread), -1), 1);
        return columns === undefined ? each : mean(each);
      },
    };
  },
});
