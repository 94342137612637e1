/** Greatest error of f32 math functions over a stride through all bit patterns, against the f64 library. */

import { emitModule } from "../../compiler/wasm/emit.js";
import type { MathFn } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { mathArity } from "../../ir/loop-types.js";

export const unaryFns = (Object.keys(mathArity) as MathFn[]).filter((fn) => mathArity[fn] === 1);

export interface Errors {
  readonly fn: MathFn;
  /** In ulp of the exact result, or of what `scaleOf` has for the function. */
  readonly worst: number;
  readonly at: number;
  /** Inputs whose result is NaN, infinite or zero of the wrong sign where it should not be, or the other way round. */
  readonly wrong: readonly number[];
  readonly least: number;
  readonly greatest: number;
}

/** What errors are measured by where results near 0 need no digits. */
const scaleOf: { readonly [N in MathFn]?: (x: number, want: number) => number } = {
  gelu: (x) => Math.max(1, Math.abs(x)),
  geluGrad: (_, want) => Math.max(1, Math.abs(want)),
};

const chunk = 65536;
const [xAt, f32At, f64At, pages] = [1 << 20, 2 << 20, 3 << 20, 64];

export function measureErrors(simd: "simd128" | "relaxed", fns: readonly MathFn[], stride: number): Errors[] {
  const n = { name: "n", type: "i32" } as const;
  const functions = fns.flatMap((fn) => [
    buildFunction(`${fn}_single`, [n], undefined, (b, [count]) =>
      b.for("i", 0, count, 4, (i) =>
        b.store("f32", B.ptr(f32At), i, B.math(fn, B.load("f32x4", "f32", B.ptr(xAt), i))),
      ),
    ),
    buildFunction(`${fn}_double`, [n], undefined, (b, [count]) =>
      b.for("i", 0, count, 1, (i) => b.store("f64", B.ptr(f64At), i, B.math(fn, B.load("f64", "f32", B.ptr(xAt), i)))),
    ),
  ]);
  const { bytes } = emitModule({
    functions,
    exports: functions.map((f) => f.name),
    memory: { shared: false, initialPages: pages, maximumPages: pages },
    variant: { simd, threads: false },
  });
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory } });
  return fns.map((fn) => measure(fn, stride, memory.buffer, (name) => (exports[name] as (n: number) => void)(chunk)));
}

function measure(fn: MathFn, stride: number, memory: ArrayBuffer, call: (name: string) => void): Errors {
  const bits = new Uint32Array(memory, xAt, chunk);
  const x = new Float32Array(memory, xAt, chunk);
  const got = new Float32Array(memory, f32At, chunk);
  const want = new Float64Array(memory, f64At, chunk);
  let [worst, at, least, greatest] = [0, 0, Infinity, -Infinity];
  const wrong: number[] = [];
  for (let start = 0; start < 2 ** 32; start += chunk * stride) {
    for (let k = 0; k < chunk; k++) bits[k] = Math.min(start + k * stride, 2 ** 32 - 1);
    call(`${fn}_single`);
    call(`${fn}_double`);
    for (let k = 0; k < chunk; k++) {
      const [g, w] = [got[k] as number, want[k] as number];
      const single = Math.fround(w);
      if (Number.isNaN(g) || Number.isNaN(w) || !Number.isFinite(g) || !Number.isFinite(single)) {
        // Next to the overflow threshold either neighbour will do.
        const near = Number.isFinite(w) && Math.abs(Math.abs(w) - 2 ** 128) < 2 ** 105;
        if (!Object.is(g, single) && !near) wrong.push(x[k] as number);
        continue;
      }
      if (g === 0 && single === 0 && scaleOf[fn] === undefined && !Object.is(g, single)) wrong.push(x[k] as number);
      if (g < least) least = g;
      if (g > greatest) greatest = g;
      const error = Math.abs(g - w) / ulp(scaleOf[fn]?.(x[k] as number, w) ?? w);
      if (error > worst) [worst, at] = [error, x[k] as number];
    }
  }
  return { fn, worst, at, wrong: wrong.slice(0, 5), least, greatest };
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** Distance of the f32 numbers around an exact result. */
function ulp(exact: number): number {
  const a = Math.abs(exact);
  if (a < 2 ** -126) return 2 ** -149;
  single[0] = a;
  const unit = 2 ** (((singleBits[0] as number) >>> 23) - 127 - 23);
  const roundedUpToPower = (single[0] as number) > a && ((singleBits[0] as number) & 0x7fffff) === 0;
  return roundedUpToPower ? unit / 2 : unit;
}
