/** Words of Philox 4×32-10 for the host: few in JavaScript, many by a function that is compiled when it is first needed. */

import { buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { philoxInto } from "../../ir/ops/random.js";
import { philoxBlock } from "../kernels/philox.js";
import { emitModule } from "../wasm/emit.js";

export type Key = readonly [number, number];

/** The most blocks of four words that are made at once: a page of memory. */
export const mostBlocks = 4096;
/** From here on a call of the compiled function takes less time. */
const manyBlocks = 64;

/** Writes `count` blocks from `first` on, a u64, into `to`. */
function blocksLoop() {
  const params = [
    { name: "first", type: "i64" },
    { name: "count", type: "i32" },
    { name: "k0", type: "i32" },
    { name: "k1", type: "i32" },
    B.pointer("to", "u32"),
  ] as const;
  return buildFunction("blocks", params, undefined, (b, [first, count, k0, k1, to]) => {
    b.for("i", 0, count, 1, (i) => {
      const at = b.let("at", B.add(first, B.convert("i64.from_i32U", i)));
      const counter = [
        B.convert("i32.from_i64", at),
        B.convert("i32.from_i64", B.shrU(at, 32)),
        B.i32(0),
        B.i32(0),
      ] as const;
      const words = philoxBlock(b, counter, [k0, k1]);
      for (const [j, word] of words.entries()) b.store("u32", to, B.mul(i, 4), word, j);
    });
  });
}

interface Compiled {
  readonly words: Uint32Array;
  readonly run: (first: bigint, count: number, k0: number, k1: number, to: number) => void;
}
let compiled: Compiled | undefined;

function compileBlocks(): Compiled {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { bytes } = emitModule({
    functions: [blocksLoop()],
    exports: ["blocks"],
    memory: { shared: false, initialPages: 1, maximumPages: 1 },
    variant: { simd: "simd128", threads: false },
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory } });
  return { words: new Uint32Array(memory.buffer), run: exports.blocks as Compiled["run"] };
}

/** Fills `words` with the blocks from `first` on. @param words four for each of at most `mostBlocks` blocks */
export function philoxWords(words: Uint32Array, first: number, key: Key): void {
  const count = words.length / 4;
  if (count < manyBlocks) {
    for (let i = 0; i < count; i++) {
      const block = first + i;
      philoxInto(words.subarray(4 * i, 4 * i + 4), [block >>> 0, Math.floor(block / 2 ** 32), 0, 0], key);
    }
    return;
  }
  compiled ??= compileBlocks();
  compiled.run(BigInt(first), count, key[0] | 0, key[1] | 0, 0);
  words.set(compiled.words.subarray(0, words.length));
}
