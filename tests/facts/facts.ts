/**
 * Facts about what was compiled that no clock is needed for: how much code, memory and weights there are, which kernels run, and whether
 * anything is computed in every run that was known before.
 */

import type { Artifact } from "../../compiler/compile.js";
import { usesOf } from "../../compiler/plan/liveness.js";
import { type Arg, type Buffer, forEachStep, innerSteps, type Schedule, type Step } from "../../compiler/schedule.js";
import { type Dim, dimSymbols, evaluateDim } from "../../ir/dim.js";

export interface Facts {
  /** Functions of the module. */
  readonly functions: number;
  /** Kernels and copies that a run calls, those in loops and branches once. */
  readonly steps: number;
  /** The same by families of kernels. */
  readonly families: Readonly<Record<string, number>>;
  readonly arenaBytes: number;
  /** Of the baseline module. */
  readonly codeBytes: number;
  readonly weightsBytes: number;
  /** Of the ONNX file. */
  readonly onnxBytes: number;
  /** What is made of weights by the first run, and kept. */
  readonly preparedBytes: number;
  /** Elements that each run computes of constants alone. */
  readonly recomputed: number;
}

/** What families of kernels are called after; other kernels are made of the ops of a graph. */
const words =
  /^(\w*?_)?(gemm|gemv|conv|depthwise|winograd|attention|max_pool|pool|pack_panels|pack_pairs|pack|pad|transpose|gather|scatter|dot)(?=_|$)/;

/** `i16pair_gemm_rows_packed_…` → `i16pair_gemm`: the type of its products and what they are. */
export function familyOf(step: Step): string {
  return step.kind === "kernel" ? (words.exec(step.fn.name)?.[0] ?? "other") : step.kind;
}

function calls(steps: readonly Step[], visit: (step: Step) => void): void {
  for (const step of steps) {
    // What is done once is no part of a run.
    if (step.kind === "once") continue;
    if (step.kind === "kernel" || step.kind === "copy") visit(step);
    for (const inner of innerSteps(step)) calls(inner, visit);
  }
}

const isStatic = (d: Dim): d is number => typeof d === "number";
const dependsOnSizes = (arg: Arg): boolean =>
  arg.kind === "sizeSlot" || arg.kind === "limitSlot" || (arg.kind === "dim" && !isStatic(arg.value));

/** Elements of all buffers that steps outside of once steps fill with what depends on neither inputs, state nor sizes. */
function recomputedIn(schedule: Schedule): number {
  const varying = new Set<Buffer>();
  const written = new Map<Buffer, number>();
  const isConstant = (b: Buffer) =>
    (b.source.kind === "weight" || b.source.kind === "prepared" || b.source.kind === "temp") && !varying.has(b);
  const all: Step[] = [];
  forEachStep(schedule.steps, (s) => all.push(s));
  const once = new Set<Step>();
  forEachStep(schedule.steps, (s) => {
    if (s.kind === "once") forEachStep(s.body, (inner) => once.add(inner));
  });
  // A loop's rounds may read what a later step of it wrote: until nothing changes.
  for (let before = -1; before !== varying.size; ) {
    before = varying.size;
    for (const step of all) {
      if (step.kind !== "kernel" && step.kind !== "copy") continue;
      const uses = usesOf(step);
      const varies =
        uses.some(({ view, access }) => access !== "write" && !isConstant(view.buffer)) ||
        (step.kind === "kernel" ? step.args.some(dependsOnSizes) : !isStatic(step.count));
      if (varies) for (const { view, access } of uses) if (access !== "read") varying.add(view.buffer);
    }
  }
  for (const step of all) {
    if (once.has(step) || (step.kind !== "kernel" && step.kind !== "copy")) continue;
    for (const { view, access } of usesOf(step)) {
      const { buffer } = view;
      if (access === "read" || !isConstant(buffer) || !buffer.shape.every(isStatic)) continue;
      written.set(
        buffer,
        (buffer.shape as number[]).reduce((n, d) => n * d, 1),
      );
    }
  }
  return [...written.values()].reduce((a, b) => a + b, 0);
}

/**
 * @param onnx the file that was compiled
 * @param sizes of named dims, which the arena hangs on; others count as 1
 */
export function factsOf(artifact: Artifact, onnx: Uint8Array, sizes: ReadonlyMap<string, number> = new Map()): Facts {
  const { assembled, manifest } = artifact;
  const families = new Map<string, number>();
  let steps = 0;
  let arenaBytes = 0;
  let recomputed = 0;
  for (const { schedule, arena } of assembled.plans) {
    calls(schedule.steps, (step) => {
      const family = familyOf(step);
      families.set(family, (families.get(family) ?? 0) + 1);
      steps++;
    });
    const known = [...dimSymbols(arena.bytes).keys()].map((name) => [name, sizes.get(name) ?? 1] as const);
    arenaBytes = Math.max(arenaBytes, evaluateDim(arena.bytes, new Map(known)));
    recomputed += recomputedIn(schedule);
  }
  const { arenaOffset, preparedOffset, weightsBytes } = manifest.memory;
  return {
    functions: assembled.functions.length,
    steps,
    families: Object.fromEntries([...families].sort(([a], [b]) => (a < b ? -1 : 1))),
    arenaBytes,
    codeBytes: Object.values(artifact.wasm)[0]!.byteLength,
    weightsBytes,
    onnxBytes: onnx.length,
    preparedBytes: arenaOffset - preparedOffset,
    recomputed,
  };
}
