/** Outputs on the command line: as files of many kinds, as JSON, and in words. */

import { type Command, InvalidArgumentError } from "commander";
import { ModelError } from "../../ir/errors.js";
import { choices } from "../../ir/names.js";
import { element, type Tensor } from "../../ir/tensor.js";
import { writeSafetensors } from "../../runtime/safetensors.js";
import { writeWhole } from "../write.js";
import { number, table } from "./format.js";
import { encodeNpy, encodeNpz } from "./numpy.js";
import { encodePng } from "./picture.js";

type Tensors = Readonly<Record<string, Tensor>>;

export interface OutputFlags {
  readonly out?: string;
  readonly output?: readonly (readonly [name: string, file: string])[];
  readonly range?: readonly [black: number, white: number];
}

function collectOutput(
  text: string,
  before: readonly (readonly [string, string])[] = [],
): readonly (readonly [string, string])[] {
  const match = /^([^=]+)=(.+)$/.exec(text);
  if (!match) throw new InvalidArgumentError("write name=file, as in mask=mask.png");
  return [...before, [match[1]!, match[2]!]];
}

export function withOutputFlags(command: Command): Command {
  return command
    .option("-o, --out <file>", "write all outputs: .safetensors, .npz or .json; of one output .npy or .png too")
    .option("--output <name=file>", "write one of the outputs; repeatable", collectOutput);
}

/** Writes what flags ask for. @returns the paths */
export async function writeOutputs(flags: OutputFlags, outputs: Tensors): Promise<readonly string[]> {
  const files: (readonly [string, Tensors])[] = flags.out === undefined ? [] : [[flags.out, outputs]];
  for (const [name, file] of flags.output ?? []) {
    if (!Object.hasOwn(outputs, name))
      throw new ModelError({
        where: "--output",
        message: `the model has no output "${name}"`,
        hint: choices(name, Object.keys(outputs), "its outputs are"),
      });
    files.push([file, { [name]: outputs[name]! }]);
  }
  for (const [file, tensors] of files) await writeWhole(file, encoded(file, tensors, flags.range));
  return files.map(([file]) => file);
}

function encoded(file: string, tensors: Tensors, range: OutputFlags["range"]): Uint8Array {
  const [[name, only] = [], ...more] = Object.entries(tensors);
  const single = (): [string, Tensor] => {
    if (only && more.length === 0) return [name!, only];
    const hint = `--output NAME=${file} writes one of ${Object.keys(tensors).join(", ")}; .npz and .safetensors hold all`;
    throw new ModelError({ where: file, message: `one tensor fits in it, and there are ${more.length + 1}`, hint });
  };
  switch (/\.(\w+)$/.exec(file)?.[1]?.toLowerCase()) {
    case "safetensors":
      return writeSafetensors(
        Object.entries(tensors).map(([key, { dtype, shape, data }]) => ({
          name: key,
          dtype,
          shape,
          data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        })),
      );
    case "npz":
      return encodeNpz(tensors);
    case "npy":
      return encodeNpy(...single());
    case "json":
      return new TextEncoder().encode(`${JSON.stringify(asJson(tensors))}\n`);
    case "png":
      return encodePng(...single(), range);
    default:
      throw new ModelError({
        where: file,
        message: "its name does not say what to write",
        hint: "end it in .safetensors, .npz, .npy, .json or .png",
      });
  }
}

/** Numbers that JSON has no form for (NaN, infinities, 64-bit integers) are strings. */
export function asJson(tensors: Tensors): Readonly<Record<string, unknown>> {
  const plain = (t: Tensor) =>
    Array.from({ length: t.data.length }, (_, i) => {
      const v = typeof t.data[i] === "bigint" ? t.data[i] : element(t, i);
      return typeof v === "bigint" || !Number.isFinite(v) ? String(v) : v;
    });
  return Object.fromEntries(
    Object.entries(tensors).map(([name, t]) => [name, { dtype: t.dtype, shape: t.shape, data: plain(t) }]),
  );
}

/** First values shown of an output. */
const shown = 8;

/** A line for each output: its type, what its values are, and the first of them. */
export function inWords(outputs: Tensors): string {
  return table(
    Object.entries(outputs).map(([name, t]) => {
      const count = t.data.length;
      const values = Array.from({ length: Math.min(shown, count) }, (_, i) =>
        typeof t.data[i] === "bigint" ? String(t.data[i]) : number(element(t, i)),
      );
      const start = `${values.join(" ")}${count > shown ? " …" : ""}`;
      return [`${name}: ${t.dtype}[${t.shape.join(", ")}]`, count > shown ? spread(t) : "", start];
    }),
  );
}

function spread(t: Tensor): string {
  let [min, max, sum, wrong] = [Infinity, -Infinity, 0, 0];
  let top = 0;
  for (let i = 0; i < t.data.length; i++) {
    const v = element(t, i);
    if (!Number.isFinite(v)) wrong++;
    else {
      if (v > max) top = i;
      min = Math.min(min, v);
      max = Math.max(max, v);
      sum += v;
    }
  }
  const finite = t.data.length - wrong;
  const problem = wrong > 0 ? `${wrong} not finite` : "";
  if (finite === 0) return problem;
  return [`min ${number(min)}`, `mean ${number(sum / finite)}`, `max ${number(max)} at ${top}`, problem]
    .filter((s) => s !== "")
    .join(", ");
}
