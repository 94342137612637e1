/** Looks for a learning rate by a short training with rising rates (Smith, "Cyclical learning rates", 2017). */
import { aCount, aSeedOrFalse, aShare, aSignal, checkOptions, positive } from "../data/options.js";
import type { Dataset } from "../dataset.js";
import { modelError } from "../errors.js";
import type { TrainingSession } from "../train.js";

export interface LearningRateOptions {
  /** The first and the last rate. Default 1e-7 and 10. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  /** Batches, whose rates form a geometric series. Default 100. */
  readonly steps?: number | undefined;
  /** Share of the mean before in the running mean of losses. Default 0.98 (as fastai). */
  readonly smoothing?: number | undefined;
  /** Ends where the smoothed loss is more than so many times the least. Default 4. */
  readonly diverged?: number | undefined;
  readonly batchSize?: number | undefined;
  readonly shuffle?: number | false | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface LearningRateCurve {
  readonly curve: readonly { readonly rate: number; readonly loss: number; readonly smoothed: number }[];
  /** Where the smoothed loss falls most steeply over the logarithm of the rate; null where it never falls. */
  readonly suggestion: number | null;
}

/**
 * Trains with rising rates until the loss diverges, then puts the session back as it was, where it stands in a run included.
 * @throws ModelError where the program has a schedule in its graph
 */
export async function findLearningRate(
  session: Pick<TrainingSession<never, unknown, never>, "fit" | "save" | "restore" | "learningRate">,
  dataset: Dataset,
  options: LearningRateOptions = {},
): Promise<LearningRateCurve> {
  checkOptions("findLearningRate", options, {
    from: positive,
    to: positive,
    steps: aCount,
    smoothing: aShare,
    diverged: positive,
    batchSize: aCount,
    shuffle: aSeedOrFalse,
    signal: aSignal,
  });
  const { from = 1e-7, to = 10, steps = 100, smoothing = 0.98, diverged = 4, batchSize, shuffle, signal } = options;
  if (to <= from) throw modelError("findLearningRate, option to", `expected more than from (${from}), got ${to}`);
  const rateAt = (i: number): number => from * (to / from) ** (i / Math.max(1, steps - 1));
  const curve: { rate: number; loss: number; smoothed: number }[] = [];
  const before = await session.save();
  let mean = 0;
  let least = Infinity;
  try {
    session.learningRate = rateAt(0);
    await session.fit(dataset, {
      epochs: steps,
      firstEpoch: 0,
      batchSize,
      shuffle,
      signal,
      progress: false,
      checkFinite: false,
      callbacks: {
        onBatch({ loss }) {
          mean = smoothing * mean + (1 - smoothing) * loss;
          const smoothed = smoothing === 1 ? loss : mean / (1 - smoothing ** (curve.length + 1));
          if (!Number.isFinite(smoothed)) return false;
          curve.push({ rate: rateAt(curve.length), loss, smoothed });
          // A mean of few batches moves with each of them.
          if (curve.length >= steps / 10) least = Math.min(least, smoothed);
          if (curve.length === steps || smoothed > diverged * least) return false;
          session.learningRate = rateAt(curve.length);
          return true;
        },
      },
    });
  } finally {
    await session.restore(before);
  }
  return { curve, suggestion: steepest(curve, steps) };
}

/**
 * By lines of least squares through a tenth of the points; rates are evenly spaced in the logarithm. The first tenth does not count, since
 * a mean of few batches moves with each of them (fastai leaves it out too).
 */
function steepest(curve: LearningRateCurve["curve"], steps: number): number | null {
  const side = Math.max(1, Math.round(steps / 20));
  let best: number | null = null;
  let steep = 0;
  for (let i = Math.max(side, Math.round(steps / 10)); i + side < curve.length; i++) {
    let slope = 0;
    for (let d = -side; d <= side; d++) slope += d * curve[i + d]!.smoothed;
    if (slope < steep) {
      steep = slope;
      best = curve[i]!.rate;
    }
  }
  return best;
}
