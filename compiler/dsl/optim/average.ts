/** Exponential moving averages of weights. */

import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { decay, defined, type OptionsOf, option, settle } from "../../schema.js";
import { mix, type Optimizer } from "./rule.js";

const options = { decay: option(decay, 0.999, "Share of the average that is kept in each step (Keras: 0.99)") };

export const averaged = defined(
  {
    name: "optim.averaged",
    summary:
      "An optimiser that keeps an exponential moving average of each parameter beside it, in the state `optimizer.average.PARAMETER`. The first step's average is the parameter, as in PyTorch's `AveragedModel`.",
    options,
  },
  (optimizer: Optimizer, given: OptionsOf<typeof options> = {}): Optimizer => {
    const { decay: kept } = settle("optim.averaged", given, options);
    if (optimizer.average !== undefined) throw new ModelError(`${optimizer.name} keeps averages already`);
    return { ...optimizer, options: { ...optimizer.options, averageDecay: kept }, average: { decay: kept } };
  },
);

export const ema = defined(
  {
    name: "optim.ema",
    summary:
      "decay·average + (1 − decay)·value, the next value of an average: for target networks, teachers and statistics that a program keeps itself.",
    options,
  },
  (average: Value, value: Value, given: OptionsOf<typeof options> = {}): Value => {
    const { decay: kept } = settle("optim.ema", given, options);
    if (average.type.dtype !== value.type.dtype)
      throw new ModelError(`the average is ${typeText(average.type)}, the value ${typeText(value.type)}`);
    return mix(kept, average, 1 - kept, value);
  },
);
