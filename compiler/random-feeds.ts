/** Inputs drawn at random, for running and timing models whose real ones are not at hand. */

import { type DType, dtypeInfo } from "../ir/dtype.js";
import { ModelError } from "../ir/errors.js";
import { choices } from "../ir/names.js";
import { elementCount, setElement, type Tensor, zeros } from "../ir/tensor.js";

/** An input; dims that the model leaves open have names. */
interface Signature {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly (number | string)[];
}

/** A small deterministic generator (mulberry32): uniform in [0, 1). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Sizes by the names of dims. Ranges, which say what compiling allows, are refused. */
type Dims = Readonly<Record<string, number | readonly [number, number]>>;

/** Random inputs of the signature: floats in [−1, 1), integers and bools of 0 and 1. Dims without a value are 1. */
export function randomFeeds(inputs: readonly Signature[], dims: Dims, seed: number): Record<string, Tensor> {
  const random = uniform(seed);
  const names = [...new Set(inputs.flatMap((i) => i.shape.filter((d) => typeof d === "string")))];
  for (const name of Object.keys(dims))
    if (!names.includes(name))
      throw new ModelError({
        where: "--dim",
        message: `the model has no dim "${name}"`,
        hint: choices(name, names, "its dims are"),
      });
  return Object.fromEntries(
    inputs.map(({ name, dtype, shape }) => {
      const sizes = shape.map((d) => {
        if (typeof d === "number") return d;
        const given = dims[d] ?? 1;
        if (typeof given !== "number")
          throw new ModelError({ where: name, message: `dim ${d} needs one value here`, hint: `--dim ${d}=4` });
        return given;
      });
      const t = zeros(dtype, sizes);
      const float = dtypeInfo[dtype].kind === "float";
      for (let i = 0; i < elementCount(sizes); i++)
        setElement(t, i, float ? random() * 2 - 1 : BigInt(Math.round(random())));
      return [name, t];
    }),
  );
}
