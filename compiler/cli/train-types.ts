/** What a module exports that `wasmith train` trains: `models/` has many. */

import type { Dataset, FitOptions, History, Session, SessionWith, TrainingSession } from "../../runtime/index.js";
import type { Program, TrainingProgram, TypedProgram } from "../program.js";

/** The session of a program, with a method for each of its entries. */
export type SessionOf<P> =
  P extends TypedProgram<infer T> ? SessionWith<T> : P extends TrainingProgram ? TrainingSession : Session;

/** What a loop of the module's own (`train`) gets beside the session. */
export interface TrainRun {
  /** Rounds to go: `--epochs`, or what the module's `fit` says, or 1. */
  readonly epochs: number;
  /** `--seed`, or 0. */
  readonly seed: number;
  /** Aborted when the user interrupts. */
  readonly signal: AbortSignal;
  /**
   * Ends a round: its figures are printed and become points of the curves, and the checkpoint is written.
   * @throws ModelError when the user has interrupted
   */
  report(figures: Readonly<Record<string, number>>): Promise<void>;
}

/** Figures by name: accuracy, rmse, return … */
export type Figures = Readonly<Record<string, number>>;

/** What a figure should reach, and what is reached without the model. */
export interface Goal {
  /** Name of a figure of `measure`, or of a metric of the validation. */
  readonly figure: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  /** What is no network: a linear model, the majority, the last value; or another run of the same. */
  readonly baseline: { readonly name: string; readonly value: number };
}

/** A module's exports, S being the session of its program. */
export interface TrainModule<S = TrainingSession> {
  /** Name of its folder, or of the file. */
  readonly name: string;
  readonly program: Program;
  /** What `fit` trains on, unless there is a `train`. */
  readonly dataset?: Dataset;
  readonly validation?: Dataset;
  readonly fit: Pick<FitOptions, "epochs" | "batchSize" | "callbacks">;
  /** A loop of its own, in place of `dataset`: for what learns from what it does, or in stages. */
  readonly train?: (session: S, run: TrainRun) => Promise<void>;
  /** Figures of the trained model. */
  readonly measure?: (session: S) => Promise<Figures>;
  /** Pictures and texts of the trained model, by names of files. */
  readonly show?: (session: S, history: History) => Promise<Readonly<Record<string, string | Uint8Array>>>;
  readonly goal?: Goal;
}

/** Whether the goal is reached; undefined where nothing has its figure. */
export function reached(goal: Goal, figures: Figures): boolean | undefined {
  const value = figures[goal.figure];
  if (value === undefined) return undefined;
  return value >= (goal.atLeast ?? Number.NEGATIVE_INFINITY) && value <= (goal.atMost ?? Number.POSITIVE_INFINITY);
}

/** What the goal is, and the baseline, in words. */
export function goalText({ atLeast, atMost, baseline }: Goal): string {
  const bounds = [
    ...(atLeast === undefined ? [] : [`at least ${atLeast}`]),
    ...(atMost === undefined ? [] : [`at most ${atMost}`]),
  ];
  return `goal: ${bounds.join(" and ")}; ${baseline.name}: ${baseline.value}`;
}
