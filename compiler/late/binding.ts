/** Between the values of a model and the tensors of an artefact that was specialised to feeds. */

import { ModelError } from "../../ir/errors.js";
import { elementCount, type Tensor, tensor } from "../../ir/tensor.js";
import type { EntryInfo, Manifest, OutputForm, Specialization } from "../../runtime/format.js";
import { holds } from "./facts.js";
import type { FlatFeeds } from "./feeds.js";

/** An output of a model: a tensor, a sequence, or null for an optional that is absent. */
export type ModelValue = Tensor | readonly ModelValue[] | null;

function mainOf(manifest: Manifest): EntryInfo {
  const main = manifest.entries.main;
  if (!main) throw new ModelError("the artefact has no entry main");
  return main;
}

/** Whether an artefact serves the feeds: all that was fixed is so, and the sizes are among those that it takes. */
export function serves(manifest: Manifest, feeds: FlatFeeds): boolean {
  const main = mainOf(manifest);
  if (!manifest.specialization?.fixed.every((fact) => holds(fact, feeds))) return false;
  const present = manifest.specialization.fixed.flatMap((f) => (f.what === "present" ? [f.input] : []));
  if (feeds.overridden.some((name) => !present.includes(name))) return false;
  const ranges = new Map(main.dims.map((d) => [d.name, d]));
  const sizes = new Map<string, number>();
  return main.inputs.every(({ name, dtype, shape }) => {
    const given = feeds.tensors.get(name);
    if (given?.dtype !== dtype || given.shape.length !== shape.length) return false;
    return shape.every((d, axis) => {
      const size = given.shape[axis]!;
      if (typeof d === "number") return d === size;
      const range = ranges.get(d.dim);
      if (range && (size < range.min || size > (range.max ?? Number.POSITIVE_INFINITY))) return false;
      const known = sizes.get(d.dim);
      sizes.set(d.dim, size);
      return known === undefined || known === size;
    });
  });
}

/** The inputs of the artefact's entry, out of feeds that it serves. */
export function inputsFrom(manifest: Manifest, feeds: FlatFeeds): Record<string, Tensor> {
  return Object.fromEntries(
    mainOf(manifest).inputs.map(({ name }) => {
      const given = feeds.tensors.get(name);
      if (!given) throw new ModelError({ where: `input "${name}"`, message: "the feeds do not have it" });
      return [name, given];
    }),
  );
}

/** The model's outputs by name, out of the results of a run. */
export function outputsFrom(
  outputs: Specialization["outputs"],
  results: Readonly<Record<string, Tensor>>,
): Record<string, ModelValue> {
  const result = (name: string): Tensor => {
    if (!Object.hasOwn(results, name))
      throw new ModelError({ where: `output "${name}"`, message: "not among the results" });
    return results[name]!;
  };
  const value = (form: OutputForm): ModelValue => {
    switch (form.kind) {
      case "tensor":
        return result(form.output);
      case "stacked":
        return itemsOf(result(form.output));
      case "sequence":
        return form.items.map(value);
      case "absent":
        return null;
      default:
        return form satisfies never;
    }
  };
  return Object.fromEntries(outputs.map(({ name, form }) => [name, value(form)]));
}

/** The rows of a tensor. */
function itemsOf({ dtype, shape: [count = 0, ...shape], data }: Tensor): readonly Tensor[] {
  const size = elementCount(shape);
  return Array.from({ length: count }, (_, i) => tensor(dtype, shape, data.slice(i * size, (i + 1) * size)));
}
