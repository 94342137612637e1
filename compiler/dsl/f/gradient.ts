/** What matters to differentiation only. */

import { isFloat } from "../../../ir/dtype.js";
import { ModelError } from "../../../ir/errors.js";
import { param, sameType, typeText, type Value } from "../../../ir/graph.js";
import { requireValue } from "../../../ir/op.js";
import { constantLike } from "../../../ir/ops/constant.js";
import * as ops from "../../../ir/ops/gradient.js";
import { closeRegion, traceRegion, unionOfCaptures } from "../../../ir/regions.js";
import { leaves, rebuilt, type Structure } from "./structure.js";

/** x itself; no gradient flows through it (PyTorch's detach). */
export const stopGradient = (x: Value): Value => ops.stopGradient([x]);
/** x itself; no gradient flows through it: `stopGradient` by PyTorch's name. */
export const detach = (x: Value): Value => ops.stopGradient([x]);
/** x itself; its gradient is multiplied by a factor. */
export const scaleGradient = (x: Value, factor: number): Value => ops.scaleGradient([x], { factor });
/** x itself; its gradient is multiplied by −scale, which may be a scalar Value that training ramps up. https://arxiv.org/abs/1505.07818 */
export const reverseGradient = (x: Value, scale: number | Value = 1): Value =>
  typeof scale === "number" ? ops.scaleGradient([x], { factor: -scale }) : reversedBy(x, scale);

/** What a gradient of a function may use: what went in and what came out. */
export interface Saved<I extends readonly Value[], O> {
  readonly inputs: I;
  readonly outputs: O;
}

/**
 * A function with its own gradient (PyTorch's autograd.Function, JAX's custom_vjp). `backward` gets what went in and came out, and a
 * cotangent for each float output in order; it gives the cotangents of the float inputs in order (one value, or a list whose entries may
 * be undefined for 0), of the inputs' types. What it computes again of the forward pass costs nothing. Gradients of gradients
 * differentiate `backward`. What `forward` uses from outside has no gradient: asking for one is an error.
 *
 * ```ts
 * const straightThrough = F.customVjp((x) => x.round(), (_, dy) => dy);
 * ```
 */
export function customVjp<I extends readonly Value[], O extends Structure>(
  forward: (...inputs: I) => O,
  backward: (saved: Saved<I, O>, ...cotangents: readonly Value[]) => Value | readonly (Value | undefined)[],
): (...inputs: I) => O {
  return (...inputs) => {
    const fresh = (name: string, values: readonly Value[]) =>
      values.map((v, i) => param(`${name}${i}`, requireValue(v, `input ${i}`).type));
    const floats = (values: readonly Value[]) => values.filter((v) => isFloat(v.type.dtype));
    let form: O | undefined;
    const outer = fresh("x", inputs);
    const made = traceRegion(outer, (values) => {
      form = forward(...(values as unknown as I));
      return leaves(form, "the function");
    });
    const own = fresh("x", inputs);
    const outputs = fresh("y", made.results);
    const cotangents = fresh("d", floats(made.results));
    const back = traceRegion([...own, ...outputs, ...cotangents], () => {
      const saved = { inputs: own as unknown as I, outputs: rebuilt(form!, outputs) };
      return fitted(backward(saved, ...cotangents), floats(own));
    });
    const captures = unionOfCaptures(made, back);
    const results = ops.customVjp([...inputs, ...captures], { inputs: inputs.length }, [
      closeRegion("forward", made, captures),
      closeRegion("backward", back, captures),
    ]);
    return rebuilt(form!, results);
  };
}

const reversedBy = customVjp(
  (x: Value, _scale: Value) => x,
  ({ inputs: [, scale] }, dx) => [dx!.mul(scale.neg().cast(dx!.type.dtype)), undefined],
);

/** Cotangents as backward gave them, each of its input's type. */
function fitted(given: Value | readonly (Value | undefined)[], inputs: readonly Value[]): readonly Value[] {
  const list = Array.isArray(given) ? (given as readonly (Value | undefined)[]) : [given as Value];
  if (list.length !== inputs.length)
    throw new ModelError(`backward gives ${list.length} cotangents for ${inputs.length} float inputs`);
  return inputs.map((x, i) => {
    const d = list[i];
    if (d === undefined || d === null) return constantLike(x, 0);
    if (sameType(requireValue(d, `cotangent ${i}`).type, x.type)) return d;
    throw new ModelError({
      message: `backward gives the cotangent ${typeText(d.type)} for an input ${typeText(x.type)}`,
      hint: "sum over the axes that forward broadcasts",
    });
  });
}
