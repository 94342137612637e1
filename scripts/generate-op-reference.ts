/**
 * Writes the op reference into docs/IR.md, from the definitions of the ops: `npx tsx scripts/generate-op-reference.ts`.
 * tests/docs/documents.test.ts sees to it that it is up to date.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Attrs } from "../ir/graph.js";
import type { Accuracy, OpFacts } from "../ir/op.js";
import { familyNames, opsOfFamily } from "../ir/ops/index.js";
import { between } from "./marks.js";

const page = { document: "docs/IR.md", script: "scripts/generate-op-reference.ts" };

/** The reference as Markdown: a section for each family, an entry for each op. */
export function opReference(): string {
  const sections = familyNames.flatMap((family) => {
    // The order of exports differs between module loaders.
    const entries = [...opsOfFamily(family)].sort((a, b) => (a.name < b.name ? -1 : 1)).map(entryOf);
    return entries.length === 0 ? [] : [`### ${family}\n\n${entries.join("\n")}`];
  });
  return sections.join("\n");
}

function entryOf(op: OpFacts<string, Attrs>): string {
  const kind = op.kind === "composite" ? " *(composite)*" : "";
  const attrs = Object.entries(op.attrs ?? {}).map(([name, meaning]) => `  - \`${name}\`: ${meaning}\n`);
  const facts = `Gradient: ${gradientOf(op)}. Accuracy: ${accuracyText(op.accuracy)}.`;
  return `- **${op.name}**(${op.operands.join(", ")})${kind}: ${op.summary} ${facts}\n${attrs.join("")}`;
}

function gradientOf(op: OpFacts<string, Attrs>): string {
  if (op.vjp === "none" || op.vjp === "zero") return op.vjp;
  return op.kind === "composite" && op.vjp === undefined ? "by its decomposition" : "yes";
}

function accuracyText(a: Accuracy): string {
  if (a === "exact") return "exact";
  return "ulp" in a ? `${a.ulp} ulp` : `${a.rtol} relative + ${a.atol}`;
}

/** A document with the reference between its marks. */
export const withReference = (document: string): string => between(document, page, "op reference", opReference());

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const path = fileURLToPath(new URL("../docs/IR.md", import.meta.url));
  writeFileSync(path, withReference(readFileSync(path, "utf8")));
}
