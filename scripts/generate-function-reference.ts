/**
 * Writes docs/FUNCTIONS.md, the functions of `F`, from their source files: `npx tsx scripts/generate-function-reference.ts`.
 * tests/docs/functions.test.ts sees to it that it is up to date.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { methodNames } from "../compiler/dsl/f/methods.js";
import { type FunctionFacts, functionsOfF } from "./function-signatures.js";

const folder = new URL("../compiler/dsl/f/", import.meta.url);
export const page = fileURLToPath(new URL("../docs/FUNCTIONS.md", import.meta.url));

const head = `# Functions

\`F\` has every op as a function of values, by the names and the order of arguments of torch and torch.nn.functional, in camelCase; what
PyTorch's users pass by keyword is in the options. Numbers stand for constants of their partner's dtype. Axes count from the end when
negative. Functions that draw random numbers, or find sizes that data decide, take the context first. Each is computed as the ops that it
makes say: docs/IR.md has their formulas, special values and gradients.

What is marked ° is a method of values too: \`x.mul(2).add(b)\` is \`F.add(F.mul(x, 2), b)\`.

\`\`\`ts
const kl = logvar.add(1).sub(mu.square()).sub(logvar.exp()).sum().mul(-0.5);
const z = F.randnLike(ctx, mu).mul(logvar.mul(0.5).exp()).add(mu);
\`\`\`

This page is made from the sources by scripts/generate-function-reference.ts.
`;

interface Option {
  readonly name: string;
  readonly doc: string;
}

/** Options of each interface, with their comments. */
function optionsOf(sources: readonly string[]): ReadonlyMap<string, readonly Option[]> {
  const found = new Map<string, readonly Option[]>();
  for (const source of sources)
    for (const m of source.matchAll(/export interface (\w+Options)(?: extends ([^{]*))? \{\n([\s\S]*?)\n\}/g)) {
      const own = [...m[3]!.matchAll(/(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*)?readonly (\w+)\?: ([^;]*);/g)].map(
        ([, doc, name, type]): Option => ({
          name: name!,
          doc: (doc ?? type!)
            .replace(/^\s*\* ?/gm, "")
            .replace(/\s+/g, " ")
            .trim(),
        }),
      );
      const base = [...(m[2] ?? "").matchAll(/\w+Options/g)].flatMap(([name]) => found.get(name) ?? []);
      const omitted = new Set([...(m[2] ?? "").matchAll(/"(\w+)"/g)].map(([, name]) => name));
      found.set(m[1]!, [...base.filter((o) => !omitted.has(o.name)), ...own]);
    }
  return found;
}

function entryOf(f: FunctionFacts, options: ReadonlyMap<string, readonly Option[]>): string {
  const list = f.parameters.map((p) => p.text || (p.optional ? `${p.name}?` : p.name));
  const returns = f.returns === "Value" ? "" : ` → ${f.returns.replace(/\breadonly /g, "")}`;
  const mark = methodNames.includes(f.name) ? "°" : "";
  const own = f.parameters.flatMap((p) =>
    [...p.type.matchAll(/\w+Options\b/g)].flatMap(([name]) => options.get(name!) ?? []),
  );
  const inline = f.parameters.flatMap((p) =>
    [...p.type.matchAll(/readonly (\w+)\?: ([^;}]*)/g)].map(
      ([, name, type]): Option => ({ name: name!, doc: type!.trim() }),
    ),
  );
  const items = [...own, ...inline].map((o) => `  - \`${o.name}\`: ${o.doc}\n`);
  return `- **F.${f.name}**(${list.join(", ")})${returns}${mark}: ${f.doc}\n${items.join("")}`;
}

/** The page. */
export function functionReference(): string {
  const texts = ["", "../"].flatMap((at) =>
    readdirSync(new URL(at || ".", folder))
      .filter((name) => name.endsWith(".ts") && (at === "" || ["functional.ts", "resize.ts"].includes(name)))
      .map((name) => readFileSync(new URL(at + name, folder), "utf8")),
  );
  const options = optionsOf(texts);
  const all = functionsOfF();
  const families = [...new Set(all.map((f) => f.family))];
  const sections = families.map((family) => {
    const source = readFileSync(new URL(`${family}.ts`, folder), "utf8");
    const about = /^\/\*\*([\s\S]*?)\*\//
      .exec(source)![1]!
      .replace(/^\s*\* ?/gm, "")
      .replace(/\s+/g, " ")
      .trim();
    const entries = all.filter((f) => f.family === family).map((f) => entryOf(f, options));
    return `## ${family}\n\n${about}\n\n${entries.join("")}`;
  });
  return `${head}\n${sections.join("\n")}`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(page, functionReference());
