/** Trains the text classifier on reviews of films, restaurants and products: `wasmith train models/text-rnn`. */

import type { Goal } from "wasmith";
import { lines, texts } from "./data.js";
import { classifier } from "./program.js";

const all = await lines(new URL("./data/sentences.tsv.gz", import.meta.url), ([, label]) => Number(label), 1);
export const { training: dataset, validation, vocabulary } = await texts(all, 600, 32);
export const fit = { epochs: 14 };
export const goal: Goal = {
  figure: "accuracy",
  atLeast: 0.8,
  baseline: { name: "logistic regression over tf-idf of words and pairs", value: 0.817 },
};
export default classifier(vocabulary.size);
