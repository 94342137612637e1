/** A group of ops that is computed by one kernel. Made by the pass `fuse`; means exactly what its region means. */

import { ModelError } from "../errors.js";
import { graph, type NoAttrs, param, typeText } from "../graph.js";
import { mergeShapes } from "../infer.js";
import { defineMultiOp, type PrimitiveOp } from "../op.js";
import { f32 } from "../sample.js";
import { add, exp, mul } from "./elementwise.js";
import { sum } from "./reduce.js";

export const fusion: PrimitiveOp<"fusion", NoAttrs, "many"> = defineMultiOp<"fusion", NoAttrs>({
  name: "fusion",
  operands: ["...operands"],
  summary:
    "The results of its region applied to the operands. Says that one kernel is to compute them; means nothing else.",
  infer: (types, _, regions) => {
    const [region] = regions;
    if (region === undefined || regions.length !== 1) throw new ModelError("fusion needs one region");
    if (region.params.length !== types.length) {
      throw new ModelError(`the region takes ${region.params.length} values, but gets ${types.length}`);
    }
    region.params.forEach((p, i) => {
      const given = types[i]!;
      if (given.dtype !== p.type.dtype)
        throw new ModelError(`the region takes ${typeText(p.type)}, but gets ${typeText(given)}`);
      mergeShapes(given.shape, p.type.shape);
    });
    return region.results.map((r) => r.type);
  },
  reference: (operands, { regions, run }) => run(regions[0]!, operands),
  vjp: "none",
  accuracy: { rtol: 1e-5, atol: 1e-5 },
  samples: [
    {
      operands: [f32(3, 5), f32(3, 5)],
      attrs: {},
      regions: () => {
        const type = { dtype: "f32", shape: [3, 5] } as const;
        const [x, y] = [param("x", type), param("y", type)];
        const product = mul([x, y]);
        return [graph("fused", [x, y], [add([product, x]), product])];
      },
    },
    {
      operands: [f32(4, 17)],
      attrs: {},
      regions: () => {
        const x = param("x", { dtype: "f32", shape: [4, 17] });
        return [graph("fused", [x], [sum([exp([x])], { axes: [1], keepDims: false })])];
      },
    },
  ],
});
