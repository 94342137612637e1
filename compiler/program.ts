/**
 * What `compile` takes: one or more graphs that share state. An inference model is a program with the one entry `main` and no
 * state; a training program has `step`, `evaluate` and `predict`.
 */

import type { Graph } from "../ir/graph.js";
import type { Tensor } from "../ir/tensor.js";
import type { FitInfo, Specialization, StateRole, TrainingInfo } from "../runtime/format.js";

/** A tensor that outlives runs: a parameter, a running statistic, a moment of the optimiser … */
export interface ProgramState {
  /** As in PyTorch's `state_dict` for parameters and buffers. */
  readonly name: string;
  readonly role: StateRole;
  /** Its first value. */
  readonly tensor: Tensor;
  /** Draws the first value with a seed that is added to its own. Undefined where it is not random: it was loaded, or is given. */
  readonly draw?: (seed: number) => Tensor;
}

export interface Program {
  /**
   * Graphs by entry name. A parameter that bears the name of a state is that state, and a size that bears the name of a state, an i64 without
   * axes, is what this holds before the run; the other parameters are inputs. A result that is
   * donated to a state's parameter is its next value; the others are outputs.
   */
  readonly entries: Readonly<Record<string, Graph>>;
  readonly state: readonly ProgramState[];
  readonly training?: TrainingInfo;
  /** Where the weights came from, for people. */
  readonly sources?: readonly string[];
  /** What feeds decided of it (compileFor). */
  readonly specialization?: Omit<Specialization, "relations">;
}

/** The program with other random first values: initial weights that were not loaded, and the key of random numbers that runs draw. */
export const seeded = <P extends Program>(program: P, seed: number): P => ({
  ...program,
  state: program.state.map((s) => (s.draw ? { ...s, tensor: s.draw(seed) } : s)),
});

/** Names of the state that changes by training, and not in every run (counters) or whenever someone likes (rates). */
export const weightStates = ({ state }: Program): ReadonlySet<string> =>
  new Set(state.flatMap((s) => (s.role === "param" || s.role === "buffer" ? [s.name] : [])));

/** The result of a training step that is 0 where all gradients are finite, else NaN. It is no output for callers. */
export const gradientGuard = "finite.gradients";

/** A program that trains on data sets; what `compile` makes of it loads as a training session. */
export interface TrainingProgram extends Program {
  readonly training: TrainingInfo & { readonly fit: FitInfo };
}

/** A program whose entries TypeScript knows. */
export interface TypedProgram<T> extends Program {
  /** Never there: it carries the type, `EntryTypes` of runtime/load.ts. */
  readonly "~entries": T;
}

/** The ONNX file of what a program trains, but for its weights. */
export interface OnnxTemplate {
  readonly bytes: Uint8Array;
  /** Names of the states that become initializers. */
  readonly states: readonly string[];
}
