/** Reads the tokens of a text one after the other: what parsers of text forms are made of. */

import { ModelError } from "./errors.js";
import { type Token, type TokenKind, tokenize } from "./loop-lex.js";

export class TokenReader {
  readonly #file: string;
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(text: string, file: string) {
    this.#file = file;
    this.#tokens = tokenize(text, file);
  }

  protected get next(): Token {
    return this.#tokens[this.#at] as Token;
  }

  protected fail(message: string, token = this.next): never {
    throw new ModelError({ where: `${this.#file}:${token.line}:${token.column}`, message });
  }

  protected is(text: string): boolean {
    return this.next.text === text && (this.next.kind === "symbol" || this.next.kind === "word");
  }

  protected accept(text: string): boolean {
    if (!this.is(text)) return false;
    this.#at++;
    return true;
  }

  protected expect(text: string): void {
    if (!this.accept(text)) this.fail(`expected "${text}", found "${this.next.text}"`);
  }

  protected take(kind: TokenKind, what: string): Token {
    const token = this.next;
    if (token.kind !== kind) this.fail(`expected ${what}, found "${token.text}"`);
    this.#at++;
    return token;
  }

  /** Integer literal with an optional sign. */
  protected integer(): number {
    const sign = this.accept("-") ? -1 : 1;
    const token = this.take("number", "an integer");
    if (!/^\d+$/.test(token.text)) this.fail(`expected an integer, found ${token.text}`, token);
    return sign * Number(token.text);
  }

  protected list<T>(open: string, close: string, item: () => T): T[] {
    this.expect(open);
    const items: T[] = [];
    if (this.accept(close)) return items;
    do items.push(item());
    while (this.accept(","));
    this.expect(close);
    return items;
  }

  /** Whatever comes next. */
  protected skip(): Token {
    const token = this.next;
    this.#at++;
    return token;
  }
}
