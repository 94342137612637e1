/** Callbacks that end training or slow it down where it gets no better. */
import { aBoolean, aShare, aSize, checkOptions, notNegative } from "../data/options.js";
import { modelError } from "../errors.js";
import type { Callbacks, FitSession } from "../events.js";
import type { Tensor } from "../tensor.js";
import { Monitor, type MonitorOptions, monitorChecks } from "./monitor.js";

export interface EarlyStoppingOptions extends MonitorOptions {
  /** So many epochs in a row that are no better than the best end the training. Default 0: the first one does. */
  readonly patience?: number | undefined;
  /** Whether parameters and buffers are in the end those of the best epoch. Default false. */
  readonly restoreBest?: boolean | undefined;
}

/** Tensors by name. */
type Values = readonly (readonly [string, Tensor])[];

/**
 * Ends the training where a measure no longer gets better, by Keras's rules. One is for one run of `fit` at a time. What it has seen is
 * in checkpoints: after `restore` it goes on counting.
 */
export function earlyStopping(options: EarlyStoppingOptions = {}): Callbacks {
  checkOptions("earlyStopping", options, { ...monitorChecks, patience: aSize, restoreBest: aBoolean });
  const { patience = 0, restoreBest = false } = options;
  let monitor: Monitor;
  let session: FitSession;
  let waited = 0;
  let best: Values | null = null;
  const name = "earlyStopping";
  return {
    name,
    state: () => ({ values: { best: monitor.best, waited }, tensors: Object.fromEntries(best ?? []) }),
    onBegin(event) {
      monitor = new Monitor(name, options, event);
      ({ session } = event);
      const { values, tensors } = event.state ?? {};
      const seen = (values ?? { best: null, waited: 0 }) as { readonly best: number | null; readonly waited: number };
      ({ best: monitor.best, waited } = seen);
      const kept = Object.entries(tensors ?? {});
      best = restoreBest && kept.length > 0 ? kept : null;
    },
    onEpoch(event) {
      if (monitor.improves(monitor.value(event))) {
        waited = 0;
        if (restoreBest)
          best = session.state
            .filter((s) => s.role === "param" || s.role === "buffer")
            .map((s) => [s.name, session.getState(s.name)] as const);
        return true;
      }
      return ++waited < Math.max(1, patience);
    },
    onEnd() {
      // Files have no names for some dtypes: the arrays alone.
      for (const [state, { data }] of best ?? []) session.setState(state, data);
      best = null;
    },
  };
}

export interface PlateauOptions extends MonitorOptions {
  /** What the rate is multiplied by. Default 0.1. */
  readonly factor?: number | undefined;
  /** Epochs in a row that may be no better than the best; the next one lowers the rate. Default 10, as in PyTorch. */
  readonly patience?: number | undefined;
  /** Epochs after a change that do not count. Default 0. */
  readonly cooldown?: number | undefined;
  /** The rate is not lowered below this. Default 0. */
  readonly minRate?: number | undefined;
}

/**
 * Lowers the learning rate where a measure no longer gets better: PyTorch's `ReduceLROnPlateau` with `threshold_mode="abs"` and
 * `threshold=minDelta`. Needs a program without a schedule in its graph.
 */
export function reduceOnPlateau(options: PlateauOptions = {}): Callbacks {
  checkOptions("reduceOnPlateau", options, {
    ...monitorChecks,
    factor: aShare,
    patience: aSize,
    cooldown: aSize,
    minRate: notNegative,
  });
  const { factor = 0.1, patience = 10, cooldown = 0, minRate = 0 } = options;
  if (factor === 1) throw modelError("reduceOnPlateau, option factor", "expected a number below 1, got 1");
  let monitor: Monitor;
  let session: FitSession;
  let bad = 0;
  let cooling = 0;
  const name = "reduceOnPlateau";
  return {
    name,
    state: () => ({ values: { best: monitor.best, bad, cooling } }),
    onBegin(event) {
      monitor = new Monitor(name, options, event);
      ({ session } = event);
      const seen = (event.state?.values ?? { best: null, bad: 0, cooling: 0 }) as {
        readonly best: number | null;
        readonly bad: number;
        readonly cooling: number;
      };
      ({ best: monitor.best, bad, cooling } = seen);
      // Throws where the graph sets the rate.
      session.learningRate;
    },
    onEpoch(event) {
      bad = monitor.improves(monitor.value(event)) ? 0 : bad + 1;
      if (cooling > 0) {
        cooling--;
        bad = 0;
      }
      if (bad <= patience) return;
      const rate = session.learningRate;
      session.learningRate = Math.min(rate, Math.max(rate * factor, minRate));
      cooling = cooldown;
      bad = 0;
    },
  };
}
