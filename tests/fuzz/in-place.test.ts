/**
 * What kernels say of the operands that they may write over is true: each kernel of random groups is run with a result in the
 * operand's own memory, and gives what it gives with all memory apart.
 */

import { describe, expect, it } from "vitest";
import { KernelPool } from "../../compiler/lower/core/kernel-builder.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { kernels } from "../../compiler/lower/table.js";
import { bufferBytes } from "../../compiler/plan/liveness.js";
import { type Buffer, forEachStep, type KernelStep } from "../../compiler/schedule.js";
import { inlinableMath, mathFunctions } from "../../compiler/wasm/math.js";
import { dimText, evaluateDim } from "../../ir/dim.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { printGraph } from "../../ir/graph-print.js";
import { interpretLoop } from "../../ir/loop-interpret.js";
import { printLoopFunction } from "../../ir/loop-print.js";
import { fuse } from "../../passes/graph/fuse.js";
import { loopPassesWith, loopPipeline } from "../../passes/loop/pipeline.js";
import { randomTensor, seeded } from "../graph/random.js";
import { growAndCheck } from "./batch.js";
import { fusedWhole, growFusible } from "./fusible.js";
import { fuzzRuns } from "./seed.js";

const count = fuzzRuns("WASMITH_FUZZ_IN_PLACE", 60, 300);
const passes = loopPassesWith(inlinableMath);
/** Bytes of all that a kernel touches: the interpreter is slow. */
const most = 20_000;

type Sizes = ReadonlyMap<string, number>;

/** Bytes of each written view after a run, with the buffer `over[0]` in the memory of `over[1]`. Undefined for large kernels. */
function run(step: KernelStep, sizes: Sizes, over?: readonly [Buffer, Buffer]): readonly Uint8Array[] | undefined {
  const random = seeded(7);
  const addresses = new Map<Buffer, number>();
  let end = 64;
  const reserve = (bytes: number) => {
    const at = end;
    end = Math.ceil((end + bytes) / 64) * 64 + 64;
    return at;
  };
  const views = step.args.flatMap((a) => (a.kind === "view" ? [a] : []));
  const bytesOf = (b: Buffer) => evaluateDim(bufferBytes(b), sizes);
  for (const { view } of views) {
    if (view.buffer !== over?.[0] && !addresses.has(view.buffer))
      addresses.set(view.buffer, reserve(bytesOf(view.buffer)));
  }
  if (over) addresses.set(over[0], addresses.get(over[1])!);
  const args = step.args.map((a) => {
    switch (a.kind) {
      case "view":
        return addresses.get(a.view.buffer)! + evaluateDim(a.view.offset, sizes) * dtypeInfo[a.view.buffer.dtype].bytes;
      case "dim":
        return evaluateDim(a.value, sizes);
      case "f32":
        return a.value;
      case "scratch":
        return reserve(evaluateDim(a.bytes, sizes));
      default:
        throw new Error(`no kernel of groups has a ${a.kind}`);
    }
  });
  if (end > most) return undefined;
  const memory = new Uint8Array(end + 64);
  // What a kernel reads, and before that what it does not: stores must not depend on it.
  for (const { view, access } of views) {
    if (access !== "read") continue;
    const { dtype, shape } = view.buffer;
    const data = randomTensor(
      random,
      dtype,
      shape.map((d) => evaluateDim(d, sizes)),
      [-4, 4],
    ).data;
    memory.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), addresses.get(view.buffer)!);
  }
  const chunks = step.chunks === undefined ? [] : [0, evaluateDim(step.chunks, sizes)];
  const fn = loopPipeline(step.fn, { passes });
  interpretLoop({ functions: [fn, ...step.helpers] }, fn.name, [...chunks, ...args], {
    memory: memory.buffer,
    math: mathFunctions,
    budget: 1e8,
  });
  return views
    .filter(({ access }) => access !== "read")
    .map(({ view }) => memory.slice(addresses.get(view.buffer)!, addresses.get(view.buffer)! + bytesOf(view.buffer)));
}

let tried = 0;

/** What is wrong with the pairs of a kernel, if anything. */
function wrongPair(step: KernelStep, sizes: Sizes): string | undefined {
  for (const [w, r] of step.inPlace) {
    const [to, from] = [step.args[w], step.args[r]];
    if (to?.kind !== "view" || from?.kind !== "view") return `argument ${w} or ${r} is no view`;
    if (to.view.offset !== 0 || from.view.offset !== 0) continue;
    const [written, read] = [to.view.buffer, from.view.buffer];
    if (dimText(bufferBytes(written)) !== dimText(bufferBytes(read))) continue;
    // The planner asks for every use of the operand.
    const others = step.args.some((a, i) => a.kind === "view" && a.view.buffer === read && i !== r);
    if (others) continue;
    const apart = run(step, sizes);
    const shared = run(step, sizes, [written, read]);
    if (apart === undefined || shared === undefined) continue;
    tried++;
    const differing = apart.findIndex((bytes, i) => bytes.some((x, k) => x !== shared[i]![k]));
    if (differing >= 0)
      return `result ${differing} differs where argument ${w} lies over ${r}\n${printLoopFunction(step.fn)}`;
  }
  return undefined;
}

describe.each([false, true])("kernels in place, symbolic %s", (symbolic) => {
  it.each([
    ["fused", fuse(kernels).run],
    ["as one fusion", fusedWhole],
  ] as const)("%s", { timeout: 900_000 }, async (name, prepare) => {
    tried = 0;
    await growAndCheck({
      name: `in place, ${name}`,
      count,
      batch: 10,
      steps: 10,
      grow: (seed, steps) => growFusible(seed, steps, { symbolic, writers: false, products: seed % 2 === 0 }),
      check: async (list) =>
        list.map(({ graph }) => {
          const sizes = new Map([
            ["n", 5],
            ["m", 9],
          ]);
          let wrong: string | undefined;
          forEachStep(lowerGraph(prepare(graph), { pool: new KernelPool() }).steps, (step) => {
            if (step.kind === "kernel") wrong ??= wrongPair(step, sizes);
          });
          return wrong;
        }),
      show: ({ graph }) => printGraph(prepare(graph)),
    });
    expect(tried).toBeGreaterThan(count / 4);
  });
});
