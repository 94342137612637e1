/**
 * Finds composites in the steps that exporters write them in, before they are decomposed again into the steps that suit kernels.
 * What it is worth:
 * - layer norm, RMS norm: one reciprocal root a row instead of a division for each element
 * - gelu, hard swish, whole powers: multiplications instead of powers and divisions
 * - softmax, log softmax, softplus, sigmoid: forms that neither overflow nor take the logarithm of an underflow
 * - attention: the scale goes to the queries, which are fewer than the scores, and from there into their weights (`fold-scales`)
 * - rotary embedding: one pass over x instead of a rotated copy and a pass, and half the sines and cosines
 * - sums of parts that lie beside one another, the gradients of slices: each part is written once, instead of zeros, copies and sums
 * - all: an exported ONNX file holds one node instead of ten
 *
 * Forms whose decomposition is the same steps again (silu, mish, recurrent cells in loops) are left as they are.
 * A softmax that does not subtract its maximum is left too: a row that overflows would change from NaN to numbers.
 *
 * Expects the forms that `simplify` and `eliminate-common-subexpressions` leave. Numerics: results differ by rounding, except that a
 * composite stays finite where the steps overflow on the way, and that parts keep their −0.
 */

import { rewritePass } from "../rewrite.js";
import { activationRules } from "../rules/recognize-activations.js";
import { attentionRules } from "../rules/recognize-attention.js";
import { normRules } from "../rules/recognize-norms.js";
import { partRules } from "../rules/recognize-parts.js";
import { rotaryRules } from "../rules/recognize-rotary.js";

export const recognize = rewritePass(
  "recognize",
  [...normRules, ...activationRules, ...attentionRules, ...rotaryRules, ...partRules],
  true,
);
