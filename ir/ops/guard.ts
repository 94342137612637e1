/** Ops that compute nothing: they end the run in an error where a value is not what those who use it take for granted. */

import type { Dim } from "../dim.js";
import { ModelError } from "../errors.js";
import { requireDType } from "../infer.js";
import { defineOp, type PrimitiveOp } from "../op.js";
import { exactly, i64, of } from "../sample.js";

export type CheckIndicesAttrs = { readonly size: Dim; readonly ignore?: number };

export const checkIndices: PrimitiveOp<"checkIndices", CheckIndicesAttrs> = defineOp<"checkIndices", CheckIndicesAttrs>(
  {
    name: "checkIndices",
    operands: ["indices"],
    summary:
      "The indices as they are. One that lies outside [0, size), and is not the one to ignore, is an error: class labels are checked so.",
    attrs: { size: "number of what they index", ignore: "an index that stands for none" },
    infer: ([indices]) => requireDType(indices!, "int", "indices"),
    reference: ([indices], { attrs: { size, ignore }, dim }) => {
      const count = dim(size);
      for (let i = 0; i < indices!.data.length; i++) {
        const index = Number(indices!.data[i]!);
        if (index === ignore || (index >= 0 && index < count)) continue;
        throw new ModelError({
          message: `index ${index} is out of range for ${count} classes`,
          hint: `indices must lie in [0, ${count - 1}]`,
        });
      }
      return indices!;
    },
    vjp: "zero",
    accuracy: "exact",
    samples: [
      { operands: [exactly([2, 0, 1], i64(3))], attrs: { size: 3 } },
      { operands: [exactly([2, -100, 1, 0], of("i32", 2, 2))], attrs: { size: 3, ignore: -100 } },
      { operands: [exactly([7, 255, 0], of("u8", 3))], attrs: { size: 8, ignore: 255 } },
      { operands: [i64(0)], attrs: { size: 1 } },
      { operands: [exactly([3], i64())], attrs: { size: 4 } },
    ],
  },
);
