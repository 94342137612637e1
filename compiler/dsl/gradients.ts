/** Gradients as values, of any order, and how they are made: per sample, with less memory. */

import { expandDims, rankOf, reshapeTo } from "../../ir/build.js";
import { scanOp } from "../../ir/control-build.js";
import { dimDiffers } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { definedSymbols, typeText, type Value } from "../../ir/graph.js";
import { recordNodes } from "../../ir/op.js";
import { checkpoint as checkpointOp } from "../../ir/ops/gradient.js";
import { capturedBy } from "../../ir/regions.js";
import { type GradientOptions, gradients, pullback, withoutGaps } from "../../passes/graph/differentiate.js";
import { isFasterAtOnce, vectorize } from "../../passes/graph/vectorize.js";
import { type Checks, checked, oneOf } from "../options.js";
import { leaves, rebuilt, type Structure } from "./f/structure.js";

export { type GradientOptions, gradients };

const gradientChecks: Checks<GradientOptions> = { unused: oneOf("error", "zero") };

/**
 * The gradient of a loss with respect to values that it is computed from, in the form in which they are given: one value, a list or
 * a record. A gradient is a value like any other: it may be part of another loss.
 *
 * ```ts
 * const slope = grad(F.sum(D(ctx, mixed)), mixed);
 * const penalty = F.mean(F.pow(F.sub(F.norm(slope, 2, 1), 1), 2));
 * ```
 *
 * @throws ModelError where the loss is not one float, or does not depend on a value (but see `unused`)
 */
export function grad<S extends Structure>(loss: Value, wrt: S, options?: GradientOptions): S {
  const all = checked("grad", options, gradientChecks);
  return rebuilt(wrt, gradients(loss, leaves(wrt, "what grad differentiates by"), all));
}

/**
 * Cotangents of `wrt` from those of results (vector-Jacobian product): Σ cotangent · ∂result/∂wrt.
 *
 * @throws ModelError where a cotangent is not of its result's type, or nothing depends on a value (but see `unused`)
 */
export function vjp<R extends Structure, S extends Structure>(
  results: R,
  cotangents: NoInfer<R>,
  wrt: S,
  options?: GradientOptions,
): S {
  const { unused = "error" } = checked("vjp", options, gradientChecks);
  const [ys, dys, xs] = [
    leaves(results, "vjp's results"),
    leaves(cotangents, "vjp's cotangents"),
    leaves(wrt, "vjp's values"),
  ];
  if (ys.length !== dys.length) throw new ModelError(`vjp has ${ys.length} results, but ${dys.length} cotangents`);
  ys.forEach((y, i) => {
    const d = dys[i]!;
    const fits = y.type.dtype === d.type.dtype && rankOf(y) === rankOf(d);
    if (!fits || y.type.shape.some((size, a) => dimDiffers(size, d.type.shape[a]!)))
      throw new ModelError(`vjp: result ${i} is ${typeText(y.type)}, its cotangent ${typeText(d.type)}`);
  });
  return rebuilt(wrt, withoutGaps(ys, pullback(ys, dys, xs), xs, unused));
}

/**
 * Gradients of each sample's own loss: those of `wrt`, with the samples along a new first axis (DP-SGD's clipping needs them, as do
 * influence functions and gradient noise). `loss` is given batches of one sample. All samples are computed at once where that is faster,
 * as it is for linear layers; otherwise one after the other.
 *
 * ```ts
 * const each = perSample((x, y) => losses.crossEntropy()(net(ctx, x), y), [x, y], weights);
 * ```
 *
 * @throws ModelError where inputs differ in their first size, or as `grad` does
 */
export function perSample<S extends Structure>(
  loss: (...samples: Value[]) => Value,
  inputs: readonly Value[],
  wrt: S,
  options?: GradientOptions,
): S {
  const all = checked("perSample", options, gradientChecks);
  const values = leaves(wrt, "what perSample differentiates by");
  for (const v of inputs) {
    if (rankOf(v) === 0) throw new ModelError(`an input of perSample has no axis of samples: ${typeText(v.type)}`);
  }
  if (inputs.length === 0) throw new ModelError("perSample needs at least one input");
  const { scanned } = scanOp({ carried: [], inputs }, (_, rows) => {
    const one = loss(...rows.map((r) => expandDims(r, 0)));
    return { carried: [], scanned: gradients(reshapeTo(one, []), values, all) };
  });
  return rebuilt(wrt, atOnce(scanned) ?? scanned);
}

/**
 * The rows that a scan makes, all at once: undefined where that is no faster, where the scan hands something from round to round (statistics
 * of batch norms), or where an op has no form for it.
 */
function atOnce(scanned: readonly Value[]): readonly Value[] | undefined {
  const node = scanned[0]?.def;
  if (node?.op !== "scan" || node.attrs.carried > 0) return undefined;
  const { inputs, length } = node.attrs;
  const given = node.operands.map((value, i) => ({ value, batched: i < inputs }));
  const region = node.regions[0]!;
  if (
    !isFasterAtOnce(
      region,
      given.map((g) => g.batched),
    )
  )
    return undefined;
  return vectorize(region, given, length);
}

/**
 * The function, whose gradient computes again what it computed on the way instead of keeping it until then: less memory for more
 * time (PyTorch's torch.utils.checkpoint). Random numbers are the same both times.
 *
 * ```ts
 * const block = checkpoint((x: Value) => layer(ctx, x));
 * const y = block(block(x));
 * ```
 *
 * @throws ModelError where the function finds sizes that data decide
 */
export function checkpoint<A extends readonly unknown[], S extends Structure>(
  fn: (...args: A) => S,
): (...args: A) => S {
  return (...args) => {
    const { value, made, own } = recordNodes(() => fn(...args));
    const results = leaves(value, "what checkpoint's function gives");
    const finder = [...own].find((n) => definedSymbols(n).length > 0);
    if (finder !== undefined) {
      throw new ModelError({
        where: finder.loc ?? finder.op,
        message: "checkpoint's function finds a size that data decide, which cannot be found twice",
        hint: "do that before or after it",
      });
    }
    return rebuilt(value, checkpointOp([...results, ...capturedBy(results, made)], { results: results.length }));
  };
}
