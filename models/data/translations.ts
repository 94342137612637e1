/** English sentences as numbers of words, Chinese ones as numbers of characters; see translations/README.md. */

import { readLines, Vocabulary } from "wasmith/data";

export interface Pair {
  readonly english: string;
  readonly chinese: string;
  /** Numbers of English words. */
  readonly source: Int32Array;
  /** Numbers of Chinese characters, with begin and end. */
  readonly target: Int32Array;
}

const rows = (await readLines(new URL("./translations/pairs.tsv.gz", import.meta.url))).map((row) => {
  const [english, chinese] = row.split("\t") as [string, string];
  return { english, chinese };
});

/** Vocabularies: 0 fills up, 1 is what is not known. */
export const english = Vocabulary.build(rows.map((row) => row.english));
export const chinese = Vocabulary.build(
  rows.map((row) => row.chinese),
  { by: "characters", special: ["<s>", "</s>"] },
);
/** Of Chinese texts: what stands around one, and how many characters it has at most. */
export const limits = { kinds: chinese.size, begin: 2, end: 3, most: 20 } as const;

// One sentence may have several translations: all of them are learnt from, or none.
const sentences = [...new Set(rows.map((row) => row.english.toLowerCase()))];
const held = new Set(sentences.filter((_, i) => i % 20 === 0));

/** Every twentieth English sentence is kept to measure on. */
export const translations = (part: "train" | "test"): readonly Pair[] =>
  rows
    .filter((row) => held.has(row.english.toLowerCase()) === (part === "test"))
    .map((row) => ({
      ...row,
      source: english.encode(row.english),
      target: chinese.encode(row.chinese, { begin: "<s>", end: "</s>" }),
    }));

/** The characters of a translation up to its end. */
export function textOf(numbers: readonly number[]): string {
  const stop = numbers.indexOf(limits.end);
  return chinese.decode(stop < 0 ? numbers : numbers.slice(0, stop)).join("");
}
