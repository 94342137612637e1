/** Functions and shapes as layers. */

import { asType, flatten, permute, rankOf, reshapeTo, sizeOf } from "../../../ir/build.js";
import type { DType } from "../../../ir/dtype.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { normalizeAxis } from "../../../ir/infer.js";
import { aDType } from "../../options.js";
import { callable, count, factory, further, integer, type Kind, list, parameter, positional } from "../../schema.js";
import type { Context } from "../context.js";
import { FunctionLayer, functionLayer } from "./define.js";

export { FunctionLayer };

type Body = (x: Value, ctx: Context) => Value;

export const Lambda = positional(
  "nn.Lambda",
  "A function as a layer",
  [parameter("body", callable as Kind<Body>, "From a value, and the context, to a value")],
  functionLayer,
);

export const Identity = positional("nn.Identity", "x as it is", [], () => functionLayer((x) => x));

export const Flatten = positional(
  "nn.Flatten",
  "Axes start to end as one",
  [further("start", integer, "Default: 1, all but the batch"), further("end", integer, "Default: −1")],
  (start?: number, end?: number) => functionLayer((x) => flatten(x, start ?? 1, end ?? -1)),
);

export const Reshape: (...shape: readonly number[]) => FunctionLayer = factory(
  {
    name: "nn.Reshape",
    summary: "All axes but the batch take this shape: `Reshape(4, -1)`; one entry may be −1",
    parameters: [parameter("...shape", integer, "The new sizes")],
  },
  (...shape) => functionLayer((x) => reshapeTo(x, [sizeOf(x, 0), ...shape])),
);

export const Unflatten = positional(
  "nn.Unflatten",
  "One axis divided into several",
  [parameter("axis", integer, "The axis"), parameter("shape", list(integer), "Its new sizes; one may be −1")],
  (axis: number, shape: readonly number[]) =>
    functionLayer((x) => {
      const a = normalizeAxis(axis, rankOf(x));
      return reshapeTo(x, [...x.type.shape.slice(0, a), ...shape, ...x.type.shape.slice(a + 1)]);
    }),
);

export const Permute: (...axes: readonly number[]) => FunctionLayer = factory(
  {
    name: "nn.Permute",
    summary: "The axes behind the batch in another order, counted from 1 as in Keras: `Permute(2, 1)`",
    parameters: [parameter("...axes", count, "All of them")],
  },
  (...axes) =>
    functionLayer((x) => {
      if ([...axes].sort((a, b) => a - b).join() !== Array.from({ length: rankOf(x) - 1 }, (_, i) => i + 1).join())
        throw new ModelError(`[${axes}] does not order the axes 1 to ${rankOf(x) - 1} of ${typeText(x.type)}`);
      return permute(x, [0, ...axes]);
    }),
);

export const Cast = positional(
  "nn.Cast",
  "The element type converted, such as to f32 for images that come as bytes",
  [parameter("to", aDType as Kind<DType>, "The new one")],
  (to: DType) => functionLayer((x) => asType(x, to)),
);
