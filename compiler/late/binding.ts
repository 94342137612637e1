/** Between the values of a model and the tensors of an artefact that was specialised to feeds. */

import { type Dim, dimSymbol, dimSymbols, evaluateDim } from "../../ir/dim.js";
import { parseDim } from "../../ir/dim-parse.js";
import type { DType } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { elementCount, type Tensor, tensor } from "../../ir/tensor.js";
import type {
  DimInfo,
  FixedFact,
  Manifest,
  OutputForm,
  SizeRelation,
  Specialization,
  TensorInfo,
} from "../../runtime/format.js";
import { holds } from "./facts.js";
import type { FlatFeeds } from "./feeds.js";

interface Arrays {
  readonly f32: Float32Array;
  readonly f64: Float64Array;
  readonly f16: Uint16Array;
  readonly bf16: Uint16Array;
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly i64: BigInt64Array;
  readonly u64: BigUint64Array;
  readonly bool: Uint8Array;
  readonly i4: Int8Array;
  readonly u4: Uint8Array;
  readonly i2: Int8Array;
  readonly u2: Uint8Array;
  readonly f8e4m3fn: Uint8Array;
  readonly f8e4m3fnuz: Uint8Array;
  readonly f8e5m2: Uint8Array;
  readonly f8e5m2fnuz: Uint8Array;
  readonly f8e8m0: Uint8Array;
  readonly f4e2m1: Uint8Array;
}

/** A tensor as the runtime takes it: the kind of its array follows from its dtype. */
export type BoundTensor = {
  [D in DType]: { readonly dtype: D; readonly shape: readonly number[]; readonly data: Arrays[D] };
}[DType];

/** An output of a model: a tensor, a sequence, or null for an optional that is absent. */
export type ModelValue = Tensor | readonly ModelValue[] | null;

/** What an artefact takes: facts that must be so, inputs, the ranges of their sizes, and what holds between sizes. */
export interface Terms {
  readonly fixed: readonly FixedFact[];
  readonly inputs: readonly Pick<TensorInfo, "name" | "dtype" | "shape">[];
  readonly dims: readonly Pick<DimInfo, "name" | "min" | "max">[];
  readonly relations: readonly SizeRelation[];
}

export function termsOf({ entries, specialization }: Manifest): Terms {
  const { main } = entries;
  if (!main || !specialization) throw new ModelError("the artefact was not made by compileFor");
  const { fixed, relations } = specialization;
  return { fixed, inputs: main.inputs, dims: main.dims, relations };
}

/** Whether an artefact serves the feeds: all that was fixed is so, and the sizes are among those that it takes. */
export function serves(terms: Terms, feeds: FlatFeeds): boolean {
  const { fixed } = terms;
  if (!fixed.every((fact) => holds(fact, feeds))) return false;
  if (feeds.overridden.some((name) => !fixed.some((f) => f.what === "present" && f.input === name))) return false;
  const sizes = sizesOf(terms, feeds);
  return sizes !== undefined && terms.relations.every((relation) => isTrue(relation, sizes));
}

/** The sizes of named dims; undefined if inputs are missing, or of other types or sizes. */
function sizesOf({ inputs, dims }: Terms, feeds: FlatFeeds): ReadonlyMap<string, number> | undefined {
  const ranges = new Map(dims.map((d) => [d.name, d]));
  const sizes = new Map<string, number>();
  const fits = inputs.every(({ name, dtype, shape }) => {
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
  return fits ? sizes : undefined;
}

/** Names of the sizes between which a relation that was taken for granted does not hold. */
export function brokenSymbols(terms: Terms, feeds: FlatFeeds): readonly string[] {
  const sizes = sizesOf(terms, feeds);
  if (!sizes) return [];
  const broken = terms.relations.filter((relation) => !isTrue(relation, sizes));
  return [...new Set(broken.flatMap((relation) => parsed(relation).names))];
}

interface ParsedRelation {
  readonly value: Dim;
  /** Of the sizes in it. */
  readonly names: readonly string[];
}

/** Relations are asked in every run. */
const relations = new WeakMap<SizeRelation, ParsedRelation>();

function parsed(relation: SizeRelation): ParsedRelation {
  const known = relations.get(relation);
  if (known) return known;
  const value = parseDim(relation.value, (name) => dimSymbol(name, { min: 0 }));
  const made = { value, names: [...dimSymbols(value).keys()] };
  relations.set(relation, made);
  return made;
}

/** Whether it holds, as far as its sizes are known. */
function isTrue(relation: SizeRelation, sizes: ReadonlyMap<string, number>): boolean {
  const { value, names } = parsed(relation);
  if (names.some((name) => !sizes.has(name))) return true;
  const actual = evaluateDim(value, sizes);
  return relation.must === "be zero" ? actual === 0 : actual >= 0;
}

/** The inputs of the artefact's entry, out of feeds that it serves. */
export function inputsFrom({ inputs }: Terms, feeds: FlatFeeds): Record<string, BoundTensor> {
  return Object.fromEntries(
    inputs.map(({ name }) => {
      const given = feeds.tensors.get(name);
      if (!given) throw new ModelError({ where: `input "${name}"`, message: "the feeds do not have it" });
      // Flattening has checked that the array is of the dtype's kind.
      return [name, given as BoundTensor];
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
