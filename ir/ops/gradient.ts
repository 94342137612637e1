/** Ops that matter to differentiation only. */

import { np } from "../build.js";
import { isFloat } from "../dtype.js";
import { ModelError } from "../errors.js";
import { type Graph, graph, type NoAttrs, param, typeText, type Value } from "../graph.js";
import {
  type CompositeOp,
  defineComposite,
  defineMultiComposite,
  defineOp,
  type PrimitiveOp,
  type Vjp,
} from "../op.js";
import { instantiate } from "../regions.js";
import { f32, i32, noGrad, sample, sampleWith } from "../sample.js";
import { constantLike } from "./constant.js";
import { requireParams, requireRegions } from "./control-check.js";
import { cos, mul, neg, sin } from "./elementwise.js";

export const stopGradient: CompositeOp<"stopGradient", NoAttrs> = defineComposite<"stopGradient", NoAttrs>({
  name: "stopGradient",
  operands: ["x"],
  summary: "x itself; no gradient flows through it (PyTorch's detach).",
  decompose: ([x]) => x!,
  vjp: "zero",
  accuracy: "exact",
  samples: [sample(noGrad(f32(2, 3))), sample(noGrad(f32(0))), sample(i32(3))],
});

export const scaleGradient: CompositeOp<"scaleGradient", { factor: number }> = defineComposite<
  "scaleGradient",
  { factor: number }
>({
  name: "scaleGradient",
  operands: ["x"],
  summary: "x itself; its cotangent is multiplied by a factor (−1 reverses it, https://arxiv.org/abs/1505.07818).",
  attrs: { factor: "of the cotangent" },
  decompose: ([x]) => x!,
  vjp: ({ dy, attrs: { factor } }) => [np.mul(dy, factor)],
  accuracy: "exact",
  samples: [sampleWith({ factor: -0.7 }, noGrad(f32(3)))],
});

type CustomVjpAttrs = { readonly inputs: number };

const floats = (values: readonly Value[]): readonly Value[] => values.filter((v) => isFloat(v.type.dtype));

/** Throws ModelError where the regions don't fit the operands or one another. */
function requireBackward(
  operands: readonly Value[],
  inputs: number,
  regions: readonly Graph[],
): readonly [Graph, Graph] {
  const [forward, backward] = requireRegions(regions, 2) as [Graph, Graph];
  const [own, captures] = [operands.slice(0, inputs), operands.slice(inputs)];
  const type = (v: Value) => v.type;
  requireParams(forward, operands.map(type));
  const { results } = forward;
  requireParams(backward, [...own, ...results, ...floats(results), ...captures].map(type));
  const wanted = floats(own);
  if (backward.results.length !== wanted.length)
    throw new ModelError(
      `${backward.name} must give ${wanted.length} cotangents, but gives ${backward.results.length}`,
    );
  if (regions.some((r) => r.sizes?.length))
    throw new ModelError("a function with its own gradient can't find sizes that data decide");
  return [forward, backward];
}

const customVjpRule: Vjp<CustomVjpAttrs> = ({ node, operands, attrs: { inputs }, results, dys, needs, regions }) => {
  const captures = operands.slice(inputs);
  const lost = captures.findIndex((_, i) => needs[inputs + i]);
  if (lost >= 0)
    throw new ModelError({
      where: node.loc ?? node.op,
      message: `a function with its own gradient uses ${typeText(captures[lost]!.type)} from outside, which a gradient is asked of`,
      hint: "pass it as an input, so that backward gives its gradient; or put a stopGradient around it",
    });
  const cotangents = results.flatMap((r, i) => (isFloat(r.type.dtype) ? [dys[i] ?? constantLike(r, 0)] : []));
  const own = operands.slice(0, inputs);
  const found = [...regions.inline(node.regions[1]!, [...own, ...results, ...cotangents, ...captures])];
  return own.map((v) => (isFloat(v.type.dtype) ? found.shift() : undefined));
};

export const customVjp: CompositeOp<"customVjp", CustomVjpAttrs, "many"> = defineMultiComposite<
  "customVjp",
  CustomVjpAttrs
>({
  name: "customVjp",
  operands: ["...values"],
  summary:
    "The results of its first region; its second one is the gradient (JAX's custom_vjp, PyTorch's autograd.Function). Operands: inputs, captures. Regions: (inputs …, captures …) → results; (inputs …, results …, cotangents of the float results …, captures …) → cotangents of the float inputs. Captures have no gradient: asking for one is an error.",
  attrs: { inputs: "number of inputs" },
  decompose: (operands, { inputs }, regions) => instantiate(requireBackward(operands, inputs, regions)[0], operands),
  vjp: customVjpRule,
  accuracy: { rtol: 1e-5, atol: 1e-5 },
  samples: [
    {
      operands: [f32(2, 3), noGrad(f32(3))],
      attrs: { inputs: 1 },
      regions: () => {
        const [x, y, dy] = ["x", "y", "dy"].map((name) => param(name, { dtype: "f32", shape: [2, 3] }));
        const k = param("k", { dtype: "f32", shape: [3] });
        return [
          graph("forward", [x!, k], [np.mul(sin([x!]), k)]),
          graph("backward", [x!, y!, dy!, k], [np.mul(mul([dy!, cos([x!])]), k)]),
        ];
      },
    },
    {
      operands: [f32(4), noGrad(i32(4))],
      attrs: { inputs: 2 },
      regions: () => {
        const [x, y, dy] = ["x", "y", "dy"].map((name) => param(name, { dtype: "f32", shape: [4] }));
        const [i, j] = ["i", "j"].map((name) => param(name, { dtype: "i32", shape: [4] }));
        return [
          graph("forward", [x!, i!], [neg([x!]), neg([i!])]),
          graph("backward", [x!, i!, y!, j!, dy!], [neg([dy!])]),
        ];
      },
    },
  ],
});

export const after: PrimitiveOp<"after", NoAttrs> = defineOp<"after", NoAttrs>({
  name: "after",
  operands: ["x", "...others"],
  summary:
    "x itself, once the others are there. No pass looks through it: what is computed from it is computed anew, though the same was computed from x. No copy is made.",
  infer: ([x]) => x!,
  reference: ([x]) => x!,
  vjp: ({ dy }) => [dy],
  accuracy: "exact",
  samples: [sample(f32(2, 3)), sample(f32(9), noGrad(f32(2))), sample(i32(3), f32())],
});

export type CheckpointAttrs = { readonly results: number };

export const checkpoint: CompositeOp<"checkpoint", CheckpointAttrs, "many"> = defineMultiComposite<
  "checkpoint",
  CheckpointAttrs
>({
  name: "checkpoint",
  operands: ["...values"],
  summary:
    "The first values themselves, which depend on nothing but the others. Their gradient computes them anew from those, so that what lies between need not be kept (https://arxiv.org/abs/1604.06174).",
  attrs: { results: "how many of the values are given; the others are all that they are computed from" },
  decompose: (operands, { results }) => operands.slice(0, results),
  vjp: (context) => context.regions.recompute(context),
  accuracy: "exact",
  samples: [sampleWith({ results: 1 }, noGrad(f32(3)), noGrad(f32(2)))],
});
