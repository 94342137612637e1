/** Declarations of an entry in one piece: what its exports need of the files that tsc wrote, and nothing else. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Top-level statements of a file that tsc wrote: each begins in the first column. */
function statementsOf(text) {
  const statements = [];
  let comment = "";
  for (const part of text.split(/^(?=\/\*\*|\/\/|import |export |declare |type |interface |abstract )/m)) {
    if (/^\/[*/]/.test(part)) comment += part;
    else if (part.trim()) {
      statements.push({ comment, code: part });
      comment = "";
    }
  }
  return statements;
}

const withoutComments = (code) => code.replace(/^\s*\/\*\*.*?\*\/\n/gms, "");
const definition = /^(?:export )?(?:declare )?(?:abstract )?(?:interface|type|class|const|let|function) ([\w$]+)/;

/**
 * @param entry path of the entry's declarations
 * @param bare names of files whose comments are left out
 * @throws where two declarations that are needed have one name, or a file has what is not understood
 */
export function bundledDeclarations(entry, bare) {
  const files = new Map();
  const found = new Map();
  const aliases = new Set();
  const read = (path) => {
    if (files.has(path)) return;
    const statements = statementsOf(readFileSync(path, "utf8"));
    files.set(path, statements);
    for (const { code } of statements) {
      const from = /from "(\.\/[^"]+)\.js";/.exec(code)?.[1];
      if (from) read(join(dirname(path), `${from}.d.ts`));
      for (const [, alias] of from ? code.matchAll(/ as ([\w$]+)/g) : []) aliases.add(alias);
    }
  };
  read(entry);
  for (const [path, statements] of files)
    for (const { comment, code } of statements) {
      const name = definition.exec(code)?.[1];
      if (!name) {
        if (/^import |^export (type )?\{|^export \* /.test(code)) continue;
        throw new Error(`${path}: not understood: ${code}`);
      }
      const isBare = bare.some((file) => path.endsWith(`/${file}.d.ts`));
      const places = found.get(name) ?? [];
      // Overloads of a function stand one after the other.
      found.set(
        name,
        places
          .filter((p) => p.path === path || p.path === undefined)
          .concat({ path, text: isBare ? withoutComments(code) : comment + code }),
      );
      if (places.some((p) => p.path !== path)) found.get(name).clash = true;
    }
  const exported = files
    .get(entry)
    .flatMap(({ code }) => [...(/\{(.*)\}/s.exec(code)?.[1] ?? "").matchAll(/(?:type )?([\w$]+)/g)].map((m) => m[1]))
    .filter((name) => name !== "type");
  const kept = new Set();
  const keep = (name) => {
    const places = found.get(name);
    if (aliases.has(name)) throw new Error(`${name} is another declaration's name in an import`);
    if (kept.has(name) || !places) return;
    if (places.clash) throw new Error(`two declarations are called ${name}`);
    kept.add(name);
    for (const { text } of places) for (const [word] of withoutComments(text).matchAll(/[\w$]+/g)) keep(word);
  };
  for (const name of exported) keep(name);
  const texts = [...found].filter(([name]) => kept.has(name)).flatMap(([, places]) => places.map((p) => p.text));
  const body = texts.map((text) =>
    text
      .replace(/^export /m, "")
      .replace(/^declare /m, "")
      .replace(/^(?=(abstract |class |const |let |function ))/m, "declare "),
  );
  return `${body.join("")}export { ${exported.join(", ")} };\n`;
}
