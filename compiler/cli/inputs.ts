/** Inputs that the command line names: arrays of numpy, safetensors, pictures and JSON, as what the model takes. */

import { readFile } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import { describe } from "../../ir/describe.js";
import { type DType, dtypeInfo, isDType, isFloat, type TensorData } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { choices } from "../../ir/names.js";
import { elementCount, type Tensor } from "../../ir/tensor.js";
import { elementsOf, isNumeric, numbersOf } from "../../runtime/convert.js";
import { isUrl, onDisk } from "./download.js";
import { asStored, readTensors } from "./feeds.js";
import { asInput, type PixelOptions, pictureInput, readPicture, resized } from "./picture.js";

/** What a model says of an input; files may leave all of it open. */
export interface InputSpec {
  readonly name: string;
  readonly dtype: DType | undefined;
  readonly shape: readonly (number | string | null)[] | undefined;
}

export interface InputFlags extends PixelOptions {
  readonly input?: readonly (readonly [name: string | undefined, source: string])[];
  readonly inputs?: string;
}

type Tensors = Readonly<Record<string, Tensor>>;
/** An input by name: items of a sequence `s` are called `s.0`, `s.1` … */
type SpecOf = (name: string) => InputSpec | undefined;

/** Whether it is JSON itself, and not where some is. */
const isJson = (text: string): boolean => /^\s*([[{]|[-+]?\d[\d.e+-]*\s*$|true$|false$)/i.test(text);

function collectInput(
  text: string,
  before: readonly (readonly [string | undefined, string])[] = [],
): readonly (readonly [string | undefined, string])[] {
  const match = isJson(text) || isUrl(text) ? undefined : /^([^=]+)=(.+)$/s.exec(text);
  if (text === "") throw new InvalidArgumentError("write name=file");
  return [...before, match ? [match[1], match[2]!] : [undefined, text]];
}

export function withInputFlags(command: Command): Command {
  return command
    .option(
      "-i, --input <name=file>",
      "an input: .npy, .npz, .safetensors, .json, .png or .jpg file, or JSON itself; the name may be left out where there is one; repeatable",
      collectInput,
    )
    .option("--inputs <file>", "an .npz, .safetensors or .json file with a tensor for each input");
}

/** Tensors that flags give, of the dtypes that the model has, by name. @param option that errors name. @throws ModelError naming the input and the file */
export async function givenTensors(
  flags: InputFlags,
  inputs: readonly InputSpec[],
  specOf: SpecOf,
  option = "--input",
): Promise<Tensors> {
  const found: Record<string, Tensor> = {};
  if (flags.inputs !== undefined) {
    for (const [name, value] of Object.entries(await namedValues(flags.inputs)))
      found[name] = asSpec(`${flags.inputs}, "${name}"`, value, specOf(name));
  }
  for (const [name, source] of flags.input ?? []) {
    const to = name ?? onlyInput(inputs, source);
    const spec = specOf(to);
    if (!spec)
      throw new ModelError({
        where: option,
        message: `the model has no input "${to}"`,
        hint: choices(
          to,
          inputs.map((i) => i.name),
          "its inputs are",
        ),
      });
    found[to] = await readInput(source, spec, flags);
  }
  return found;
}

function onlyInput(inputs: readonly InputSpec[], source: string): string {
  if (inputs.length === 1) return inputs[0]!.name;
  const names = inputs.map((i) => i.name);
  throw new ModelError({
    where: "--input",
    message: `it is not said which input ${JSON.stringify(source.slice(0, 60))} is`,
    hint: `write NAME=…; the inputs are: ${names.join(", ") || "none"}`,
  });
}

/** JSON as it is written, or a tensor. */
type Given = { readonly json: unknown } | Tensor;

async function namedValues(given: string): Promise<Readonly<Record<string, Given>>> {
  const path = await onDisk(given);
  const kind = extensionOf(path);
  if (kind === "safetensors") return readTensors(path);
  if (kind === "npz") return (await import("../../runtime/data/read/arrays.js")).readNpz(path) as Promise<Tensors>;
  if (kind !== "json") throw unknownFile(path, ".npz, .safetensors or .json", "--input NAME=FILE reads one input");
  const value = parseJson(path, await readFile(path, "utf8"));
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ModelError({ where: path, message: `expected values by the names of inputs, got ${describe(value)}` });
  return Object.fromEntries(Object.entries(value).map(([name, json]) => [name, { json }]));
}

async function readInput(given: string, spec: InputSpec, pixels: PixelOptions): Promise<Tensor> {
  if (isJson(given)) return asSpec(`input "${spec.name}"`, { json: parseJson(spec.name, given) }, spec);
  const source = await onDisk(given);
  switch (extensionOf(source)) {
    case "npy":
      return asSpec(
        source,
        (await (await import("../../runtime/data/read/arrays.js")).readNpy(source)) as Tensor,
        spec,
      );
    case "npz":
    case "safetensors":
      return asSpec(source, tensorNamed(source, await namedValues(source), spec.name), spec);
    case "json":
      return asSpec(source, jsonNamed(parseJson(source, await readFile(source, "utf8")), spec.name), spec);
    case "png":
    case "jpg":
    case "jpeg":
      return picture(source, spec, pixels);
    default:
      throw unknownFile(
        source,
        ".npy, .npz, .safetensors, .json, .png or .jpg",
        "JSON itself begins with [ or a digit",
      );
  }
}

const extensionOf = (path: string): string => /\.(\w+)$/.exec(path)?.[1]?.toLowerCase() ?? "";

const unknownFile = (path: string, kinds: string, hint: string) =>
  new ModelError({ where: path, message: `expected a file of type ${kinds}`, hint });

function tensorNamed(path: string, tensors: Readonly<Record<string, Given>>, name: string): Given {
  const names = Object.keys(tensors);
  const key = Object.hasOwn(tensors, name) ? name : names.length === 1 ? names[0]! : undefined;
  if (key !== undefined) return tensors[key]!;
  throw new ModelError({
    where: path,
    message: `it holds no "${name}"`,
    hint: `it holds ${names.join(", ") || "nothing"}`,
  });
}

/** All of a file, or what it has by the name of the input. */
const jsonNamed = (json: unknown, name: string): Given => {
  const isNamed = typeof json === "object" && json !== null && !("data" in json) && Object.hasOwn(json, name);
  return { json: isNamed ? (json as Readonly<Record<string, unknown>>)[name] : json };
};

function parseJson(where: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ModelError({ where, message: `it can't be read as JSON: ${(cause as Error).message}` }, { cause });
  }
}

/** In the input's dtype, where that holds its numbers. */
function asSpec(where: string, given: Given, spec: InputSpec | undefined): Tensor {
  if ("json" in given) return fromJson(where, given.json, spec);
  const t = spec?.dtype ? asStored(given, spec.dtype) : given;
  if (!spec?.dtype || t.dtype === spec.dtype || !isNumeric(t.dtype) || !isNumeric(spec.dtype)) return t;
  return {
    dtype: spec.dtype,
    shape: t.shape,
    data: elements(where, spec.dtype, numbersOf(t.dtype, t.data as TensorData)),
  };
}

function elements(where: string, dtype: DType, values: ArrayLike<unknown>): TensorData {
  const found = elementsOf(dtype, values);
  if (typeof found !== "number") return found;
  throw new ModelError({ where, message: `${describe(values[found])} (element ${found}) is no ${dtype}` });
}

/** Numbers, nested lists of them, or `{ dtype, shape, data }` as `--json` prints it. */
function fromJson(where: string, value: unknown, spec: InputSpec | undefined): Tensor {
  const isRecord = typeof value === "object" && value !== null && !Array.isArray(value);
  const given: Readonly<Record<string, unknown>> = isRecord ? { ...value } : { data: value };
  const shape: number[] = [];
  for (let at = given.data; Array.isArray(at); at = at[0]) shape.push(at.length);
  const flat = Array.isArray(given.data) ? (given.data as unknown[]).flat(Number.POSITIVE_INFINITY) : [given.data];
  if (flat.length !== elementCount(shape)) throw new ModelError({ where, message: "its lists have uneven lengths" });
  const stated = typeof given.dtype === "string" && isDType(given.dtype) ? given.dtype : undefined;
  const dtype = spec?.dtype ?? stated ?? "f32";
  const data = elements(where, dtype, flat.map(numberOf));
  if (given.shape !== undefined) {
    const wanted = given.shape as readonly number[];
    if (!Array.isArray(wanted) || elementCount(wanted) !== data.length)
      throw new ModelError({ where, message: `shape ${describe(wanted)} with ${data.length} elements of data` });
    return { dtype, shape: wanted, data };
  }
  return { dtype, shape: shapeFor(shape, data.length, spec), data };
}

/** Numbers that JSON has no form for are strings: "NaN", "-Infinity", integers beyond 2^53. */
function numberOf(value: unknown): unknown {
  if (typeof value !== "string") return value;
  if (/^-?\d+$/.test(value)) return BigInt(value);
  return /^(NaN|-?Infinity)$/.test(value) ? Number(value) : value;
}

/** A flat list takes the shape of the input where that leaves one size open at most. */
function shapeFor(given: readonly number[], count: number, spec: InputSpec | undefined): readonly number[] {
  const { shape } = spec ?? {};
  if (given.length > 1 || shape === undefined || shape.length === given.length) return given;
  const open = shape.findIndex((d) => typeof d !== "number");
  const rest = shape.reduce<number>((n, d) => (typeof d === "number" ? n * d : n), 1);
  const size = count / rest;
  const isOpen = shape.filter((d) => typeof d !== "number").length;
  if (isOpen > 1 || (isOpen === 0 && size !== 1) || !Number.isInteger(size)) return given;
  return shape.map((d, i) => (i === open ? size : (d as number)));
}

/** A picture of the size that the input has, in a batch of one where it is one of batches. */
async function picture(path: string, spec: InputSpec, pixels: PixelOptions): Promise<Tensor> {
  const { name, dtype = "f32", shape = [] } = spec;
  const single = shape.length === 3;
  const { layout, channels, height, width } = pictureInput(name, single ? [1, ...shape] : shape);
  const whole = await readPicture(path, channels);
  const isWhole = !isFloat(dtype);
  const range = pixels.range ?? (isWhole ? ([0, 255] as const) : undefined);
  const sized = resized(whole, height ?? whole.height, width ?? whole.width);
  const made = asInput(sized, layout, { ...pixels, ...(range ? { range } : {}) });
  const values = made.data as Float32Array;
  const data = dtype === "f32" ? values : elements(path, dtype, isWhole ? limited(values, dtype) : values);
  return { dtype, shape: single ? made.shape.slice(1) : made.shape, data };
}

/** Rounded to whole numbers of the dtype. */
function limited(values: Float32Array, dtype: DType): Float32Array {
  const { min, max } = integerRange(dtype);
  return values.map((v) => Math.min(max, Math.max(min, Math.round(v))));
}

function integerRange(dtype: DType): { readonly min: number; readonly max: number } {
  const bits = 8 * dtypeInfo[dtype].array.BYTES_PER_ELEMENT;
  return dtype.startsWith("u") ? { min: 0, max: 2 ** bits - 1 } : { min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 };
}
