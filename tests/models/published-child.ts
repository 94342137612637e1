/**
 * Builds, compiles, loads and runs a network at its published size in a process of its own, and prints what it took as JSON:
 * `published-child FILE NAME`. Then draws its weights from a seed. It runs bundled, with the built package as "wasmith": what runs
 * TypeScript takes a gigabyte to read the compiler.
 */

import { compile, toGraph } from "wasmith";
import { type Feed, load } from "wasmith/runtime";
import { peakMemory } from "../../bench/peak-memory.mjs";
import { zeros } from "../../ir/tensor.js";
import type { Published } from "./published.js";

const [file, name] = process.argv.slice(2) as [string, string];
const { default: rows } = (await import(`./published/${file}.ts`)) as { readonly default: readonly Published[] };
const { build, input, dtype = "f32" } = rows.find((row) => row.name === name)!;

/** CPU time of all threads of the process, which a busy machine does not inflate. */
async function seconds<T>(run: () => T | Promise<T>): Promise<[T, number]> {
  const before = process.cpuUsage();
  const result = await run();
  const { user, system } = process.cpuUsage(before);
  return [result, (user + system) / 1e6];
}

const net = build();
// As if they came from a file: other numbers in each tensor, which take no time to make.
for (const [i, v] of [...net.variables().values()].entries()) {
  v.value = zeros(v.dtype, v.shape);
  (v.value.data as Float32Array).fill(1e-3 * (i + 1));
}
const [graph, trace] = await seconds(() => toGraph(net, { inputs: { x: { dtype, shape: ["batch", ...input] } } }));
const [artifact, compiling] = await seconds(() => compile(graph, { variants: ["simd128"] }));
const peakBytes = peakMemory();
const [session, loading] = await seconds(() => load(artifact, { threads: 1 }));
const [outputs, run] = await seconds(() => session.run({ x: zeros(dtype, [1, ...input]) as Feed }));
session.dispose();
const [, initialize] = await seconds(() => net.initialize(1));
console.log(
  JSON.stringify({
    shapes: Object.values(outputs).map((output) => (typeof output === "number" ? [] : output.shape)),
    initialize,
    build: trace,
    compile: compiling,
    load: loading,
    run,
    peakBytes,
  }),
);
process.exit(0);
