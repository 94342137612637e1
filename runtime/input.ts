/** Inputs where a run reads them. A module of its own, which is loaded by those who write there. */
import type { modelError } from "./errors.js";
import type { DimInfo, EntryInfo, TensorInfo } from "./format.js";
import type { Machine } from "./machine.js";
import { byteSize, isInRange, rangeText, signature, sizeOf, type Tensor, viewOf } from "./tensor.js";
import type { checkOptions } from "./validate.js";

/** What is asked for: an input of an entry, in a run of such sizes. */
interface Asked {
  readonly name: string;
  readonly shape: readonly number[] | undefined;
  readonly options: {
    readonly entry?: string | undefined;
    readonly dims?: Readonly<Record<string, number>> | undefined;
  };
}

/** What modules that are loaded on demand take from the session's, so that errors are of its classes. */
interface Tools {
  readonly modelError: typeof modelError;
  readonly checkOptions: typeof checkOptions;
  readonly entryOf: (machine: Machine, name: string) => EntryInfo;
}

/** Lays out a run of such sizes. @returns a view of an input's memory @throws ModelError where sizes are not known or do not fit */
export function inputView(
  machine: Machine,
  main: string,
  { name, shape: given, options }: Asked,
  tools: Tools,
): Tensor {
  tools.checkOptions("input", options, { entry: "string", dims: "object" });
  const { entry: of = main, dims = {} } = options;
  const entry = tools.entryOf(machine, of);
  const input = entry.inputs.find((i) => i.name === name);
  if (!input) {
    const names = entry.inputs.map((i) => i.name).join(", ");
    throw tools.modelError(`input "${name}"`, "the model has no such input", `its inputs are: ${names}`);
  }
  const wrong = (message: string, hint?: string) => tools.modelError(`input "${name}"`, message, hint);
  machine.plan(of, entry, dimsOf(entry, input, given, dims, wrong));
  const shape = machine.shape(input.shape);
  if (given && String(given) !== String(shape)) throw wrong(`expected ${signature(input)}, got [${given.join(", ")}]`);
  const { dtype } = input;
  const at = machine.address(input, byteSize(dtype, shape));
  return { dtype, shape, data: viewOf(dtype, machine.bytes.buffer, at, sizeOf(shape)) } as Tensor;
}

type Wrong = (message: string, hint?: string) => Error;

function dimsOf(
  { dims }: EntryInfo,
  input: TensorInfo,
  given: readonly number[] | undefined,
  sizes: Readonly<Record<string, number>>,
  wrong: Wrong,
): readonly number[] {
  const known = new Map(Object.entries(sizes));
  input.shape.forEach((d, axis) => {
    const size = given?.[axis];
    if (typeof d !== "number" && size !== undefined && !known.has(d.dim)) known.set(d.dim, size);
  });
  return dims.map((d) => checked(d, known.get(d.name), wrong));
}

/** A size of a dim. @throws what `wrong` makes of it where it is not known or outside its range */
export function checked(dim: DimInfo, size: number | undefined, wrong: Wrong): number {
  const { name } = dim;
  const range = rangeText(dim);
  if (size === undefined)
    throw wrong(
      `the size of dim "${name}" is not known`,
      `pass its shape, or the option dims: { ${name}: … }, in ${range}`,
    );
  if (isInRange(dim, size)) return size;
  throw wrong(`dim "${name}" is ${size}, outside its range ${range}`, "compile the model with a wider range");
}
