/** What the steps of a schedule have to do: operations, bytes that must be read and written, and into how many chunks they are cut. */

import { type Dim, type DimEnv, dimSubstitute } from "../../ir/dim.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { operationsOf, type WorkOptions } from "../../ir/loop-work.js";
import { type Arg, type Buffer, innerSteps, isView, type Step } from "../schedule.js";
import { mathFunctions } from "../wasm/math.js";

export interface StepWork {
  /** Operations on floats, and products of integers (`ir/loop-work.ts` says which count). */
  readonly operations: number;
  /** Of the buffers that the step reads and writes, each once: what must come through memory, if nothing of it is in a cache. */
  readonly bytes: number;
  /** By how much so many threads can make the step faster, as its chunks are cut: at most their number. */
  speedup(threads: number): number;
}

const options: WorkOptions = { math: mathFunctions };

/** Thrown where a size is decided by data. */
class UnknownSize extends Error {}

function sizeAt(d: Dim, dims: DimEnv): number {
  const value = dimSubstitute(d, (s) => dims.get(s.name));
  if (typeof value !== "number") throw new UnknownSize();
  return value;
}

/** Undefined where a size is decided by data. @param dims values of the entry's dims */
export function workOf(step: Step, dims: DimEnv): StepWork | undefined {
  try {
    const { operations, chunks } = work(step, dims);
    return {
      operations,
      bytes: bytesOf(step, dims),
      speedup(threads) {
        // As many operations as there are, and a few for steps that only move data.
        const cost = chunks.map((c) => c.operations + 1);
        const alone = cost.reduce((a, b) => a + b, 0);
        const together = chunks.reduce((sum, c, i) => sum + (cost[i]! * Math.ceil(c.count / threads)) / c.count, 0);
        return alone / together;
      },
    };
  } catch (error) {
    if (error instanceof UnknownSize) return undefined;
    throw error;
  }
}

interface Counted {
  readonly operations: number;
  /** Of each call of a kernel. */
  readonly chunks: readonly { readonly operations: number; readonly count: number }[];
}

function work(step: Step, dims: DimEnv): Counted {
  const size = (d: Dim): number => sizeAt(d, dims);
  switch (step.kind) {
    case "kernel": {
      const count = step.chunks === undefined ? 1 : Math.max(1, size(step.chunks));
      const range = step.chunks === undefined ? [] : [0, size(step.chunks)];
      const operations = operationsOf(
        step.fn,
        step.helpers,
        [...range, ...step.args.map((a) => argument(a, size))],
        options,
      );
      return { operations, chunks: [{ operations, count }] };
    }
    case "copy":
    case "check":
      return { operations: 0, chunks: [{ operations: 0, count: 1 }] };
    case "for": {
      // As the round in the middle; a number of rounds that data decide is taken for one.
      const rounds = isView(step.count) ? 1 : size(step.count);
      const inside = new Map([...dims, [step.symbol, rounds >> 1]]);
      const all = step.body.map((s) => work(s, inside));
      return {
        operations: rounds * sum(all.map((w) => w.operations)),
        chunks: all.flatMap((w) => w.chunks.map((c) => ({ ...c, operations: c.operations * rounds }))),
      };
    }
    case "if": {
      const [then, other] = [step.then, step.else].map((steps) => {
        const all = steps.map((s) => work(s, dims));
        return { operations: sum(all.map((w) => w.operations)), chunks: all.flatMap((w) => w.chunks) };
      });
      return then!.operations >= other!.operations ? then! : other!;
    }
    case "once":
      // Made by an earlier run.
      return { operations: 0, chunks: [{ operations: 0, count: 1 }] };
  }
}

const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);

function argument(arg: Arg, size: (d: Dim) => number): number | undefined {
  if (arg.kind === "dim") return size(arg.value);
  return arg.kind === "f32" ? arg.value : undefined;
}

function bytesOf(step: Step, dims: DimEnv): number {
  if (step.kind === "once") return 0;
  const buffers = new Set<Buffer>();
  const visit = (s: Step): void => {
    if (s.kind === "kernel") for (const a of s.args) if (a.kind === "view") buffers.add(a.view.buffer);
    if (s.kind === "copy") for (const v of [s.from, s.to]) buffers.add(v.buffer);
    for (const steps of innerSteps(s)) for (const inner of steps) visit(inner);
  };
  visit(step);
  return sum(
    [...buffers].map(({ dtype, shape }) => shape.reduce<number>((n, d) => n * sizeAt(d, dims), dtypeInfo[dtype].bytes)),
  );
}
