/** Checks feeds against an entry's signature and finds the dims that they bind. */
import { Complaint } from "./complaint.js";
import { describe, type Problem } from "./errors.js";
import { arrayTypes, type EntryInfo, type TensorInfo } from "./format.js";
import { holds, isInRange, signature, sizeOf, type Tensor, type TensorData } from "./tensor.js";

/** A tensor, or its data alone where the shape follows from the length. */
export type Feed = Tensor | TensorData;
export type Feeds = { readonly [name: string]: Feed };

/** Checked feeds of one run. */
export interface Bound {
  /** In the order of the entry's inputs. */
  readonly data: readonly TensorData[];
  /** Shapes given by the caller; null for bare arrays. */
  readonly shapes: readonly (readonly number[] | null)[];
  /** In the order of the entry's dims. */
  readonly dims: readonly number[];
}

/**
 * @param given dims that the caller fixes; needed for those that stand alone in no input.
 * @throws Complaint with all problems: names, dtypes, ranks, sizes, dims that contradict each other or leave their range.
 */
export function bindFeeds(entry: EntryInfo, feeds: Feeds, given: Readonly<Record<string, number>> = {}): Bound {
  if (typeof feeds !== "object" || feeds === null || ArrayBuffer.isView(feeds)) {
    throw new Complaint("noFeeds", [entry, feeds]);
  }
  const problems: Problem[] = [];
  const data: TensorData[] = [];
  const shapes: (readonly number[] | null)[] = [];
  const names = entry.inputs.map((i) => i.name);
  for (const name of Object.keys(feeds)) {
    // The words are explain.ts's.
    if (!names.includes(name)) problems.push({ where: `input "${name}"`, message: "" });
  }
  for (const input of entry.inputs) {
    const { array, shape, problem } = readFeed(input, Object.hasOwn(feeds, input.name) ? feeds[input.name] : undefined);
    if (problem) problems.push({ where: `input "${input.name}"`, ...problem });
    data.push(array);
    shapes.push(shape);
  }
  if (problems.length > 0) throw new Complaint("feeds", [problems, entry, feeds]);
  return { data, shapes, dims: bindDims(entry, data, shapes, given, problems) };
}

interface ReadFeed {
  readonly array: TensorData;
  readonly shape: readonly number[] | null;
  readonly problem?: Problem;
}

/** Checks one feed by itself: dtype, array type, rank and constant sizes. */
export function readFeed(input: TensorInfo, feed: unknown): ReadFeed {
  const none = new Uint8Array();
  const want = signature(input);
  if (feed === undefined) return { array: none, shape: null, problem: { message: `missing; expected ${want}` } };
  const isView = ArrayBuffer.isView(feed);
  const { dtype, shape, data } = (
    isView ? { dtype: input.dtype, shape: null, data: feed } : (feed ?? {})
  ) as Partial<Tensor> & { shape: readonly number[] | null };
  const wrong = (message: string, hint?: string): ReadFeed => ({
    array: none,
    shape: null,
    problem: { message: `expected ${want}, got ${message}`, hint },
  });
  if (data === undefined) return wrong(describe(feed), "pass { dtype, shape, data } or a typed array");
  if (dtype !== input.dtype) return wrong(`dtype ${describe(dtype)}`, "convert the data to the model's dtype");
  if (!holds(input.dtype, data))
    return wrong(describe(data), `${input.dtype} elements come in a ${arrayTypes[input.dtype].name}`);
  if (shape !== null) {
    if (!Array.isArray(shape) || !shape.every((d) => Number.isInteger(d) && d >= 0))
      return wrong(`shape ${describe(shape)}`);
    if (sizeOf(shape) !== data.length) return wrong(`shape [${shape}] with ${data.length} elements of data`);
    // A scalar also takes a tensor of one element.
    const fits =
      (input.shape.length === 0 && data.length === 1) ||
      (shape.length === input.shape.length && input.shape.every((d, i) => typeof d !== "number" || d === shape[i]));
    if (!fits) return wrong(`${input.dtype}[${shape.join(", ")}]`);
  }
  if (input.dtype === "bool") {
    const at = (data as Uint8Array).findIndex((b) => b > 1);
    if (at >= 0) return wrong(`the value ${data[at]} at index ${at}`, "bool elements are 0 or 1");
  }
  return { array: data, shape: input.shape.length === 0 ? null : shape };
}

function bindDims(
  entry: EntryInfo,
  data: readonly TensorData[],
  shapes: readonly (readonly number[] | null)[],
  given: Readonly<Record<string, number>>,
  problems: Problem[],
): number[] {
  const known = new Set(entry.dims.map((d) => d.name));
  const values = new Map<string, { value: number; by: string }>();
  const bind = (name: string, value: number, by: string): void => {
    const before = values.get(name);
    if (!before) values.set(name, { value, by });
    else if (before.value !== value) {
      problems.push({
        where: by,
        message: `dim "${name}" is ${value} here, but ${before.value} in ${before.by}`,
        hint: "give all inputs the same size there",
      });
    }
  };
  for (const [name, value] of Object.entries(given)) {
    if (!known.has(name)) problems.push({ where: "option dims", message: `the model has no dim "${name}"` });
    bind(name, value, "option dims");
  }
  entry.inputs.forEach((input, i) => {
    shapes[i]?.forEach((size, axis) => {
      const d = input.shape[axis]!;
      if (typeof d !== "number" && known.has(d.dim)) bind(d.dim, size, `input "${input.name}"`);
    });
  });
  // Bare arrays: each may bind one dim, which may make another's unambiguous.
  const open = new Set(entry.inputs.keys());
  for (const i of open) if (shapes[i]) open.delete(i);
  for (let progress = true; progress; ) {
    progress = false;
    for (const i of open) {
      const result = inferFromLength(entry.inputs[i]!, data[i]!.length, known, values);
      if (result === "later") continue;
      open.delete(i);
      progress = true;
      if ("message" in result) problems.push(result);
      else if (result.name !== null) bind(result.name, result.value, `input "${entry.inputs[i]!.name}"`);
    }
  }
  const wrong = entry.dims.filter((d) => !isInRange(d, values.get(d.name)?.value ?? NaN));
  if (problems[0] || wrong[0])
    throw new Complaint("dims", [problems, wrong, values, [...open].map((i) => entry.inputs[i]!)]);
  return entry.dims.map((d) => values.get(d.name)!.value);
}

function inferFromLength(
  input: TensorInfo,
  length: number,
  known: ReadonlySet<string>,
  values: ReadonlyMap<string, { value: number }>,
): "later" | Problem | { readonly name: string | null; readonly value: number } {
  let rest = 1;
  const unknown: string[] = [];
  for (const d of input.shape) {
    if (typeof d === "number") rest *= d;
    else if (values.has(d.dim)) rest *= values.get(d.dim)!.value;
    // A derived size (`n*2`) is compared after plan has computed it.
    else if (!known.has(d.dim)) return "later";
    else unknown.push(d.dim);
  }
  const [name = null, more] = unknown;
  if (more !== undefined || (name !== null && rest === 0)) return "later";
  const value = name === null ? 1 : length / rest;
  if (Number.isInteger(value) && rest * value === length) return { name, value };
  const multiple = name === null ? `${rest} elements` : `a multiple of ${rest} elements`;
  return {
    where: `input "${input.name}"`,
    message: `expected ${signature(input)}, that is ${multiple}, got ${length}`,
  };
}
