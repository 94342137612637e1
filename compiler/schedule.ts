/**
 * What lowering makes of a graph: buffers, and a schedule of steps over them. No addresses yet; `plan.ts` finds those.
 *
 * A step reads and writes whole buffers through kernels (Loop IR functions). Everything a kernel needs comes in as an i32 (or
 * float) argument: pointers, sizes, chunk ranges; so kernels are shared by all layers whose code is the same.
 */

import type { Dim, DimSymbol } from "../ir/dim.js";
import type { DType } from "../ir/dtype.js";
import type { Shape } from "../ir/graph.js";
import type { LoopFunction } from "../ir/loop.js";
import type { Tensor } from "../ir/tensor.js";

/**
 * A constant computed from another whenever its elements are asked for: packed forms of all weights at once would take as much memory
 * as the weights.
 */
export interface Derived {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly from: Tensor;
  /** Equal for what computes the same from equal tensors. */
  readonly how: string;
  /** Computes the elements into a tensor of zeros. */
  fill(out: Tensor): void;
}

/** Where a buffer's memory comes from. */
export type BufferSource =
  /** Written by the runtime before a run. */
  | { readonly kind: "input"; readonly name: string }
  /** Lives in the weights region; filled at load. Read-only. */
  | { readonly kind: "weight"; readonly value: Tensor | Derived }
  /** Lives in the state region across runs (parameters, optimiser state). */
  | {
      readonly kind: "state";
      readonly name: string;
      /** A cache: what is written into it means nothing until a counter says so. */
      readonly isCache?: true;
    }
  /** Lives in the prepared region: made of weights and state by once steps, and kept for later runs. Entries share those of one index. */
  | { readonly kind: "prepared"; readonly index: number }
  /** Lives in the arena while it is needed. Outputs are temporaries that stay to the end. */
  | { readonly kind: "temp" };

/** A dense row-major block of elements. */
export interface Buffer {
  readonly id: number;
  readonly dtype: DType;
  /** Sizes that data decide stand as their symbols. */
  readonly shape: Shape;
  readonly source: BufferSource;
}

/** A buffer, or a part of it that starts `offset` elements in. Reshapes and leading slices are views. */
export interface View {
  readonly buffer: Buffer;
  readonly offset: Dim;
}

export type Access = "read" | "write" | "readWrite";

/** What a run may break, known only from its data. */
export interface Limit {
  /** Names the slot. */
  readonly symbol: string;
  /** The user's own name of the place. */
  readonly where: string;
  readonly message: string;
  readonly hint: string;
}

/**
 * What must hold for sizes: of those that inputs give, or the plan is refused; of those that the run finds, or it ends at the
 * step that checks it.
 */
export interface Requirement {
  readonly value: Dim;
  readonly must: "be zero" | "not be negative";
  readonly limit: Limit;
}

export type Arg =
  /** Byte address of the view. */
  | { readonly kind: "view"; readonly view: View; readonly access: Access }
  /** A size or index as i32. */
  | { readonly kind: "dim"; readonly value: Dim }
  /** A float known at compile time. */
  | { readonly kind: "f32"; readonly value: number }
  /** Address of memory that is only used inside this call. `perThread`: each thread gets its own. */
  | { readonly kind: "scratch"; readonly bytes: Dim; readonly perThread: boolean }
  /** Address of the i32 table slot of a data-dependent dim; the kernel stores the size it found there. */
  | { readonly kind: "sizeSlot"; readonly symbol: string }
  /** Address of an i32 table slot where the kernel stores 1 if what it found is outside what was planned for. */
  | { readonly kind: "limitSlot"; readonly limit: Limit };

/** The register that an argument is passed in. */
export function typeOfArg({ kind }: Arg): "i32" | "f32" | "ptr" {
  if (kind === "dim") return "i32";
  return kind === "f32" ? "f32" : "ptr";
}

/**
 * A call of a kernel. With `chunks`, the first two parameters of `fn` are `begin` and `end` of a range of chunks; ranges are
 * given to threads, and the result must not depend on how. Without, one thread makes the call. `args` are the other parameters.
 */
export interface KernelStep {
  readonly kind: "kernel";
  readonly fn: LoopFunction;
  /** Functions that `fn` calls, themselves included transitively. */
  readonly helpers: readonly LoopFunction[];
  readonly args: readonly Arg[];
  readonly chunks?: Dim;
  /**
   * Pairs [written argument, read argument] (indices into `args`) that may share memory: the kernel reads each element of
   * the second only before it writes the element of the first at the same byte.
   */
  readonly inPlace: readonly (readonly [number, number])[];
  /** What the tuner calls the nodes of which this computes a part (lower/core/tuner.ts), where there is one. */
  readonly chosenFor?: string;
  /** The user's own name of what this computes. */
  readonly loc: string | undefined;
}

/** Copies neighbouring elements between buffers of one dtype. */
export interface CopyStep {
  readonly kind: "copy";
  /** Number of elements. */
  readonly count: Dim;
  readonly from: View;
  readonly to: View;
  readonly loc: string | undefined;
}

/** Runs `then` where the bool scalar is true, else `else`. */
export interface IfStep {
  readonly kind: "if";
  readonly condition: View;
  readonly then: readonly Step[];
  readonly else: readonly Step[];
  readonly loc: string | undefined;
}

/**
 * Runs `body` once for each value of the loop's symbol from 0 (or down to 0). Views and sizes in the body may use the symbol:
 * a step of a scan reads its row where it lies.
 */
export interface ForStep {
  readonly kind: "for";
  /** Name of the dim symbol; unique in the schedule. */
  readonly symbol: string;
  /** Number of rounds: a size, or an i64 scalar in memory that is read before the first. */
  readonly count: Dim | View;
  readonly reverse: boolean;
  /** A bool scalar that is read before each round: the loop ends where it is false. */
  readonly condition: View | undefined;
  readonly body: readonly Step[];
  /** Buffers that the rounds fill, each a part: what they held before is never read. */
  readonly fills: readonly Buffer[];
  readonly loc: string | undefined;
}

/** Ends the run where a requirement does not hold for the sizes at hand: the steps that rely on it never run. */
export interface CheckStep {
  readonly kind: "check";
  readonly requirements: readonly Requirement[];
  readonly loc: string | undefined;
}

/**
 * Runs `body` where the bool `done` is false, and sets it: what is made of weights, and of state that the entry leaves alone, is made
 * by the first run that needs it. Whatever changes that state clears `done`. Stands before all other steps.
 */
export interface OnceStep {
  readonly kind: "once";
  readonly done: View;
  readonly body: readonly Step[];
  readonly loc: string | undefined;
}

export type Step = KernelStep | CopyStep | IfStep | ForStep | CheckStep | OnceStep;

export const isView = (d: Dim | View): d is View => typeof d !== "number" && "buffer" in d;

/** The lists of steps inside a step. */
export function innerSteps(step: Step): readonly (readonly Step[])[] {
  switch (step.kind) {
    case "kernel":
    case "copy":
    case "check":
      return [];
    case "if":
      return [step.then, step.else];
    case "for":
    case "once":
      return [step.body];
  }
}

/** Calls `visit` with each step and those inside it. */
export function forEachStep(steps: readonly Step[], visit: (step: Step) => void): void {
  for (const s of steps) {
    visit(s);
    for (const inner of innerSteps(s)) forEachStep(inner, visit);
  }
}

/** What the steps may break. */
export function limitsIn(steps: readonly Step[]): readonly Limit[] {
  const found: Limit[] = [];
  forEachStep(steps, (step) => {
    for (const a of step.kind === "kernel" ? step.args : []) if (a.kind === "limitSlot") found.push(a.limit);
    for (const r of step.kind === "check" ? step.requirements : []) found.push(r.limit);
  });
  return found;
}

export interface ScheduledInput {
  readonly name: string;
  readonly view: View;
  readonly dtype: DType;
  readonly shape: Shape;
}

/** One entry of the artefact, lowered. */
export interface Schedule {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly inputs: readonly ScheduledInput[];
  readonly outputs: readonly ScheduledInput[];
  /** Checked before a run. */
  readonly requirements: readonly Requirement[];
  /**
   * State that must hold a new value after the run: the state buffer and the view that holds the value. Lowering lets
   * kernels write the state buffer directly where it can, else it appends a copy step; so this is empty of work and only
   * tells the verifier what was meant.
   */
  readonly stateResults: readonly { readonly state: Buffer; readonly value: View }[];
  /** Sizes that a state holds, an i64 that is read before a run. */
  readonly counted: readonly { readonly symbol: DimSymbol; readonly state: Buffer }[];
}
