/** Tokens of the text form of Loop IR. */

import { ModelError } from "./errors.js";

export type TokenKind = "word" | "var" | "fn" | "number" | "symbol" | "comment" | "end";

export interface Token {
  readonly kind: TokenKind;
  /** Without its sigil for variables, functions and comments. */
  readonly text: string;
  readonly line: number;
  readonly column: number;
}

const pattern =
  /(?<space>[ \t\r\n]+)|\/\/ ?(?<comment>[^\n]*)|%(?<var>[A-Za-z_][\w.]*)|@(?<fn>[A-Za-z_][\w.]*)|(?<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?<word>[A-Za-z_][\w.]*)|(?<symbol>->|[-+*/=,:(){}[\]])/y;

/** @throws ModelError at a character that starts no token. */
export function tokenize(text: string, file: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  let lineStart = 0;
  let at = 0;
  while (at < text.length) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    const column = at - lineStart + 1;
    if (match === null)
      throw new ModelError({
        where: `${file}:${line}:${column}`,
        message: `unexpected character ${JSON.stringify(text[at])}`,
      });
    for (const [kind, value] of Object.entries(match.groups as Record<string, string | undefined>))
      if (value !== undefined && kind !== "space") tokens.push({ kind: kind as TokenKind, text: value, line, column });
    for (let k = at; k < pattern.lastIndex; k++)
      if (text[k] === "\n") {
        line++;
        lineStart = k + 1;
      }
    at = pattern.lastIndex;
  }
  tokens.push({ kind: "end", text: "end of text", line, column: at - lineStart + 1 });
  return tokens;
}
