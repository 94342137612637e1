import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import { canBlockExport } from "../../compiler/wasm/barrier.js";
import { emitModule } from "../../compiler/wasm/emit.js";
import { buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { wordArrived, wordGeneration, wordPoison } from "../../runtime/format.js";

/** Each round, thread `tid` writes round·threads + tid to its slot; after a barrier it adds up all slots. */
const run = buildFunction(
  "run",
  [
    { name: "tid", type: "i32" },
    { name: "threads", type: "i32" },
    { name: "rounds", type: "i32" },
    B.pointer("slots", "i32"),
  ],
  "i32",
  (b, [tid, threads, rounds, slots]) => {
    const wrong = b.mut("wrong", B.i32(0));
    b.for("round", 0, rounds, 1, (round) => {
      b.store("i32", slots, tid, B.add(B.mul(round, threads), tid));
      b.barrier(threads);
      b.for("k", 0, threads, 1, (k) => {
        const ok = B.eq(B.load("i32", "i32", slots, k), B.add(B.mul(round, threads), k));
        b.assign(wrong, B.add(wrong, B.convert("i32.from_mask", B.not(ok))));
      });
      b.barrier(threads);
    });
    b.return(wrong);
  },
);

const script = `
  const { workerData, parentPort } = require("node:worker_threads");
  const { bytes, memory, tid, threads, rounds, canBlock } = workerData;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  exports.${canBlockExport}.value = canBlock;
  try { parentPort.postMessage(exports.run(tid, threads, rounds, 1024)); }
  catch (error) { parentPort.postMessage(String(error)); }
`;

function team(threads: number, present: number, rounds: number, canBlock: (tid: number) => number) {
  const pages = { initialPages: 1, maximumPages: 1 };
  const { bytes } = emitModule({
    functions: [run],
    exports: ["run"],
    memory: { shared: true, ...pages },
    variant: { simd: "simd128", threads: true },
  });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const results = Array.from({ length: present }, (_, tid) => {
    const workerData = { bytes, memory, tid, threads, rounds, canBlock: canBlock(tid) };
    const worker = new Worker(script, { eval: true, workerData });
    return new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  });
  return { memory, results };
}

it.each([
  [2, "that sleep", () => 1],
  [2, "of which one may not sleep", (tid: number) => tid],
  [4, "that sleep", () => 1],
] as const)("holds %i threads together, %s", async (threads, _, canBlock) => {
  const { results } = team(threads, threads, 2000, canBlock);
  expect(await Promise.all(results)).toEqual(Array(threads).fill(0));
});

it("lets waiting threads trap when the team is poisoned", async () => {
  const { memory, results } = team(3, 2, 1, () => 1);
  const words = new Int32Array(memory.buffer);
  while (Atomics.load(words, wordArrived) < 2) await new Promise((done) => setTimeout(done, 5));
  Atomics.store(words, wordPoison, 1);
  Atomics.notify(words, wordGeneration);
  expect(await Promise.all(results)).toEqual(Array(2).fill("RuntimeError: unreachable"));
});
