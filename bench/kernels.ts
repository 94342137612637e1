/**
 * Speed of the contraction kernels: `npx tsx bench/kernels.ts [filter] [--relaxed] [--passes] [--rounds=N]`
 * (`--passes` runs the loop passes over the kernels first).
 *
 * Every row is measured in rounds, all rows in turn, by processor time, and the best round counts: other processes of the machine
 * slow a round down, nothing speeds one up. The peak is a loop of multiply-adds on registers only, measured in the same rounds.
 * In Node 20 relaxed SIMD needs `node --experimental-wasm-relaxed-simd --import tsx bench/kernels.ts --relaxed`.
 */

import { emitModule } from "../compiler/wasm/emit.js";
import type { LoopFunction } from "../ir/loop.js";
import { loopPipeline } from "../passes/loop/pipeline.js";
import { integerCases } from "./integer-cases.js";
import { type Case, cases } from "./kernel-cases.js";
import { movingCases } from "./moving-cases.js";

const args = process.argv.slice(2);
const filter = args.find((a) => !a.startsWith("--")) ?? "";
const simd = args.includes("--relaxed") ? "relaxed" : "simd128";
const optimise = args.includes("--passes");
const rounds = Number(args.find((a) => a.startsWith("--rounds="))?.slice(9) ?? 40);

const pages = 4096;

interface Row {
  readonly case: Case;
  readonly run: () => void;
  readonly repeats: number;
  best: number;
}

function prepare(c: Case): Row {
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  let top = 1024;
  const alloc = (length: number): Float32Array => {
    const view = new Float32Array(memory.buffer, top, length);
    top = Math.ceil((top + length * 4) / 64) * 64;
    for (let i = 0; i < length; i++) view[i] = ((i * 7919) % 1000) / 1000 - 0.5;
    return view;
  };
  const calls = c.calls(alloc);
  const functions = new Map<string, LoopFunction>();
  for (const { kernel } of calls) for (const f of [...kernel.helpers, kernel.fn]) functions.set(f.name, f);
  const { bytes } = emitModule({
    functions: [...functions.values()].map((f) => (optimise ? loopPipeline(f) : f)),
    exports: calls.map(({ kernel }) => kernel.fn.name).filter((n, i, all) => all.indexOf(n) === i),
    memory: { shared: false, initialPages: pages, maximumPages: pages },
    variant: { simd, threads: false },
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory } });
  const bound = calls.map(({ kernel, args }) => {
    const fn = exports[kernel.fn.name] as (...xs: number[]) => void;
    const values = args.map((a) => (typeof a === "number" ? a : a.byteOffset));
    return () => fn(...values);
  });
  const run = () => {
    for (const call of bound) call();
  };
  // A millisecond or two a round: shorter than the scheduler's slices.
  return {
    case: c,
    run,
    repeats: Math.max(1, Math.round(6e7 / Math.max(c.flops, 1e5))),
    best: Number.POSITIVE_INFINITY,
  };
}

/** Processor milliseconds of this process. */
const now = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

const time = (row: Row): void => {
  const start = now();
  for (let i = 0; i < row.repeats; i++) row.run();
  row.best = Math.min(row.best, (now() - start) / row.repeats);
};

const chosen = [...cases, ...integerCases, ...movingCases].filter((c) => c.name === "peak" || c.name.includes(filter));
const rows = chosen.map(prepare);
// Until the optimising tier has arrived.
for (const row of rows) {
  const until = performance.now() + 150;
  while (performance.now() < until) row.run();
}
await new Promise((resolve) => setTimeout(resolve, 500));
for (let i = 0; i < rounds; i++) for (const row of rows) time(row);

const gflops = (row: Row): number => row.case.flops / row.best / 1e6;
const peak = gflops(rows.find((r) => r.case.name === "peak")!);
console.log(`${"case".padEnd(44)} ${"ms".padStart(9)} ${"GFLOP/s".padStart(8)} of peak   (${simd}, best of ${rounds})`);
for (const row of rows)
  console.log(
    `${row.case.name.padEnd(44)} ${row.best.toFixed(4).padStart(9)} ${gflops(row).toFixed(1).padStart(8)} ${`${((100 * gflops(row)) / peak).toFixed(0)} %`.padStart(7)}`,
  );
const sums = new Map<string, number>();
for (const row of rows)
  if (row.case.group !== undefined) sums.set(row.case.group, (sums.get(row.case.group) ?? 0) + row.best);
for (const [group, ms] of sums) console.log(`sum of ${group}: ${ms.toFixed(3)} ms`);
