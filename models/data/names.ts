/** Given names; see names/README.md. */

import { readLines } from "wasmith/data";

export type Part = "train" | "test";

/** Every tenth name is kept to measure on. */
export async function names(part: Part): Promise<string[]> {
  const all = await readLines(new URL("./names/names.txt.gz", import.meta.url));
  return all.filter((_, i) => (i % 10 === 0) === (part === "test"));
}
