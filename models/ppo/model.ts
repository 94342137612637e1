/**
 * Proximal policy optimisation: steps are used several times, as long as the policy stays near the one that took them.
 * Schulman et al., "Proximal policy optimization algorithms", 2017.
 */

import { F, type Value } from "wasmith";
import { entropy, logProbability } from "../policy-gradient/model.js";

export { ActorCritic } from "../policy-gradient/model.js";

export interface Experience {
  /** i64 [batch]. */
  readonly action: Value;
  /** log π(action | state) when it was done, [batch]. */
  readonly before: Value;
  readonly advantage: Value;
  /** The return that came. */
  readonly result: Value;
}

/**
 * The surrogate objective: how much more probable good actions became, which counts up to 1 ± range only, so that nothing is gained by
 * going further. With the critic's error, and a bonus for the entropy.
 */
export function proximalLoss(
  { logits, value }: { readonly logits: Value; readonly value: Value },
  { action, before, advantage, result }: Experience,
  { range = 0.2, bonus = 0.01 } = {},
): Value {
  const ratio = F.exp(logProbability(logits, action).sub(before));
  const normalized = advantage.sub(advantage.mean()).div(advantage.std().add(1e-8));
  const gain = F.minimum(ratio.mul(normalized), F.clamp(ratio, 1 - range, 1 + range).mul(normalized)).mean();
  return F.mseLoss(value, result).mul(0.5).sub(gain).sub(entropy(logits).mul(bonus));
}
