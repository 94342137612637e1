/** Element types. */

import { asType as converted, np } from "../../../ir/build.js";
import type { DType } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import { requireValue } from "../../../ir/op.js";
import * as ops from "../../../ir/ops/cast.js";

/**
 * x as another dtype; x itself where it has it. To a float: nearest, ties to even. A float to an integer: truncates and saturates,
 * NaN → 0. To bool: x ≠ 0.
 */
export const cast = (x: Value, dtype: DType): Value => converted(x, dtype);

/** The same bits read as another dtype of the same width (PyTorch's `x.view(dtype)`). */
export const bitcast = (x: Value, dtype: DType): Value => ops.bitcast([x], { to: dtype });

/** x as the dtype of another value. */
export const typeAs = (x: Value, other: Value): Value => converted(x, requireValue(other).type.dtype);

/** x ≠ 0 as bool; bools as they are. */
export const toBool = (x: Value): Value => (requireValue(x).type.dtype === "bool" ? x : np.ne(x, 0));
