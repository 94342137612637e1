/** Text into tokens by rules alone. */
import { aBoolean, aString, type Checks, checkArgument, checkOptions, oneOf } from "../options.js";

export interface TokenizerOptions {
  /**
   * What a token is: "words" are letters, digits and apostrophes within words; "whitespace": what stands between white space; "characters":
   * code points. Default "words".
   */
  readonly by?: "words" | "whitespace" | "characters" | undefined;
  /** Default true, for characters false. */
  readonly lowerCase?: boolean | undefined;
  /** Of words only: each mark is a token, or none is. Default "separate". */
  readonly punctuation?: "separate" | "drop" | undefined;
  /** Put together what Unicode writes in several ways (NFC), or in compatible ones (NFKC). Default "NFC". */
  readonly normalization?: "NFC" | "NFKC" | "none" | undefined;
}
export const tokenizerChecks: Checks<TokenizerOptions> = {
  by: oneOf("words", "whitespace", "characters"),
  lowerCase: aBoolean,
  punctuation: oneOf("separate", "drop"),
  normalization: oneOf("NFC", "NFKC", "none"),
};

export type Tokenize = (text: string) => string[];

const word = String.raw`[\p{L}\p{N}_][\p{L}\p{M}\p{N}_]*(?:['’][\p{L}\p{M}\p{N}_]+)*`;
const withMarks = new RegExp(`${word}|[^\\s\\p{L}\\p{N}_]`, "gu");
const withoutMarks = new RegExp(word, "gu");

/** A function from text to tokens. */
export function tokenizer(options: TokenizerOptions = {}): Tokenize {
  checkOptions("tokenizer", options, tokenizerChecks);
  const { by = "words", lowerCase = by !== "characters", punctuation = "separate", normalization = "NFC" } = options;
  const pattern = punctuation === "drop" ? withoutMarks : withMarks;
  return (text) => {
    checkArgument("tokenizer", "the text", text, aString);
    const normal = normalization === "none" ? text : text.normalize(normalization);
    const cased = lowerCase ? normal.toLowerCase() : normal;
    if (by === "characters") return Array.from(cased);
    return (by === "words" ? cased.match(pattern) : cased.match(/\S+/g)) ?? [];
  };
}
