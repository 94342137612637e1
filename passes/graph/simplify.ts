/** Algebra that holds bit for bit, NaN, ±∞ and −0 included. What changes rounding is in relaxed-math. */

import { rewritePass } from "../rewrite.js";
import { arithmeticRules } from "../rules/arithmetic.js";
import { broadcastRules } from "../rules/broadcast.js";
import { clampRules } from "../rules/clamps.js";
import { controlRules } from "../rules/control.js";
import { dequantizedRules } from "../rules/dequantized.js";
import { indexingRules } from "../rules/indexing.js";
import { logicRules } from "../rules/logic.js";
import { movementRules } from "../rules/movement.js";
import { reduceRules } from "../rules/reduce.js";
import { valueRules } from "../rules/values.js";

export const simplify = rewritePass("simplify", [
  ...dequantizedRules,
  ...movementRules,
  ...broadcastRules,
  ...reduceRules,
  ...arithmeticRules,
  ...clampRules,
  ...logicRules,
  ...controlRules,
  ...indexingRules,
  ...valueRules,
]);
