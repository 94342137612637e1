/**
 * How much privacy DP-SGD spends: Rényi differential privacy of the subsampled Gaussian mechanism, composed over steps.
 *
 * Each step draws every sample with probability q, clips each sample's gradient to a norm, and adds noise of σ times this norm. Its Rényi
 * divergence of order α bounds what one sample changes; those of steps add up, and the best order gives ε for δ. Mironov, Talwar and Zhang,
 * "Rényi differential privacy of the sampled Gaussian mechanism", https://arxiv.org/abs/1908.10530
 */

import { ModelError } from "../../ir/errors.js";
import { aNumber, atLeast, type Checks, checked, listOf, oneOf } from "../options.js";

export interface PrivacyOptions {
  /** Standard deviation of the noise, in units of the norm to which gradients are clipped. */
  readonly noiseMultiplier: number;
  /** The probability with which a step uses a sample: batch size by number of samples. */
  readonly samplingRate: number;
  readonly steps: number;
  /** Probability with which ε may not hold; less than 1 by the number of samples. */
  readonly delta: number;
  /** Orders of the divergence that are tried, each an integer of at least 2. Default: 2 to 64, and powers of 2 to 1024. */
  readonly orders?: readonly number[];
  /**
   * From a divergence to (ε, δ): "tight" (Canonne, Kamath and Steinke 2020, Proposition 12), or Mironov's of 2017, "classic", by which older
   * work states its figures. Default "tight".
   */
  readonly conversion?: "tight" | "classic";
}

const checks: Checks<PrivacyOptions> = {
  noiseMultiplier: aNumber,
  samplingRate: aNumber,
  steps: atLeast(0),
  delta: aNumber,
  orders: listOf(atLeast(2)),
  conversion: oneOf("tight", "classic"),
};

const defaultOrders: readonly number[] = [...Array.from({ length: 63 }, (_, i) => i + 2), 128, 256, 512, 1024];

/** What a training with DP-SGD guarantees. */
export interface PrivacySpent {
  readonly epsilon: number;
  readonly delta: number;
  /** The order that gives this ε. At an end of the orders, others might give less. */
  readonly order: number;
}

/**
 * The ε that DP-SGD has spent: no outcome is more than e^ε times as likely with any one sample than without it, but for δ. It holds for
 * batches that are drawn by chance (each sample by itself); for shuffled ones, as `fit` makes them, it is customary and not proven.
 *
 * ```ts
 * privacySpent({ noiseMultiplier: 1.1, samplingRate: 256 / 60_000, steps: 14_063, delta: 1e-5 }).epsilon; // 2.6
 * ```
 *
 * @throws ModelError where an option is out of its range
 */
export function privacySpent(options: PrivacyOptions): PrivacySpent {
  const all = checked("privacySpent", options, checks);
  const { noiseMultiplier, samplingRate, steps, delta, orders = defaultOrders, conversion = "tight" } = all;
  const problems = [
    !(noiseMultiplier > 0) && `noiseMultiplier is more than 0, not ${noiseMultiplier}`,
    !(samplingRate >= 0 && samplingRate <= 1) && `samplingRate is between 0 and 1, not ${samplingRate}`,
    !(delta > 0 && delta < 1) && `delta is between 0 and 1, not ${delta}`,
    orders.length === 0 && "orders has at least one",
  ].filter((p) => p !== false);
  if (problems.length > 0) throw new ModelError(problems.map((message) => ({ where: "privacySpent", message })));
  let best: PrivacySpent = { epsilon: Infinity, delta, order: orders[0]! };
  for (const order of orders) {
    const divergence = steps * renyiDivergence(samplingRate, noiseMultiplier, order);
    const tight = Math.log1p(-1 / order) - Math.log(order) / (order - 1);
    const bound = divergence - Math.log(delta) / (order - 1) + (conversion === "tight" ? tight : 0);
    const epsilon = Math.max(0, bound);
    if (epsilon < best.epsilon) best = { epsilon, delta, order };
  }
  return best;
}

/**
 * Rényi divergence of order α of one step: log(Σ C(α, k) (1 − q)^(α − k) q^k e^((k² − k) / 2σ²)) / (α − 1), k from 0 to α.
 * @param order an integer of at least 2
 */
export function renyiDivergence(samplingRate: number, noiseMultiplier: number, order: number): number {
  const [q, variance] = [samplingRate, noiseMultiplier ** 2];
  if (q === 0) return 0;
  if (q === 1) return order / (2 * variance);
  const terms: number[] = [];
  let logChoose = 0;
  for (let k = 0; k <= order; k++) {
    if (k > 0) logChoose += Math.log((order - k + 1) / k);
    terms.push(logChoose + (order - k) * Math.log1p(-q) + k * Math.log(q) + (k * k - k) / (2 * variance));
  }
  const most = Math.max(...terms);
  return (most + Math.log(terms.reduce((sum, t) => sum + Math.exp(t - most), 0))) / (order - 1);
}

export interface NoiseOptions extends Omit<PrivacyOptions, "noiseMultiplier"> {
  /** The ε that may be spent. */
  readonly epsilon: number;
}

/** The least noise multiplier, to three digits, with which a training spends no more than ε. @throws ModelError where none does */
export function noiseFor({ epsilon, ...options }: NoiseOptions): number {
  if (!(epsilon > 0)) throw new ModelError({ where: "noiseFor", message: `epsilon is more than 0, not ${epsilon}` });
  const spends = (noiseMultiplier: number) => privacySpent({ ...options, noiseMultiplier }).epsilon;
  let [low, high] = [0, 1];
  while (spends(high) > epsilon) {
    [low, high] = [high, 2 * high];
    if (high > 1e6)
      throw new ModelError({ where: "noiseFor", message: `no noise keeps ε at ${epsilon}`, hint: "raise delta" });
  }
  while (high - low > 1e-3 * high) {
    const middle = (low + high) / 2;
    if (spends(middle) > epsilon) low = middle;
    else high = middle;
  }
  return high;
}
