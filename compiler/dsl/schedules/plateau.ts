/** The rate that falls when a measure stops improving. */

import { choice, defined, index, type Option, option, settleAs, share, size } from "../../schema.js";

export interface PlateauOptions {
  readonly factor?: number;
  readonly patience?: number;
  readonly threshold?: number;
  readonly thresholdMode?: "relative" | "absolute";
  readonly cooldown?: number;
  readonly min?: number;
  /** Whether smaller or larger measures are better. */
  readonly mode?: "min" | "max";
}

const plateauOptions: { readonly [K in keyof PlateauOptions]-?: Option<unknown> } = {
  factor: option(share, 0.1, "Of the rate, each time it falls"),
  patience: option(index, 10, "Measures in a row without improvement that are let pass"),
  threshold: option(size, 1e-4, "What counts as an improvement"),
  thresholdMode: option(
    choice("relative", "absolute"),
    "relative",
    "Whether the threshold is a share of the best measure",
  ),
  cooldown: option(index, 0, "Measures after a fall that are not judged"),
  min: option(size, 0, "Least rate"),
  mode: option(choice("min", "max"), "min", "Whether smaller or larger measures are better"),
};

/**
 * Lowers the rate when a measure stops improving. It depends on measures, so it runs on the host: call `next` with each measure
 * and set the session's learning rate to what it returns.
 */
export class Plateau {
  rate: number;
  readonly #options: Required<PlateauOptions>;
  #best: number;
  #bad = 0;
  #cooling = 0;

  constructor(rate: number, options: PlateauOptions = {}) {
    this.rate = rate;
    this.#options = settleAs("schedules.Plateau", options, plateauOptions) as Required<PlateauOptions>;
    this.#best = this.#options.mode === "min" ? Infinity : -Infinity;
  }

  next(measure: number): number {
    const { factor, patience, threshold, thresholdMode, cooldown, min, mode } = this.#options;
    const sign = mode === "min" ? -1 : 1;
    const margin = thresholdMode === "relative" ? this.#best * (1 + sign * threshold) : this.#best + sign * threshold;
    if (mode === "min" ? measure < margin : measure > margin) {
      this.#best = measure;
      this.#bad = 0;
    } else this.#bad++;
    if (this.#cooling > 0) {
      this.#cooling--;
      this.#bad = 0;
    }
    if (this.#bad > patience) {
      const lower = Math.max(this.rate * factor, min);
      if (this.rate - lower > 1e-8) this.rate = lower;
      this.#cooling = cooldown;
      this.#bad = 0;
    }
    return this.rate;
  }
}

defined(
  {
    name: "schedules.Plateau",
    summary:
      "`new schedules.Plateau(rate, options)` runs beside the session: `session.learningRate = plateau.next(measure)`.",
    options: plateauOptions,
  },
  Plateau,
);
