/** Which measure decides, and whether it got better. */
import { aString, type Checks, notNegative, oneOf } from "../data/options.js";
import { modelError } from "../errors.js";
import type { BeginEvent, EpochEvent } from "../events.js";

export interface MonitorOptions {
  /** `loss`, a metric's name, or these as `validation.NAME`. Default: `validation.loss` where there is a validation, else `loss`. */
  readonly monitor?: string | undefined;
  /** Whether smaller or larger is better. Default `min` for losses; metrics need it said. */
  readonly mode?: "min" | "max" | undefined;
  /** What is no better by more than this is no better. Default 0. */
  readonly minDelta?: number | undefined;
}

export const monitorChecks: Checks<MonitorOptions> = {
  monitor: aString,
  mode: oneOf("min", "max"),
  minDelta: notNegative,
};

/** The measures of an epoch by the names that `monitor` takes. */
export const measuresOf = ({ loss, metrics, validation }: EpochEvent): Record<string, number> => ({
  loss,
  ...metrics,
  ...(validation === null
    ? {}
    : Object.fromEntries(
        Object.entries({ loss: validation.loss, ...validation.metrics }).map(([k, v]) => [`validation.${k}`, v]),
      )),
});

export class Monitor {
  readonly name: string;
  readonly sign: 1 | -1;
  readonly #minDelta: number;
  best: number | null = null;

  /** @throws ModelError where the events will not have the measure */
  constructor(of: string, { monitor, mode, minDelta = 0 }: MonitorOptions, { measures }: BeginEvent) {
    this.name = monitor ?? (measures.includes("validation.loss") ? "validation.loss" : "loss");
    if (!measures.includes(this.name)) {
      const hint = `there are: ${measures.join(", ")}${measures.includes("validation.loss") ? "" : "; `validation.…` needs the option validation of fit"}`;
      throw modelError(`${of}, option monitor`, `nothing is called "${this.name}"`, hint);
    }
    if (mode === undefined && !/(^|\.)loss$/.test(this.name)) {
      const hint = 'say mode: "min" or mode: "max"';
      throw modelError(`${of}, option mode`, `whether a smaller or a larger ${this.name} is better is not known`, hint);
    }
    this.sign = mode === "max" ? -1 : 1;
    this.#minDelta = minDelta;
  }

  value(event: EpochEvent): number {
    return measuresOf(event)[this.name]!;
  }

  /** Whether it is the best so far, which it then counts as. NaN never is. */
  improves(value: number): boolean {
    const better = this.best === null ? !Number.isNaN(value) : this.sign * (this.best - value) > this.#minDelta;
    if (better) this.best = value;
    return better;
  }
}
