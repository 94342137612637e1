/** Speeches from Shakespeare's plays; see shakespeare/README.md. */

import { readText } from "wasmith/data";

export interface Speech {
  readonly speaker: string;
  readonly text: string;
}

export async function speeches(): Promise<Speech[]> {
  const plays = await readText(new URL("./shakespeare/plays.txt.gz", import.meta.url));
  return plays.split("\n\n").map((speech) => {
    const end = speech.indexOf(":\n");
    return { speaker: speech.slice(0, end), text: speech.slice(end + 2) };
  });
}
