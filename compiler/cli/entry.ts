import { ModelError } from "../../ir/errors.js";
import type { Session } from "../../runtime/index.js";

/** The name of the entry that is meant, and what it takes. @throws ModelError where there is no such entry */
export function entryOf(
  { entries, inputs }: Session,
  asked: string | undefined,
): { readonly name: string; readonly inputs: Session["inputs"] } {
  const main = Object.keys(entries).find((name) => entries[name]!.inputs === inputs)!;
  const name = asked ?? main;
  if (Object.hasOwn(entries, name)) return { name, inputs: entries[name]!.inputs };
  throw new ModelError({
    where: "--entry",
    message: `the model has no entry "${name}"`,
    hint: `there are: ${Object.keys(entries).join(", ")}`,
  });
}
