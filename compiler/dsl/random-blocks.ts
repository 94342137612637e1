/** Many random numbers for the host: whole blocks of Philox, by functions that are compiled when they are first needed. */

import type { Elem } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { normalPairs, unitLanes } from "../kernels/box-muller.js";
import { philoxBlock } from "../kernels/philox.js";
import { emitModule } from "../wasm/emit.js";

export type Key = readonly [number, number];
export type Distribution = "uniform" | "normal";

/** From here on a call takes less time than single numbers. */
export const fewestBlocks = 64;
/** Made at once: a page of doubles. */
export const mostBlocks = 4096;

/** Writes two numbers, times `scale` plus `shift`, of each of `count` blocks from `first` on, a u64; up to 3 blocks more. */
function blocksLoop(distribution: Distribution, elem: Elem) {
  const params = [
    { name: "first", type: "i64" },
    { name: "count", type: "i32" },
    { name: "k0", type: "i32" },
    { name: "k1", type: "i32" },
    { name: "shift", type: "f64" },
    { name: "scale", type: "f64" },
    B.pointer("to", elem),
  ] as const;
  return buildFunction(distribution, params, undefined, (b, [first, count, k0, k1, shift, scale, to]) => {
    const key = [b.let("key0", B.splat("i32x4", k0)), b.let("key1", B.splat("i32x4", k1))] as const;
    const [shifts, scales] = [b.let("shifts", B.splat("f64x2", shift)), b.let("scales", B.splat("f64x2", scale))];
    b.for("i", 0, count, 4, (i) => {
      const at = b.let("at", B.add(first, B.convert("i64.from_i32U", i)));
      const least = b.let("least", B.splat("i32x4", B.convert("i32.from_i64", at)));
      const low = b.let("low", B.add(least, B.constVector("i32x4", [0, 1, 2, 3])));
      const carry = B.convert("i32.from_mask", B.ltU(low, least));
      const high = B.add(B.splat("i32x4", B.convert("i32.from_i64", B.shrU(at, 32))), carry);
      const none = B.constant("i32x4", 0);
      const [w0, w1, w2, w3] = philoxBlock(b, [low, high, none, none], key);
      for (const half of [0, 1] as const) {
        const units = [unitLanes(b, w0, w1, half), unitLanes(b, w2, w3, half)] as const;
        const [x, y] = (distribution === "normal" ? normalPairs(b, ...units) : units).map((u) =>
          b.let("number", B.add(B.mul(u, scales), shifts)),
        );
        for (const lane of [0, 1])
          b.store(elem, to, B.mul(i, 2), B.shuffle(x!, y!, [lane, lane + 2]), 2 * (2 * half + lane));
      }
    });
  });
}

interface Compiled {
  readonly memory: ArrayBuffer;
  readonly run: (
    first: bigint,
    count: number,
    k0: number,
    k1: number,
    shift: number,
    scale: number,
    to: number,
  ) => void;
}
const compiled = new Map<string, Compiled>();

function compiledFor(distribution: Distribution, elem: "f32" | "f64"): Compiled {
  const name = `${distribution} ${elem}`;
  const known = compiled.get(name);
  if (known) return known;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { bytes } = emitModule({
    functions: [blocksLoop(distribution, elem)],
    exports: [distribution],
    memory: { shared: false, initialPages: 1, maximumPages: 1 },
    variant: { simd: "simd128", threads: false },
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory } });
  const made = { memory: memory.buffer, run: exports[distribution] as Compiled["run"] };
  compiled.set(name, made);
  return made;
}

/** Fills `values` with numbers, times `scale` plus `shift`, of blocks from `first` on, two of each. */
export function fillBlocks(
  values: Float32Array | Float64Array,
  distribution: Distribution,
  of: { readonly key: Key; readonly first: number; readonly shift: number; readonly scale: number },
): void {
  const single = values instanceof Float32Array;
  const { memory, run } = compiledFor(distribution, single ? "f32" : "f64");
  const made = single ? new Float32Array(memory) : new Float64Array(memory);
  for (let i = 0; i < values.length; i += 2 * mostBlocks) {
    const numbers = Math.min(2 * mostBlocks, values.length - i);
    run(BigInt(of.first + i / 2), numbers / 2, of.key[0] | 0, of.key[1] | 0, of.shift, of.scale, 0);
    values.set(made.subarray(0, numbers), i);
  }
}
