/** Results whose half floats are numbers. A module of its own, which is loaded by those who ask for it. */
import type { modelError as makeError } from "./errors.js";
import type { Tensor } from "./tensor.js";

type Float16Constructor = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => ArrayLike<number>;

/**
 * The same results, with a `Float16Array` over the bits of each f16.
 * @throws ModelError where the platform has none (Node before 24, browsers before 2025)
 */
export function withFloat16<O>(results: O, modelError: typeof makeError): O {
  const { Float16Array } = globalThis as { readonly Float16Array?: Float16Constructor };
  if (!Float16Array)
    throw modelError("option float16", "this engine has no Float16Array", "leave it out, and convert by fromFloat16");
  const converted = (t: Tensor): unknown =>
    t.dtype === "f16" ? { ...t, data: new Float16Array(t.data.buffer, t.data.byteOffset, t.data.length) } : t;
  return Object.fromEntries(Object.entries(results as Record<string, Tensor>).map(([n, t]) => [n, converted(t)])) as O;
}
