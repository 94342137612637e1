/**
 * The runtime's two errors. They mirror `ir/errors.ts` (same names, same fields), since the runtime imports nothing of the
 * compiler; tell them apart by `error.name`.
 */

/** The user's artefact, feeds or options are wrong. Says where, what was expected, what came, what to do. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  readonly problems: readonly { readonly where?: string; readonly message: string; readonly hint?: string }[];

  constructor(where: string, message: string, hint?: string, options?: ErrorOptions) {
    super(`${where}: ${message}${hint ? `\n  → ${hint}` : ""}`, options);
    this.problems = [{ where, message, ...(hint ? { hint } : {}) }];
  }
}

/** A wasm trap, or a state that can't happen. Always a bug in wasmith. */
export class InternalError extends Error {
  override readonly name = "InternalError";
  constructor(message: string, options?: ErrorOptions) {
    super(`${message} (this is a bug in wasmith)`, options);
  }
}

/** The artefact can't be read. */
export const corrupted = (message: string): ModelError =>
  new ModelError("artefact", message, "the file is damaged or incomplete: compile it again or copy it anew");

/** What a caller gave, in a few words, for messages. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value !== "object") return String(value);
  const name = value.constructor?.name ?? "object";
  const length = (value as { length?: unknown }).length;
  return typeof length === "number" ? `${name} of length ${length}` : name;
}
