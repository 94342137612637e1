/** What the ops of com.microsoft share. */
import { asType, np, reshapeTo } from "../../../../ir/build.js";
import type { Value } from "../../../../ir/graph.js";

export const withBias = (y: Value, bias: Value | undefined): Value => (bias ? np.add(y, bias) : y);

export const present = (values: readonly (Value | undefined)[]): readonly Value[] =>
  values.filter((v) => v !== undefined);

/** A parameter of one value as an f32 scalar. */
export const scalar = (v: Value): Value => asType(reshapeTo(v, []), "f32");

/** A scale of one value as a scalar; one per column as it is. */
export const flatScale = (v: Value): Value =>
  v.type.shape.length === 1 && v.type.shape[0] === 1 ? reshapeTo(v, []) : v;
