/** Lines of text with a label, as batches of word numbers with their lengths. */

import { dataset, readText, Vocabulary } from "wasmith/data";

export interface Line {
  readonly text: string;
  readonly label: number;
}

/** Lines of a table whose columns are separated by tabs, the text in the last one; without the first `header` lines. */
export async function lines(
  file: URL,
  labelOf: (columns: readonly string[]) => number,
  header = 0,
): Promise<readonly Line[]> {
  const rows = (await readText(file)).split("\n").filter((line) => line.length > 0);
  return rows.slice(header).map((line) => {
    const columns = line.split("\t");
    // Which number it is says little; that it is one, and how long, says much.
    return { text: columns.at(-1)!.replace(/\d/g, "0"), label: labelOf(columns) };
  });
}

/** Texts longer than this are cut. */
const longest = 64;

/**
 * A vocabulary of the words that occur twice in the texts to learn from, and batches of texts of like lengths: `text` [steps, batch],
 * `lengths` and `label` [batch].
 */
export async function texts(all: readonly Line[], held: number, size: number) {
  const { known, rest } = dataset(all).split({ known: all.length - held, rest: held }, { seed: 1, stratify: "label" });
  const learnt = await known.toArray();
  const vocabulary = Vocabulary.build(
    learnt.map((line) => line.text),
    { minCount: 2, lowerCase: true },
  );
  const numbered = (lines: typeof known) =>
    lines.map(({ text, label }) => ({ text: vocabulary.encode(text).slice(0, longest), label }));
  const batches = (lines: ReturnType<typeof numbered>) =>
    lines.bucket({
      by: "text",
      bounds: [8, 12, 16, 20, 24, 32, 48],
      size,
      pad: { text: { value: 0, lengths: "lengths" } },
      axis: { text: 1 },
      dtypes: { label: "f32" },
    });
  return {
    vocabulary,
    training: batches(numbered(known.shuffle({ seed: 1 }))),
    validation: batches(numbered(rest)),
  };
}
