/** Numbers for tokens. */
import { describe, modelError } from "../../errors.js";
import type { BinarySource } from "../../read.js";
import { aCount, aSize, aString, type Checks, checkOptions, either, isRecord, listOf, oneOf } from "../options.js";
import { badFile, decodeText, open, type ReadOptions, readChecks } from "../read/bytes.js";
import { type Tokenize, type TokenizerOptions, tokenizer, tokenizerChecks } from "./words.js";

export interface VocabularyOptions extends TokenizerOptions {
  /** Tokens that occur less often count as unknown. Default 1. */
  readonly minCount?: number | undefined;
  /** The most tokens, special ones included; the most frequent ones are kept. */
  readonly maxSize?: number | undefined;
  /** Stands for what fills up; its number is 0. false: there is none. Default "<pad>". */
  readonly padding?: string | false | undefined;
  /** Stands for tokens that are not known. false: these are errors. Default "<unk>". */
  readonly unknown?: string | false | undefined;
  /** More tokens with numbers of their own, such as "<s>", behind padding and unknown. */
  readonly special?: readonly string[] | undefined;
}
const vocabularyChecks: Checks<VocabularyOptions> = {
  ...tokenizerChecks,
  minCount: aCount,
  maxSize: aCount,
  padding: either(aString, oneOf(false)),
  unknown: either(aString, oneOf(false)),
  special: listOf(aString),
};

export interface EncodeOptions {
  /** Exactly so many numbers: cut, or filled up with padding. */
  readonly length?: number | undefined;
  /** Special tokens around the text. */
  readonly begin?: string | undefined;
  readonly end?: string | undefined;
}
const encodeChecks: Checks<EncodeOptions> = { length: aSize, begin: aString, end: aString };

const formatName = "wasmith-vocabulary";
const formatVersion = 1;

/** What `toJSON` gives. */
export interface StoredVocabulary {
  readonly format: typeof formatName;
  readonly version: typeof formatVersion;
  readonly tokenizer: TokenizerOptions;
  readonly padding: string | false;
  readonly unknown: string | false;
  readonly special: readonly string[];
  readonly tokens: readonly string[];
}

export class Vocabulary {
  /** By number. */
  readonly tokens: readonly string[];
  readonly #stored: StoredVocabulary;
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #tokenize: Tokenize;

  private constructor(stored: StoredVocabulary) {
    this.tokens = stored.tokens;
    this.#stored = stored;
    this.#numbers = new Map(stored.tokens.map((t, i) => [t, i]));
    this.#tokenize = tokenizer(stored.tokenizer);
  }

  /**
   * The tokens of texts (or of lists of tokens), the most frequent ones first, those of equal frequency in the order of their code units:
   * the same for the same texts in any order.
   */
  static build(texts: Iterable<string | readonly string[]>, options: VocabularyOptions = {}): Vocabulary {
    checkOptions("Vocabulary", options, vocabularyChecks);
    const { minCount = 1, maxSize = Infinity, padding = "<pad>", unknown = "<unk>", special = [], ...rules } = options;
    if (typeof texts === "string")
      throw modelError("Vocabulary", "expected a list of texts, got one text", "build([text])");
    const tokenize = tokenizer(rules);
    const first = [padding, unknown, ...special].filter((t): t is string => t !== false);
    const twice = first.find((t, i) => first.indexOf(t) !== i);
    if (twice !== undefined)
      throw modelError("Vocabulary", `the special token ${JSON.stringify(twice)} is named twice`);
    const counts = new Map<string, number>();
    for (const text of texts)
      for (const token of typeof text === "string" ? tokenize(text) : text)
        counts.set(token, (counts.get(token) ?? 0) + 1);
    for (const token of first) counts.delete(token);
    const found = [...counts].filter(([, n]) => n >= minCount);
    found.sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    const tokens = [...first, ...found.map(([token]) => token)].slice(0, Math.max(first.length, maxSize));
    return new Vocabulary({
      format: formatName,
      version: formatVersion,
      tokenizer: rules,
      padding,
      unknown,
      special,
      tokens,
    });
  }

  /** From what `toJSON` gave, as an object or as text. @throws ModelError where it is something else */
  static fromJSON(stored: unknown, what = "vocabulary"): Vocabulary {
    const bad = badFile(what);
    let value = stored;
    if (typeof value === "string") {
      try {
        value = JSON.parse(value);
      } catch (cause) {
        bad(`it is no JSON: ${(cause as Error).message}`, undefined, cause);
      }
    }
    if (!isRecord(value) || value.format !== formatName)
      return bad(`not a vocabulary, but ${describe(value)}`, "Vocabulary.toJSON makes one");
    if (value.version !== formatVersion)
      bad(`its version is ${describe(value.version)}, this one reads ${formatVersion}`);
    const { tokenizer: rules, padding, unknown, special, tokens } = value as Partial<StoredVocabulary>;
    const isList = (list: unknown): list is readonly string[] =>
      Array.isArray(list) && list.every((t) => typeof t === "string");
    if (!isList(tokens) || !isList(special) || !isRecord(rules) || new Set(tokens).size !== tokens.length)
      return bad("its lists of tokens are damaged");
    for (const [name, token] of [
      ["padding", padding],
      ["unknown", unknown],
    ] as const)
      if (token !== false && !tokens.includes(token as string))
        bad(`its token for ${name}, ${describe(token)}, is none of its tokens`);
    if (padding !== false && padding !== undefined && tokens[0] !== padding)
      bad("its token for padding is not the first one");
    return new Vocabulary(value as unknown as StoredVocabulary);
  }

  /** From a file that holds what `toJSON` gave. */
  static async load(source: BinarySource, options: ReadOptions = {}): Promise<Vocabulary> {
    const file = await open("vocabulary", source, options, readChecks);
    return Vocabulary.fromJSON(decodeText(file, "utf-8"), file.name);
  }

  /** `JSON.stringify(vocabulary)` is what to save. */
  toJSON(): StoredVocabulary {
    return this.#stored;
  }

  /** How many tokens there are: the rows of an embedding. */
  get size(): number {
    return this.tokens.length;
  }
  /** Number of the token that fills up. */
  get padding(): number {
    return this.number(this.#special("padding"));
  }
  /** Number of the token for what is not known. */
  get unknown(): number {
    return this.number(this.#special("unknown"));
  }

  #special(kind: "padding" | "unknown"): string {
    const token = this.#stored[kind];
    if (token === false)
      throw modelError("Vocabulary", `it has no token for ${kind}`, `build(texts, { ${kind}: "<${kind}>" })`);
    return token;
  }

  /** The number of a token; of one that is not known, that of unknown. */
  number(token: string): number {
    const found = this.#numbers.get(token);
    if (found !== undefined) return found;
    const { unknown } = this.#stored;
    if (unknown !== false) return this.#numbers.get(unknown)!;
    throw modelError(
      "Vocabulary",
      `the token ${JSON.stringify(token)} is not known`,
      'build(texts, { unknown: "<unk>" })',
    );
  }

  /** The numbers of a text, or of tokens. Feed them as i32. */
  encode(text: string | readonly string[], options: EncodeOptions = {}): Int32Array {
    checkOptions("encode", options, encodeChecks);
    const { length, begin, end } = options;
    const around = [begin, end].filter((t): t is string => t !== undefined);
    const unnamed = around.find((t) => !this.#numbers.has(t));
    if (unnamed !== undefined)
      throw modelError("encode", `there is no token ${JSON.stringify(unnamed)}`, "name it in the option special");
    const tokens = typeof text === "string" ? this.#tokenize(text) : text;
    const room = length === undefined ? tokens.length : Math.max(0, length - around.length);
    const all = [begin, ...tokens.slice(0, room), end].filter((t): t is string => t !== undefined);
    const numbers = new Int32Array(length ?? all.length);
    if (length !== undefined && all.length < length) numbers.fill(this.padding);
    numbers.set(all.slice(0, numbers.length).map((t) => this.number(t)));
    return numbers;
  }

  /** The tokens of numbers; those for padding are left out. @throws ModelError for a number that no token has */
  decode(numbers: Iterable<number | bigint>): string[] {
    const { padding } = this.#stored;
    return Array.from(numbers, (n) => {
      const token = this.tokens[Number(n)];
      if (token === undefined)
        throw modelError("decode", `${n} is no number of a token`, `they go from 0 to ${this.size - 1}`);
      return token;
    }).filter((token) => token !== padding);
  }
}
