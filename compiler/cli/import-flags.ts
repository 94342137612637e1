/** Flags that say of an ONNX file what it leaves open: docs/ONNX.md, "What an import may need to be told". */

import { type Command, InvalidArgumentError } from "commander";
import { ModelError } from "../../ir/errors.js";
import type { Tensor } from "../../ir/tensor.js";
import type { ImportOptions } from "../onnx/inputs.js";
import { type OnnxType, readOnnx } from "../onnx/model.js";
import { collectDim, type DimOption } from "./dim-flag.js";
import type { InputSpec } from "./inputs.js";

export interface ImportFlags {
  readonly dim?: DimOption;
  readonly shape?: Readonly<Record<string, readonly (number | string | null)[]>>;
  readonly value?: Readonly<Record<string, string>>;
  readonly structure?: Readonly<Record<string, number | boolean>>;
}

const named = (text: string, example: string): readonly [string, string] => {
  const match = /^([^=]+)=(.*)$/s.exec(text);
  if (!match) throw new InvalidArgumentError(`write name=value, as in ${example}`);
  return [match[1]!, match[2]!];
};

function collectShape(text: string, before: ImportFlags["shape"] = {}): ImportFlags["shape"] {
  const [name, value] = named(text, "x=batch,3,224");
  const sizes = value === "" ? [] : value.split(",").map((d) => d.trim());
  if (sizes.includes("")) throw new InvalidArgumentError("write sizes with commas between them, as in x=batch,3,?");
  return { ...before, [name]: sizes.map((d) => (/^\d+$/.test(d) ? Number(d) : d === "?" ? null : d)) };
}

function collectValue(text: string, before: ImportFlags["value"] = {}): ImportFlags["value"] {
  const [name, value] = named(text, "axes=[0,1] or axes=axes.npy");
  return { ...before, [name]: value };
}

function collectStructure(text: string, before: ImportFlags["structure"] = {}): ImportFlags["structure"] {
  const [name, value] = named(text, "xs=3");
  if (!/^(\d+|true|false)$/.test(value))
    throw new InvalidArgumentError("write how many tensors a sequence has, or true or false for an optional");
  return { ...before, [name]: /\d/.test(value) ? Number(value) : value === "true" };
}

export function withImportFlags(command: Command): Command {
  return command
    .option("--dim <name=value>", "size or range (lo..hi) of a dim of an ONNX file; repeatable", collectDim)
    .option(
      "--shape <name=sizes>",
      "shape of an input of an ONNX file that states none: numbers, names, ?",
      collectShape,
    )
    .option(
      "--value <name=value>",
      "an input of an ONNX file that becomes constant: JSON, or a file as run takes them",
      collectValue,
    )
    .option(
      "--structure <name=value>",
      "tensors of a sequence input, or whether an optional is there",
      collectStructure,
    );
}

/** @throws ModelError where a flag of ONNX files is given for another */
export function checkImportFlags(path: string, extension: string, flags: ImportFlags): void {
  const given = (["dim", "shape", "value", "structure"] as const).find((f) => Object.keys(flags[f] ?? {}).length > 0);
  if (extension === ".onnx" || given === undefined) return;
  const what = { dim: "sizes", shape: "shapes", value: "inputs", structure: "inputs" }[given];
  throw new ModelError({
    where: `--${given}`,
    message: `the ${what} of ${path} are what it says; only those of ONNX files can be fixed or bounded`,
    hint: "change them in the file",
  });
}

/** @param bytes of the file, which are read for the types of inputs that become constant */
export async function importOptionsOf(path: string, bytes: Uint8Array, flags: ImportFlags): Promise<ImportOptions> {
  const { dim, shape, value, structure } = flags;
  return {
    ...(dim ? { dims: dim } : {}),
    ...(shape ? { shapes: shape } : {}),
    ...(structure ? { structures: structure } : {}),
    ...(value ? { values: await constantsOf(path, bytes, value) } : {}),
  };
}

async function constantsOf(
  path: string,
  bytes: Uint8Array,
  given: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, Tensor>>> {
  const { givenTensors } = await import("./inputs.js");
  const { inputs, overridable = [] } = readOnnx(bytes, { path }).graph;
  const specs = [...inputs, ...overridable].map(({ name, type }) => specOfType(name, type));
  const flags = { input: Object.entries(given) };
  return givenTensors(flags, specs, (name) => specs.find((s) => s.name === name), "--value");
}

/** What a file says of an input. */
export function specOfType(name: string, type: OnnxType | undefined): InputSpec {
  if (type?.kind === "optional") return specOfType(name, type.element);
  if (type?.kind !== "tensor") return { name, dtype: undefined, shape: undefined };
  return { name, dtype: type.dtype === "string" ? undefined : type.dtype, shape: type.shape };
}
