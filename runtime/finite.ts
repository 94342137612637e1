/** Where a loss, or a gradient, that is not finite comes from. Of the module that trains. */
import type { DType, EntryInfo, StateRole, TensorInfo } from "./format.js";
import type { Machine } from "./machine.js";
import { byteSize, sizeOf, viewOf } from "./tensor.js";

/** A run of an entry that has computed its scalars and changed no state yet, if its schedule allows. */
export interface Paused {
  readonly machine: Machine;
  readonly name: string;
  readonly entry: EntryInfo;
  /** The scalars, and the guard of gradients where the entry has one: 0, or NaN. */
  readonly values: () => readonly number[];
  /** Lays the same batch out again. */
  readonly again: () => void;
}

/** What was found: a part of an error's words. */
export interface Origin {
  readonly message: string;
  readonly hint: string;
}

/** Bits of an element that are all set in NaNs and infinities, by what its words are read as. */
const exponents: { readonly [D in DType]?: number } = { f16: 0x7c00, bf16: 0x7f80 };

/** The first element that is NaN or infinite; −1: none. */
function firstNotFinite(dtype: DType, bytes: Uint8Array): number {
  const data = viewOf(dtype, bytes.buffer, bytes.byteOffset, bytes.length / byteSize(dtype, []));
  if (data instanceof Float32Array || data instanceof Float64Array)
    return data.findIndex((v: number) => !Number.isFinite(v));
  const exponent = exponents[dtype];
  if (exponent === undefined) return -1;
  return (data as Uint16Array).findIndex((v) => (v & exponent) === exponent);
}

/** What stands in words of memory whose types are not known, by the bit patterns that arithmetic gives. */
function kindsIn(words: Int32Array): { nan: boolean; infinity: boolean } {
  let [nan, infinity] = [false, false];
  for (let i = 0; i < words.length; i++) {
    const w = words[i]!;
    if (w === 0x7f800000) infinity = true;
    else if ((w & 0x7fffffff) === 0x7fc00000) nan = true;
    // The upper half of a double.
    else if ((w & 0x7fffffff) === 0x7ff80000 && i % 2 && words[i - 1] === 0) nan = true;
  }
  return { nan, infinity };
}

const indexText = (shape: readonly number[], at: number): string =>
  `[${shape.map((_, axis) => Math.floor(at / sizeOf(shape.slice(axis + 1))) % shape[axis]!).join(", ")}]`;

/** Rates first, since parameters follow them. */
const roles: readonly StateRole[] = ["hyper", "param", "buffer", "optimizer", "metric"];

/**
 * Looks at inputs, at state, then at each step in turn, over memory that holds nothing else.
 * @param wrong what is not finite: NaN or an infinity
 * @returns null where nothing is found: the loss was looked at before it was computed
 */
export async function originOf({ machine, name, entry, again }: Paused, wrong: number): Promise<Origin | null> {
  const { arenaOffset } = machine.manifest.memory;
  machine.bytes.fill(0, arenaOffset);
  again();
  const found = inputs(machine, entry.inputs) ?? states(machine);
  if (found) return found;
  const place = (step: number): string => {
    const { name: layer, kernel } = entry.steps[step]!;
    return `${layer ? `"${layer}"` : "a step without a name"} (step ${step} of ${entry.steps.length}, ${kernel})`;
  };
  machine.clearLimits(entry);
  let infinity: number | null = null;
  for (let step = 0; step < entry.mutatesFrom; step++) {
    await machine.run(name, step, step + 1);
    // Memory may have grown.
    const { buffer } = machine.bytes;
    const kinds = kindsIn(new Int32Array(buffer, arenaOffset, Math.floor((buffer.byteLength - arenaOffset) / 4)));
    if (kinds.infinity) infinity ??= step;
    if (!kinds.nan && !(kinds.infinity && !Number.isNaN(wrong))) continue;
    const before =
      kinds.nan && infinity !== null && infinity !== step ? `, after an infinity in ${place(infinity)}` : "";
    return {
      message: `${kinds.nan ? "NaN" : "an infinity"} first appeared in ${place(step)}${before}`,
      hint: "all state is as it was before this batch; look for log, sqrt or division at 0, exp of large values, or lower the learning rate",
    };
  }
  return null;
}

function inputs(machine: Machine, all: readonly TensorInfo[]): Origin | null {
  for (const input of all) {
    const shape = machine.shape(input.shape);
    const size = byteSize(input.dtype, shape);
    const at = machine.address(input, size);
    const first = firstNotFinite(input.dtype, machine.bytes.subarray(at, at + size));
    if (first < 0) continue;
    return {
      message: `input "${input.name}" holds NaN or infinities, the first at ${indexText(shape, first)}`,
      hint: "mend the data; all state is as it was before this batch",
    };
  }
  return null;
}

function states(machine: Machine): Origin | null {
  const bad = roles.flatMap((role) =>
    machine.manifest.state.filter(
      (s) =>
        s.role === role &&
        firstNotFinite(s.dtype, machine.bytes.subarray(s.offset, s.offset + byteSize(s.dtype, s.shape))) >= 0,
    ),
  );
  if (!bad.length) return null;
  const names = bad.slice(0, 3).map((s) => `"${s.name}"`);
  const more = bad.length > 3 ? ` and ${bad.length - 3} more` : "";
  return {
    message: `${names.join(", ")}${more} held NaN or infinities before this batch`,
    hint: "an earlier update made them so: restore a checkpoint, lower the learning rate, or clip gradients",
  };
}
