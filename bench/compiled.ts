/**
 * Speed of what users call, from the DSL through the compiler and the runtime: `npx tsx bench/compiled.ts`.
 *
 * A 480³ matrix product against the machine's peak (multiply-adds on registers only, measured in the same rounds), and whole
 * training steps of LeNet. Best and median of many rounds, in turn: other processes slow a round down, nothing speeds one up.
 */

import { compile } from "../compiler/compile.js";
import { losses, optim, trainStep } from "../compiler/dsl/index.js";
import { emitModule } from "../compiler/wasm/emit.js";
import { matmul } from "../ir/einsum.js";
import { graph, param } from "../ir/graph.js";
import { constant } from "../ir/ops/constant.js";
import { convNet } from "../models/convnet/model.js";
import { type Feeds, load } from "../runtime/index.js";
import { cases } from "./kernel-cases.js";

interface Row {
  readonly name: string;
  readonly flops: number | null;
  readonly run: () => unknown;
  readonly times: number[];
}

const rows: Row[] = [];
const add = (name: string, flops: number | null, run: () => unknown) => rows.push({ name, flops, run, times: [] });
const noise = (n: number) => Float32Array.from({ length: n }, (_, i) => ((i * 7919) % 1000) / 1000 - 0.5);

// The peak: one call of the register loop.
const peak = cases.find((c) => c.name === "peak")!;
const memory = new WebAssembly.Memory({ initial: 16, maximum: 16 });
const [call] = peak.calls((n) => new Float32Array(memory.buffer, 1024, n));
const { bytes } = emitModule({
  functions: [call!.kernel.fn],
  exports: [call!.kernel.fn.name],
  memory: { shared: false, initialPages: 16, maximumPages: 16 },
  variant: { simd: "simd128", threads: false },
});
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory } });
const peakCall = exports[call!.kernel.fn.name] as (...xs: number[]) => void;
const peakArgs = call!.args.map((a) => (typeof a === "number" ? a : a.byteOffset));
add("peak", peak.flops, () => peakCall(...peakArgs));

// matmul of two inputs, and of an input with a constant that is packed at compile time.
const size = 480;
const square = { dtype: "f32", shape: [size, size] } as const;
const count = size * size;
const [a, b] = [param("a", square), param("b", square)];
const weights = constant([], { value: { ...square, data: noise(count) } });
const products = {
  "two inputs": { graph: graph("matmul", [a, b], [matmul(a, b)]), feeds: { a: noise(count), b: noise(count) } },
  "by a constant": { graph: graph("matmul", [a], [matmul(a, weights)]), feeds: { a: noise(count) } },
};
const profiles: (() => Promise<string>)[] = [];
for (const [what, { graph: g, feeds }] of Object.entries(products)) {
  const session = await load(await compile(g, { variants: ["simd128"] }));
  add(`matmul ${size}³ from the DSL, ${what}`, 2 * size ** 3, () => session.run(feeds as Feeds, { reuse: true }));
  profiles.push(async () => {
    const kernels = await session.profile(feeds as Feeds, { repeat: 200 });
    const percent = (ms: number) => `${((100 * (2 * size ** 3)) / ms / top).toFixed(0)} % of the peak`;
    const each = kernels.map((k) => `${k.kernel} ${k.ms.toFixed(3)} ms`).join(", ");
    return `kernels of matmul, ${what}: ${each}; ${percent(kernels.reduce((sum, k) => sum + k.ms, 0))}`;
  });
}

const program = trainStep(convNet(), {
  inputs: { x: ["batch", 1, 32, 32] },
  targets: { y: { dtype: "i64", shape: ["batch"] } },
  loss: losses.crossEntropy(),
  optimizer: optim.SGD({ lr: 0.001, momentum: 0.9 }),
});
const started = performance.now();
const training = await compile(program, { variants: ["simd128"] });
const compiled = performance.now() - started;
for (const batch of [64, 4]) {
  const session = await load(training);
  const x = { dtype: "f32", shape: [batch, 1, 32, 32], data: noise(batch * 1024) } as const;
  const y = BigInt64Array.from({ length: batch }, (_, i) => BigInt(i % 10));
  add(`LeNet training step, batch ${batch}`, null, () => session.step({ x, y }));
}

for (let round = 0; round < 150; round++) {
  for (const row of rows) {
    const start = performance.now();
    await row.run();
    // The engine's optimising tier arrives within the first rounds.
    if (round >= 30) row.times.push(performance.now() - start);
  }
}
const best = (r: Row) => Math.min(...r.times);
const median = (r: Row) => [...r.times].sort((p, q) => p - q)[r.times.length >> 1]!;
const top = peak.flops / best(rows[0]!);
for (const r of rows) {
  const speed =
    r.flops === null
      ? ""
      : `${(r.flops / best(r) / 1e6).toFixed(1)} GFLOP/s, ${((100 * r.flops) / best(r) / top).toFixed(0)} % of the peak`;
  console.log(`${r.name.padEnd(36)} best ${best(r).toFixed(3)} ms, median ${median(r).toFixed(3)} ms  ${speed}`);
}
for (const profile of profiles) console.log(await profile());
console.log(`LeNet training program compiled in ${compiled.toFixed(0)} ms (one variant, cold process)`);
process.exit(0);
