/** The functions of `F` as their source files state them: names, parameters, what they give, and what they do. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export interface Parameter {
  readonly name: string;
  readonly type: string;
  readonly optional: boolean;
  /** As written: `dim = -1`. */
  readonly text: string;
}

export interface FunctionFacts {
  readonly name: string;
  readonly family: string;
  readonly parameters: readonly Parameter[];
  readonly returns: string;
  readonly doc: string;
}

const folder = new URL("../compiler/dsl/f/", import.meta.url);

/** The text up to where brackets that open in it are closed and `end` comes. */
function balanced(text: string, from: number, end: (text: string, at: number) => boolean): string {
  let depth = 0;
  for (let i = from; i < text.length; i++) {
    if (depth === 0 && end(text, i)) return text.slice(from, i);
    const c = text[i]!;
    if ("([{".includes(c)) depth++;
    else if (")]}".includes(c)) depth--;
    else if (c === "<") depth++;
    else if (c === ">" && text[i - 1] !== "=") depth--;
  }
  throw new Error(`brackets do not close after: ${text.slice(from, from + 80)}`);
}

const at = (what: string) => (text: string, i: number) => text.startsWith(what, i);

function parameters(list: string): readonly Parameter[] {
  const found: Parameter[] = [];
  let rest = list.trim();
  while (rest !== "") {
    const one = balanced(`${rest},`, 0, at(","));
    rest = rest.slice(one.length + 1).trim();
    const text = one.trim();
    if (text === "") continue;
    const pattern = /^(\.\.\.)?(\{|\[)/.test(text);
    const name = pattern
      ? balanced(`${text}:`, 0, (t, i) => ":=".includes(t[i]!)).trim()
      : /^(?:\.\.\.)?\w+/.exec(text)![0];
    const after = text.slice(name.length).trim();
    const optional = after.startsWith("?") || after.startsWith("=") || name.startsWith("...");
    const typed = after.replace(/^\?/, "").trim();
    const [type = "", fallback] = typed.startsWith(":") ? splitDefault(typed.slice(1)) : ["", typed.slice(1)];
    found.push({
      name: pattern ? (name.startsWith("[") ? name.replace(/\s+/g, " ") : "options") : name,
      type: type.replace(/\s+/g, " ").trim(),
      optional: optional || fallback !== undefined,
      text: pattern
        ? ""
        : fallback === undefined
          ? `${name}${after.startsWith("?") ? "?" : ""}`
          : `${name} = ${fallback.trim()}`,
    });
  }
  return found;
}

/** A type and the default after it. */
function splitDefault(text: string): readonly [string, string?] {
  const type = balanced(`${text};`, 0, (t, i) => t[i] === ";" || (t[i] === "=" && t[i + 1] !== ">"));
  return type.length >= text.length ? [text] : [type, text.slice(type.length + 1)];
}

/** `(…) => R` of a text that begins with it. */
function arrow(text: string): { readonly list: string; readonly returns: string } | undefined {
  const generic = text.startsWith("<") ? balanced(text, 0, (t, i) => t[i] === "(" && i > 0) : "";
  if (text[generic.length] !== "(") return undefined;
  const list = balanced(text, generic.length + 1, at(")"));
  const rest = text.slice(generic.length + list.length + 2).trimStart();
  const returns = rest.startsWith(":")
    ? balanced(rest, 1, at("=>"))
    : rest.startsWith("=>")
      ? balanced(`${rest.slice(2)};`, 0, at(";"))
      : undefined;
  return returns === undefined ? undefined : { list, returns: returns.replace(/\s+/g, " ").trim() };
}

function aliasesOf(source: string): ReadonlyMap<string, string> {
  const all = source.matchAll(/^(?:export )?type (\w+) = (?=[(<])/gm);
  return new Map([...all].map((m) => [m[1]!, balanced(source, m.index + m[0].length, at(";"))]));
}

const docText = (comment: string): string =>
  comment
    .replace(/^\/\*\*|\*\/$/g, "")
    .replace(/^\s*\* ?/gm, "")
    .replace(/\s+/g, " ")
    .trim();

/** All functions, file by file, in the order of the source. */
export function functionsOfF(): readonly FunctionFacts[] {
  const files = readdirSync(folder)
    .filter((f) => f.endsWith(".ts") && f !== "index.ts")
    .sort();
  const exported = readFileSync(new URL("index.ts", folder), "utf8");
  const sources = files
    .filter((f) => exported.includes(`from "./${f.replace(".ts", ".js")}"`))
    .map((f) => [f.replace(".ts", ""), readFileSync(fileURLToPath(new URL(f, folder)), "utf8")] as const);
  const aliases = new Map(files.flatMap((f) => [...aliasesOf(readFileSync(new URL(f, folder), "utf8"))]));
  return sources.flatMap(([family, source]) => functionsIn(family, source, aliases));
}

function functionsIn(family: string, source: string, aliases: ReadonlyMap<string, string>): readonly FunctionFacts[] {
  const renamed = new Map(
    [...source.matchAll(/^export \{ ([^}]*) \};/gm)].flatMap((m) =>
      m[1]!.split(",").map((part): [string, string] => {
        const [from, to = from] = part.trim().split(" as ");
        return [from!, to!];
      }),
    ),
  );
  const found: FunctionFacts[] = [];
  const pattern =
    /(\/\*\*(?:(?!\*\/)[\s\S])*\*\/)\n(export )?(?:function (\w+)(<[^(]*>)?\(|const (\w+)(?:: (\w+))? =\s*)/g;
  for (const m of source.matchAll(pattern)) {
    const own = m[3] ?? m[5]!;
    const name = m[2] === undefined ? renamed.get(own) : own;
    if (name === undefined || found.some((f) => f.name === name)) continue;
    // Of overloads the last one, which has the body, says all parameters.
    const whole = m[3] === undefined ? -1 : source.lastIndexOf(`export function ${own}(`);
    const start = whole > m.index ? source.indexOf("(", whole) + 1 : m.index + m[0].length;
    const signature = signatureAt(
      source,
      start,
      m[3] !== undefined,
      m[6] === undefined ? undefined : aliases.get(m[6]),
    );
    if (signature === undefined) throw new Error(`the signature of F.${name} is not understood`);
    found.push({
      name,
      family,
      parameters: parameters(signature.list),
      returns: signature.returns,
      doc: docText(m[1]!),
    });
  }
  return found;
}

function signatureAt(source: string, start: number, isFunction: boolean, alias: string | undefined) {
  if (alias !== undefined) return arrow(alias);
  if (!isFunction) return arrow(source.slice(start));
  const list = balanced(source, start, at(")"));
  const rest = source.slice(start + list.length + 1);
  const returns = rest.startsWith(":") ? balanced(rest, 1, (t, i) => t[i] === "{" || t[i] === ";") : "";
  return { list, returns: returns.replace(/\s+/g, " ").trim() };
}
