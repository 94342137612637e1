/** Makes batches: values of several elements in one tensor, padded where their lengths differ. */
import { dtypeOfArray, elementsOf, numbersOf } from "../convert.js";
import { describe, modelError } from "../errors.js";
import { arrayTypes, type DType } from "../format.js";
import { holds, sizeOf, type Tensor, type TensorData } from "../tensor.js";
import { aBoolean, aCount, aNumber, aString, type Checks, either, isRecord, oneOf } from "./options.js";
import { isTensor } from "./roots.js";
import type { Hints } from "./stage.js";

/** How the values of a field, whose first axis differs in length, are made equally long. */
export interface Padding {
  /** What is put in. Default 0. */
  readonly value?: number | undefined;
  /** To this length; default: that of the longest value of the batch. */
  readonly length?: number | undefined;
  /** The length is rounded up to a multiple of this. */
  readonly multiple?: number | undefined;
  readonly side?: "end" | "start" | undefined;
  /** Cut what is longer than `length` (at the same side) instead of refusing it. */
  readonly truncate?: boolean | undefined;
  /** Name of a new field with the lengths before padding: i32, one for each element. */
  readonly lengths?: string | undefined;
  /** Name of a new field that is true where values are, and false where padding is. */
  readonly mask?: string | undefined;
}
export const paddingChecks: Checks<Padding> = {
  value: aNumber,
  length: aCount,
  multiple: aCount,
  side: oneOf("end", "start"),
  truncate: aBoolean,
  lengths: aString,
  mask: aString,
};
/** By field: how, or the value alone. */
export type Paddings = Readonly<Record<string, number | Padding | undefined>>;
export const aPadding = either(aNumber, { expected: "an object", fits: isRecord });

export interface Collation {
  /** By field: where the batch stands in the shape. Default 0. */
  readonly axis: Readonly<Record<string, number>>;
  /** By field, those that padding makes too: dtypes that values are converted to. */
  readonly dtypes: Readonly<Record<string, DType>>;
  readonly pad: Readonly<Record<string, Padding>>;
  /** What plain numbers came from, for fields that nobody else says anything of. */
  readonly sourceDtypes: Readonly<Record<string, DType>>;
  readonly hints: Hints;
}

/** A field of elements that are no records. */
export const bareField = "";
const placeOf = (field: string): string => (field === bareField ? "elements" : `field "${field}"`);

/** @throws ModelError naming the field and the element that does not fit the others */
export function collate(elements: readonly unknown[], how: Collation): unknown {
  const [first] = elements;
  if (!isRecord(first) || isTensor(first)) return batchField(bareField, elements, how).value;
  const fields = Object.keys(first);
  for (const [i, element] of elements.entries()) {
    const names = isRecord(element) ? Object.keys(element) : null;
    if (names === null || names.length !== fields.length || !fields.every((f) => Object.hasOwn(element as object, f)))
      throw modelError(
        "batch",
        `element ${i} has ${names === null ? "no fields" : `the fields ${names.join(", ")}`}, element 0 has ${fields.join(", ")}`,
      );
  }
  const out: Record<string, unknown> = {};
  const more: (readonly [string, unknown])[] = [];
  for (const field of fields) {
    const values = elements.map((e) => (e as Readonly<Record<string, unknown>>)[field]);
    const { value, made } = batchField(field, values, how);
    out[field] = value;
    more.push(...made);
  }
  for (const [field, value] of more) {
    if (Object.hasOwn(out, field)) throw modelError("option pad", `there is a field "${field}" already`);
    out[field] = value;
  }
  return out;
}

interface Made {
  readonly value: unknown;
  /** Lengths and masks. */
  readonly made: readonly (readonly [string, Tensor])[];
}

function batchField(field: string, values: readonly unknown[], how: Collation): Made {
  const [first] = values;
  const padding = Object.hasOwn(how.pad, field) ? how.pad[field] : undefined;
  const of = <T>(table: Readonly<Record<string, T>>): T | undefined =>
    Object.hasOwn(table, field) ? table[field] : undefined;
  const asked = of(how.dtypes);
  const hint = of(how.hints);
  const wanted = asked ?? hint?.dtype;
  if (hint && hint.axis === null) {
    const advice = "leave it out, and add it behind the batches: .batch(n).map((b) => ({ ...b, … }))";
    throw modelError(placeOf(field), "the model has this input once for all samples, not in batches", advice);
  }
  const axis = of(how.axis) ?? hint?.axis ?? 0;
  const isScalar = typeof first === "number" || typeof first === "boolean" || typeof first === "bigint";
  if (isScalar) {
    const usual = typeof first === "boolean" ? "bool" : typeof first === "bigint" ? "i64" : "f32";
    const dtype = wanted ?? of(how.sourceDtypes) ?? usual;
    return { value: { dtype, shape: [values.length], data: fromNumbers(field, dtype, values) } as Tensor, made: [] };
  }
  const isRow = isTensor(first) || dtypeOfArray(first) !== undefined || isNumbers(first);
  if (!isRow) return { value: values, made: [] };
  const given = values.map((v, i) => rowOf(field, v, i, asked, hint?.dtype));
  const rows = asked === undefined ? given : given.map((r) => converted(field, r, asked));
  return stack(field, rows, axis, padding, how);
}

const isNumbers = (value: unknown): boolean => {
  let at = value;
  while (Array.isArray(at) && at.length > 0) at = at[0];
  return (
    Array.isArray(value) &&
    (typeof at === "number" || typeof at === "boolean" || typeof at === "bigint" || Array.isArray(at))
  );
};

interface Row {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** @param model dtype of the model's input: arrays that can hold its elements, or their bits, do */
function rowOf(field: string, value: unknown, i: number, asked: DType | undefined, model: DType | undefined): Row {
  if (isTensor(value)) {
    if (sizeOf(value.shape) === value.data.length) return value;
    throw modelError(placeOf(field), `element ${i}: shape [${value.shape}] with ${value.data.length} elements of data`);
  }
  const own = dtypeOfArray(value);
  if (own !== undefined) {
    const data = value as TensorData;
    const bits = asked === undefined && model !== undefined && holds(model, data);
    return { dtype: bits ? model : own, shape: [data.length], data };
  }
  if (!Array.isArray(value))
    throw modelError(placeOf(field), `element ${i} is ${describe(value)}, but others are arrays`);
  const shape: number[] = [];
  for (let at: unknown = value; Array.isArray(at); at = at[0]) shape.push(at.length);
  const flat: unknown[] = (value as unknown[]).flat(Number.POSITIVE_INFINITY);
  const even = (at: unknown, depth: number): boolean =>
    depth === shape.length
      ? !Array.isArray(at)
      : Array.isArray(at) && at.length === shape[depth] && at.every((a) => even(a, depth + 1));
  if (!even(value, 0)) throw modelError(placeOf(field), `element ${i} is a nested array of uneven lengths`);
  const kind = typeof flat[0];
  const dtype = asked ?? model ?? (kind === "boolean" ? "bool" : kind === "bigint" ? "i64" : "f32");
  return { dtype, shape, data: fromNumbers(field, dtype, flat) };
}

/** @throws ModelError where the dtype does not hold an element; floats round */
function converted(field: string, row: Row, dtype: DType): Row {
  if (row.dtype === dtype) return row;
  return { ...row, dtype, data: fromNumbers(field, dtype, numbersOf(row.dtype, row.data)) };
}

/** @throws ModelError where a value is not a number that the dtype holds; floats round */
export function fromNumbers(field: string, dtype: DType, values: ArrayLike<unknown>): TensorData {
  const elements = elementsOf(dtype, values);
  if (typeof elements !== "number") return elements;
  const hint = `name another: dtypes: { ${field || "…"}: "f32" }`;
  throw modelError(
    placeOf(field),
    `${describe(values[elements])} (number ${elements} of the batch) is no ${dtype}`,
    hint,
  );
}

function stack(field: string, rows: readonly Row[], axis: number, padding: Padding | undefined, how: Collation): Made {
  const [first] = rows as readonly [Row];
  const n = rows.length;
  const rank = first.shape.length;
  if (axis < 0 || axis > rank)
    throw modelError(placeOf(field), `the batch can't be axis ${axis} of elements of shape [${first.shape}]`);
  const rest = first.shape.slice(padding ? 1 : 0);
  for (const [i, { dtype, shape }] of rows.entries()) {
    const same =
      dtype === first.dtype && shape.length === rank && String(shape.slice(padding ? 1 : 0)) === String(rest);
    if (same) continue;
    const hint =
      rank === shape.length && dtype === first.dtype ? `pad it: batch(n, { pad: { ${field || "…"}: 0 } })` : undefined;
    throw modelError(
      placeOf(field),
      `element ${i} is ${dtype}[${shape}], element 0 is ${first.dtype}[${first.shape}]`,
      hint,
    );
  }
  if (!padding) {
    const shape = [...first.shape.slice(0, axis), n, ...first.shape.slice(axis)];
    const data = new arrayTypes[first.dtype](sizeOf(shape));
    spread(rows, data, axis, first.shape, first.shape[0] ?? 1, "end");
    return { value: { dtype: first.dtype, shape, data } as Tensor, made: [] };
  }
  return padded(field, rows, axis, padding, how);
}

function padded(
  field: string,
  rows: readonly Row[],
  axis: number,
  padding: Padding,
  { dtypes, hints }: Collation,
): Made {
  const [first] = rows as readonly [Row];
  if (first.shape.length === 0) throw modelError(placeOf(field), "scalars have no length to pad");
  const { value = 0, multiple = 1, side = "end", truncate = false } = padding;
  const lengths = rows.map((r) => r.shape[0]!);
  const longest = Math.max(...lengths);
  const length = Math.ceil((padding.length ?? longest) / multiple) * multiple;
  if (longest > length && !truncate) {
    const i = lengths.indexOf(longest);
    throw modelError(
      placeOf(field),
      `element ${i} has length ${longest}, more than ${length}`,
      "cut it: truncate: true",
    );
  }
  const n = rows.length;
  const sample = [length, ...first.shape.slice(1)];
  const shape = [...sample.slice(0, axis), n, ...sample.slice(axis)];
  const data = new arrayTypes[first.dtype](sizeOf(shape));
  if (value !== 0) (data as Float64Array).fill(fromNumbers(field, first.dtype, [value])[0] as number);
  spread(rows, data, axis, sample, length, side);
  const made: (readonly [string, Tensor])[] = [];
  const kept = lengths.map((l) => Math.min(l, length));
  if (padding.lengths !== undefined) {
    const dtype = dtypes[padding.lengths] ?? hints[padding.lengths]?.dtype ?? "i32";
    made.push([padding.lengths, { dtype, shape: [n], data: fromNumbers(padding.lengths, dtype, kept) } as Tensor]);
  }
  if (padding.mask !== undefined) {
    const dtype = dtypes[padding.mask] ?? hints[padding.mask]?.dtype ?? "bool";
    const ones = kept.map((l) => ({ dtype, shape: [l], data: fromNumbers("mask", dtype, Array(l).fill(1)) }) as Row);
    const at = Math.min(axis, 1);
    const mask = new arrayTypes[dtype](n * length);
    spread(ones, mask, at, [length], length, side);
    made.push([padding.mask, { dtype, shape: at === 0 ? [n, length] : [length, n], data: mask } as Tensor]);
  }
  return { value: { dtype: first.dtype, shape, data } as Tensor, made };
}

/**
 * Copies rows side by side along an axis. Rows may be shorter or longer than `length` along their first axis: they lie at one side of the
 * room that is left, or are cut at it.
 */
function spread(
  rows: readonly Row[],
  out: TensorData,
  axis: number,
  sample: readonly number[],
  length: number,
  side: "end" | "start",
): void {
  const n = rows.length;
  const inner = sizeOf(sample.slice(1));
  const all = sizeOf(sample);
  // Runs of elements that lie together in the rows and in the batch.
  const run = sizeOf(sample.slice(axis));
  rows.forEach(({ data, shape }, i) => {
    const own = shape.length === 0 ? 1 : shape[0]!;
    const kept = Math.min(own, length);
    const from = side === "start" ? (own - kept) * inner : 0;
    const to = side === "start" ? (length - kept) * inner : 0;
    const source = data.subarray(from, from + kept * inner);
    if (axis === 0) {
      (out as Float32Array).set(source as Float32Array, i * all + to);
      return;
    }
    for (let at = 0; at < source.length; at += run) {
      const place = Math.floor((to + at) / run);
      (out as Float32Array).set(
        source.subarray(at, Math.min(at + run, source.length)) as Float32Array,
        (place * n + i) * run,
      );
    }
  });
}
