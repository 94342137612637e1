/** Questions of a bank's customers, and what they want; see intents/README.md. */

import { readLines } from "wasmith/data";

export interface Question {
  readonly intent: string;
  readonly text: string;
}

export async function questions(part: "train" | "test"): Promise<readonly Question[]> {
  const [, ...rows] = await readLines(new URL(`./intents/${part}.tsv.gz`, import.meta.url));
  return rows.map((row) => {
    const [intent, text] = row.split("\t") as [string, string];
    return { intent, text };
  });
}
