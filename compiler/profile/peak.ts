/** What the machine can do at most, measured by the code that kernels are made of. */

import type { LoopFunction } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, fma, load, mul, pointer, splat } from "../../ir/loop-build.js";
import { emitModule } from "../wasm/emit.js";

/** Independent sums: as many as hide the latency of an addition and fit the registers. */
const chains = 10;
const lanes = 4;

/** Multiply-adds on registers only; `n` rounds of `chains` vectors. */
export function peakLoop(): LoopFunction {
  return buildFunction("peak", [{ name: "n", type: "i32" }, pointer("out", "f32")], undefined, (f, [n, out]) => {
    const acc = Array.from({ length: chains }, (_, i) => f.mut("acc", splat("f32x4", load("f32", "f32", out, i))));
    const x = f.let("x", load("f32x4", "f32", out, 12));
    const y = f.let("y", load("f32x4", "f32", out, 16));
    f.for("i", 0, n, 1, () => {
      for (const a of acc) f.assign(a, fma(x, y, a));
    });
    f.store(
      "f32",
      out,
      0,
      acc.reduce((a, b) => add(a, b)),
    );
  });
}

/** Operations of a round of `peakLoop`. */
export const peakOperations = 2 * chains * lanes;

const streams = 4;
/** Streams of so many bytes: more than caches hold, and what the cache of one core holds. */
const streamBytes = 2 ** 26;
const cachedBytes = 2 ** 16;

/** Adds up `n` floats from each of `streams` places one behind the other. */
function readLoop(): LoopFunction {
  const params = [{ name: "n", type: "i32" }, pointer("from", "f32"), pointer("out", "f32")] as const;
  return buildFunction("read", params, undefined, (f, [n, from, out]) => {
    const starts = Array.from({ length: streams }, (_, s) => f.let("start", add(from, mul(n, 4 * s))));
    const sums = starts.map(() => f.mut("sum", splat("f32x4", load("f32", "f32", out, 0))));
    f.for("i", 0, n, lanes, (i) => {
      for (const [s, start] of starts.entries()) f.assign(sums[s]!, add(sums[s]!, load("f32x4", "f32", start, i)));
    });
    f.store(
      "f32",
      out,
      0,
      sums.reduce((a, b) => add(a, b)),
    );
  });
}

export interface Hardware {
  /** Of one thread: f32 operations, a multiplication and an addition counted as two, in units of 10⁹ a second. */
  readonly gflops: number;
  /** Of one thread reading memory that no cache holds, in units of 10⁹ bytes a second. */
  readonly gigabytes: number;
  /** The same of 256 KiB, which are in the core's cache. */
  readonly cachedGigabytes: number;
}

/** Measures one thread: best of several rounds, about a quarter of a second. */
export function measureHardware(simd: "simd128" | "relaxed"): Hardware {
  const pages = (streams * streamBytes) / 65536 + 1;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { bytes } = emitModule({
    functions: [peakLoop(), readLoop()],
    exports: ["peak", "read"],
    memory: { shared: false, initialPages: pages, maximumPages: pages },
    variant: { simd, threads: false },
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory } });
  const { peak, read } = exports as { readonly [name: string]: (...args: number[]) => void };
  // Pages that were never written are one page of zeros.
  new Uint8Array(memory.buffer).fill(1, 65536);
  const best = (rounds: number, run: () => void): number => {
    let least = Infinity;
    for (let i = 0; i < rounds; i++) {
      const start = performance.now();
      run();
      least = Math.min(least, performance.now() - start);
    }
    return least;
  };
  const rounds = 20_000;
  const computing = best(60, () => peak!(rounds, 0));
  const cached = best(2000, () => read!(cachedBytes / 4, 65536, 0));
  const reading = best(6, () => read!(streamBytes / 4, 65536, 0));
  return {
    gflops: (rounds * peakOperations) / computing / 1e6,
    gigabytes: (streams * streamBytes) / reading / 1e6,
    cachedGigabytes: (streams * cachedBytes) / cached / 1e6,
  };
}
