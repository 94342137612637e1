/** Weights of few bits. */

import { dtypeOf } from "../../../ir/build.js";
import { dtypeInfo } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import * as ops from "../../../ir/ops/quantized.js";
import { aNumber, anything, checked } from "../../options.js";

export interface DequantizeOptions {
  /** Integers that stand for 0, where that is not 0 itself; they broadcast as scales do. */
  readonly zero?: Value;
  /** Bits of a value: default those of the dtype; 4 or 2 of u8 that hold several along the last axis, the lowest bits first. */
  readonly bits?: number;
  /** Elements of the last axis that share a scale, where there are several scales along it. Default: scales broadcast. */
  readonly block?: number;
}

/**
 * (values − zero) · scale, of integers. Products with constants that are dequantised read these as they are stored: `F.linear(x,
 * F.dequantize(levels, scale))` with levels [out, in] and scale [out, 1].
 */
export function dequantize(values: Value, scale: Value, options?: DequantizeOptions): Value {
  const {
    zero,
    bits = dtypeInfo[dtypeOf(values)].bits,
    block = 0,
  } = checked("dequantize", options, { zero: anything, bits: aNumber, block: aNumber });
  return ops.dequantize([values, scale, ...(zero === undefined ? [] : [zero])], { bits, block });
}
