/** How good translations are, and how good they are without a network. */

import { tokenizer } from "wasmith/data";
import type { Pair } from "./data/translations.js";

/**
 * How much of n characters in a row (n = 1 … 4) translations share with any of the references, as a geometric mean, less for short ones.
 * Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002, over characters.
 */
export function bleu(made: readonly string[], references: readonly (readonly string[])[]): number {
  const counts = (text: string, n: number) => {
    const letters = Array.from(text);
    const found = new Map<string, number>();
    for (let i = 0; i + n <= letters.length; i++) {
      const gram = letters.slice(i, i + n).join("");
      found.set(gram, (found.get(gram) ?? 0) + 1);
    }
    return found;
  };
  let logarithm = 0;
  for (let n = 1; n <= 4; n++) {
    let [shared, total] = [0, 0];
    made.forEach((text, i) => {
      const of = references[i]!.map((r) => counts(r, n));
      for (const [gram, count] of counts(text, n)) {
        shared += Math.min(count, Math.max(...of.map((r) => r.get(gram) ?? 0)));
        total += count;
      }
    });
    logarithm += Math.log(shared / Math.max(1, total)) / 4;
  }
  const length = (text: string) => Array.from(text).length;
  const own = made.reduce((sum, text) => sum + length(text), 0);
  const wanted = made.reduce((sum, text, i) => {
    const lengths = references[i]!.map(length);
    return sum + lengths.sort((a, b) => Math.abs(a - length(text)) - Math.abs(b - length(text)))[0]!;
  }, 0);
  return Math.exp(logarithm + Math.min(0, 1 - wanted / own));
}

/** Translations of sentences, each that of the known sentence with the most similar words: by the cosine of their tf-idf vectors. */
export function nearest(known: readonly Pair[], sentences: readonly string[]): string[] {
  const words = tokenizer();
  const sets = known.map((pair) => new Set(words(pair.english.toLowerCase())));
  const found = new Map<string, number>();
  for (const set of sets) for (const word of set) found.set(word, (found.get(word) ?? 0) + 1);
  const weight = (word: string) => Math.log(known.length / (found.get(word) ?? 1)) ** 2;
  const norm = (set: ReadonlySet<string>) => Math.sqrt([...set].reduce((sum, word) => sum + weight(word), 0));
  const norms = sets.map(norm);
  return sentences.map((sentence) => {
    const own = new Set(words(sentence.toLowerCase()));
    const alike = sets.map((set, i) => norm(new Set([...own].filter((word) => set.has(word)))) ** 2 / norms[i]!);
    return known[alike.indexOf(Math.max(...alike))]!.chinese;
  });
}
