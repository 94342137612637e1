/** What detectors with anchors learn. */

import { F, type Value } from "wasmith";
import { type DeltaWeights, deltasOf, type Matched } from "./boxes.js";

/** How many, at least 1. */
export const countOf = (mask: Value): Value => F.cast(mask, "f32").sum().clamp(1);

/**
 * Mean over the positive anchors of how far deltas [N, A, 4] are from those that lead to their boxes, in sum over the four.
 * @param anchors [A, 4] or [N, A, 4] @param beta where squares end and distances begin
 */
export function misplaced(
  deltas: Value,
  anchors: Value,
  { positive, corners }: Matched,
  { beta = 1 / 9, weights = [1, 1] as DeltaWeights } = {},
): Value {
  const chosen = positive.unsqueeze(2);
  const target = F.where(chosen, deltasOf(corners, anchors, weights), 0);
  const error = F.smoothL1Loss(deltas, target, { beta, reduction: "none" });
  return F.where(chosen, error, 0).sum().div(countOf(positive));
}
