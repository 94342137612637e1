/**
 * The three errors of wasmith.
 *
 * - ModelError: the user's model, file, options or input is wrong. Says where, what was expected, what came, what to do.
 * - VerifyError: an IR invariant is broken. A pass (or hand-written IR text) is at fault.
 * - InternalError: a state that cannot happen happened. Always a bug in wasmith.
 */

/**
 * A fact about an input of the model that would decide what a problem leaves open: how many axes it has, what it holds, the length
 * of a sequence, whether an optional is there, or the size of an axis (named `dim`).
 */
export type Need =
  | { readonly input: string; readonly what: "rank" | "value" | "length" | "present" }
  | { readonly input: string; readonly what: "size"; readonly axis: number; readonly dim: string };

/** One thing that is wrong with a model or an input. */
export interface Problem {
  /** The user's own name for the place: a layer, an ONNX node, an input. */
  readonly where?: string | undefined;
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string | undefined;
  /** What would have to be known of the model's inputs for the problem not to arise. */
  readonly needs?: readonly Need[] | undefined;
  /** Of a problem that says nothing of that: the sizes that the place works on, one of which may matter. */
  readonly sizes?: readonly Need[] | undefined;
  /** What would have to be known to tell whether the place is ever reached. */
  readonly unless?: readonly Need[] | undefined;
}

function formatProblem(p: Problem): string {
  return `${p.where ? `${p.where}: ` : ""}${p.message}${p.hint ? `\n  → ${p.hint}` : ""}`;
}

export class ModelError extends Error {
  override readonly name = "ModelError";
  /** All problems found, at least one. */
  readonly problems: readonly Problem[];

  constructor(problems: string | Problem | readonly Problem[], options?: { cause?: unknown }) {
    const list: readonly Problem[] =
      typeof problems === "string" ? [{ message: problems }] : "message" in problems ? [problems] : problems;
    const head = list.length > 1 ? `${list.length} problems:\n` : "";
    super(head + list.map((p) => (list.length > 1 ? `- ${formatProblem(p)}` : formatProblem(p))).join("\n"), options);
    this.problems = list;
  }
}

export class VerifyError extends Error {
  override readonly name = "VerifyError";
}

export class InternalError extends Error {
  override readonly name = "InternalError";
  constructor(message: string, options?: { cause?: unknown }) {
    super(`${message} (this is a bug in wasmith)`, options);
  }
}

/** The end of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new InternalError(`unexpected ${JSON.stringify(value)}`);
}
