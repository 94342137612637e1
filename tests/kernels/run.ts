/** Runs kernels over buffers with guard bytes around them, for tests and benchmarks. */

import { emitModule, type Variant } from "../../compiler/wasm/emit.js";
import type { EngineFact, LoopFunction } from "../../ir/loop.js";
import { i32 } from "../../ir/loop-build.js";
import { rewriteStmts } from "../../ir/loop-walk.js";
import { elementCount, type Tensor, tensorFrom } from "../../ir/tensor.js";

const guardBytes = 64;
const guardByte = 0xa5;

export type NumberArray = Float32Array | Float64Array | Int32Array | Int16Array | Int8Array | Uint8Array;
type ArrayType<T> = {
  new (buffer: ArrayBufferLike, offset: number, length: number): T;
  readonly BYTES_PER_ELEMENT: number;
};

interface Kernel {
  readonly fn: LoopFunction;
  readonly helpers: readonly LoopFunction[];
}

/** The kernel as code for another engine, whose instructions are not needed: products and sums stay apart. */
export function onEngine({ fn, helpers }: Kernel, facts: Readonly<Partial<Record<EngineFact, number>>>): Kernel {
  const suffix = Object.entries(facts)
    .map(([fact, value]) => `_${fact}${value}`)
    .join("");
  const decided = (f: LoopFunction): LoopFunction => ({
    ...f,
    body: rewriteStmts(f.body, (e) => (e.kind === "engine" ? i32(facts[e.fact] ?? 0) : e)),
  });
  return { fn: { ...decided(fn), name: `${fn.name}${suffix}` }, helpers: helpers.map(decided) };
}

/** Kernels of one name are equal, so one module serves all memories of a size. */
const modules = new Map<string, WebAssembly.Module>();

/** A memory with buffers allocated one after another, each between guards. */
export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly pages: number;
  #top = 1024;
  readonly #guards: number[] = [];

  constructor(pages = 64) {
    this.pages = pages;
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  }

  /** A buffer of `length` elements; `skew` bytes (a multiple of the element) move it off its alignment. */
  alloc<T extends NumberArray>(type: ArrayType<T>, length: number, skew = 0): T {
    this.#guard();
    const at = this.#top + skew;
    const view = new type(this.memory.buffer, at, length);
    this.#guard(at + length * type.BYTES_PER_ELEMENT);
    this.#top = Math.ceil(this.#top / 64) * 64;
    return view;
  }

  #guard(at = this.#top): void {
    new Uint8Array(this.memory.buffer, at, guardBytes).fill(guardByte);
    this.#guards.push(at);
    this.#top = at + guardBytes;
  }

  f32(values: ArrayLike<number> | number, skew = 0): Float32Array {
    const a = this.alloc(Float32Array, typeof values === "number" ? values : values.length, skew);
    if (typeof values !== "number") a.set(values);
    return a;
  }

  /** Throws if a byte outside the buffers was written. */
  checkGuards(): void {
    const bytes = new Uint8Array(this.memory.buffer);
    for (const at of this.#guards)
      for (let i = 0; i < guardBytes; i++)
        if (bytes[at + i] !== guardByte) throw new Error(`guard byte ${at + i} was overwritten`);
  }

  instantiate(kernel: Kernel, simd: Variant["simd"] = "simd128"): (...args: (number | NumberArray)[]) => void {
    const key = `${kernel.fn.name} ${this.pages} ${simd}`;
    let module = modules.get(key);
    if (module === undefined) {
      const { bytes } = emitModule({
        functions: [...kernel.helpers, kernel.fn],
        exports: [kernel.fn.name],
        memory: { shared: false, initialPages: this.pages, maximumPages: this.pages },
        variant: { simd, threads: false },
      });
      module = new WebAssembly.Module(bytes as BufferSource);
      modules.set(key, module);
    }
    const instance = new WebAssembly.Instance(module, { env: { memory: this.memory } });
    const run = instance.exports[kernel.fn.name] as (...args: number[]) => void;
    return (...args) => run(...args.map((a) => (typeof a === "number" ? a : a.byteOffset)));
  }
}

/** A small generator of repeatable numbers in [−1, 1). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 31 - 1;
  };
}

export function randomArray(length: number, seed: number): Float64Array {
  const next = randomNumbers(seed);
  return Float64Array.from({ length }, () => Math.fround(next()));
}

/** A tensor of f32 with the numbers of `randomArray`. */
export function randomF32(shape: readonly number[], seed: number): Tensor {
  return tensorFrom("f32", shape, randomArray(elementCount(shape), seed));
}

/** Asserts |got − want| ≤ bound for every element; the message names the first that differs. */
export function expectClose(got: ArrayLike<number>, want: ArrayLike<number>, bound: number, what = ""): void {
  if (got.length !== want.length) throw new Error(`${what}: ${got.length} elements, not ${want.length}`);
  for (let i = 0; i < want.length; i++) {
    const error = Math.abs((got[i] as number) - (want[i] as number));
    if (!(error <= bound)) throw new Error(`${what}: element ${i} is ${got[i]}, not ${want[i]} (bound ${bound})`);
  }
}
