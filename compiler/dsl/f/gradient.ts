/** What matters to differentiation only. */

import type { Value } from "../../../ir/graph.js";
import * as ops from "../../../ir/ops/gradient.js";

/** x itself; no gradient flows through it (PyTorch's detach). */
export const stopGradient = (x: Value): Value => ops.stopGradient([x]);
/** x itself; no gradient flows through it: `stopGradient` by PyTorch's name. */
export const detach = (x: Value): Value => ops.stopGradient([x]);
/** x itself; its gradient is multiplied by a factor. */
export const scaleGradient = (x: Value, factor: number): Value => ops.scaleGradient([x], { factor });
/** x itself; its gradient is multiplied by −scale. https://arxiv.org/abs/1505.07818 */
export const reverseGradient = (x: Value, scale = 1): Value => ops.scaleGradient([x], { factor: -scale });
