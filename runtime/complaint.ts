/** What is wrong, on its way to words. */
import { ModelError, type Problem } from "./errors.js";
import type { words } from "./explain.js";

/** What is wrong, not yet in words: those are in explain.ts, which is loaded when they are needed. */
export class Complaint<A extends keyof typeof words = keyof typeof words> {
  readonly about: A;
  readonly details: Parameters<(typeof words)[A]>;
  readonly cause: unknown;

  constructor(about: A, details: Parameters<(typeof words)[A]>, cause?: unknown) {
    this.about = about;
    this.details = details;
    this.cause = cause;
  }
}

/** Throws the error, and a ModelError for a complaint. */
export async function explain(error: unknown): Promise<never> {
  if (!(error instanceof Complaint)) throw error;
  const { about, details, cause } = error as Complaint;
  const { words } = await import("./explain.js");
  const put = words[about] as (...details: readonly unknown[]) => readonly Problem[];
  throw new ModelError(put(...details), { cause });
}
