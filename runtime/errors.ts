/**
 * The runtime's two errors. They mirror `ir/errors.ts` (same names, same fields), since the runtime imports nothing of the
 * compiler; tell them apart by `error.name`.
 */

/** One thing that is wrong. */
export interface Problem {
  /** The place: an input, an option, the artefact. */
  readonly where?: string | undefined;
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string | undefined;
}

const format = (p: Problem): string => `${p.where ? `${p.where}: ` : ""}${p.message}${p.hint ? `\n  → ${p.hint}` : ""}`;

/** The user's artefact, feeds or options are wrong. Says where, what was expected, what came, what to do. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  /** All problems found, at least one. */
  readonly problems: readonly Problem[];

  constructor(problems: Problem | readonly Problem[], options?: ErrorOptions) {
    const list: readonly Problem[] = "message" in problems ? [problems] : problems;
    super(
      list.length > 1 ? `${list.length} problems:\n${list.map((p) => `- ${format(p)}`).join("\n")}` : format(list[0]!),
      options,
    );
    this.problems = list;
  }
}

/** A wasm trap, or a state that can't happen. Always a bug in wasmith. */
export class InternalError extends Error {
  override readonly name = "InternalError";
  constructor(message: string, options?: ErrorOptions) {
    super(`${message} (this is a bug in wasmith)`, options);
  }
}

/** One problem with one place. */
export function modelError(where: string, message: string, hint?: string, cause?: unknown): ModelError {
  return new ModelError({ where, message, hint }, cause === undefined ? undefined : { cause });
}

/** The artefact can't be read. */
export function corrupted(message: string): ModelError {
  return modelError("artefact", message, "the file is damaged or incomplete: compile it again or copy it anew");
}

/** What a caller gave, in a few words, for messages. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  const name = value.constructor?.name ?? "object";
  const length = (value as { length?: unknown }).length;
  return typeof length === "number" ? `${name} of length ${length}` : name;
}
