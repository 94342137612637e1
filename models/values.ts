/** What entries give, as numbers. */

import type { Tensor } from "wasmith/runtime";

type Output = Tensor | number | undefined;

/** The tensor of an entry's output. */
export function tensorOf(output: Output): Tensor {
  if (typeof output === "object") return output;
  throw new TypeError(`a tensor was expected, the output is ${output ?? "not there"}`);
}

/** The floats of an entry's output. */
export function floats(output: Output): Float32Array {
  if (typeof output === "number") return Float32Array.of(output);
  if (output?.data instanceof Float32Array) return output.data;
  throw new TypeError(`floats were expected, the output is ${output?.dtype ?? "not there"}`);
}

/** The integers of an entry's output. */
export function integers(output: Output): BigInt64Array {
  if (typeof output === "number") return BigInt64Array.of(BigInt(output));
  if (output?.data instanceof BigInt64Array) return output.data;
  throw new TypeError(`integers of 64 bits were expected, the output is ${output?.dtype ?? "not there"}`);
}

/** Outputs of one element each, as numbers. */
export const numbers = (outputs: Readonly<Record<string, Output>>): Record<string, number> =>
  Object.fromEntries(Object.entries(outputs).map(([name, o]) => [name, Number(typeof o === "object" ? o.data[0] : o)]));

/** The index of the largest number of each row. */
export const argMax = (values: Float32Array, width: number): number[] =>
  Array.from({ length: values.length / width }, (_, i) => {
    const row = values.subarray(i * width, (i + 1) * width);
    return row.indexOf(Math.max(...row));
  });
