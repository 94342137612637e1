/** What of a record may leave the page: fields that a rule names, with marks in place of what tells who somebody is. */

/** A field without a rule does not leave, so that a new one does not by being forgotten. @param rules by field: its value → what leaves */
export const maskFields = (record, rules) =>
  Object.fromEntries(Object.entries(rules).map(([field, rule]) => [field, rule(record[field])]));

/** Marks in place of addresses, numbers and the given names. Knows no other names, nor numbers in words. */
export function maskText(text, names = []) {
  const quoted = names.filter(Boolean).map((name) => name.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  const name = new RegExp(`(?<!\\p{L})(?:${quoted.join("|") || "(?!)"})(?!\\p{L})`, "giu");
  return text
    .replace(/\S+@\S+|(?:https?:|www\.)\S+/g, "[ADDRESS]")
    .replace(name, "[NAME]")
    .replace(/\S*\d\S*(?:\s+\S*\d\S*)*/g, "[NUMBER]");
}

export const buckets = 1024;

/** Which words and marks a text has: 1 in the bucket of each. */
export function bagOfWords(text) {
  const bag = new Float32Array(buckets);
  for (const word of text.match(/\[\p{Lu}+\]|\p{L}+/gu) ?? []) {
    let hash = 0x811c9dc5;
    for (const unit of word.startsWith("[") ? word : word.toLowerCase())
      hash = Math.imul(hash ^ unit.codePointAt(0), 0x01000193);
    bag[((hash ^ (hash >>> 15)) >>> 0) % buckets] = 1;
  }
  return bag;
}
