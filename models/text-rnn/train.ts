/** Trains the text classifier on reviews of films, restaurants and products: `wasmith train models/text-rnn`. */

import type { Goal } from "wasmith";
import { lines, texts } from "./data.js";
import { classifier } from "./program.js";

const all = await lines(new URL("./data/sentences.tsv.gz", import.meta.url), ([, label]) => Number(label), 1);
const held = 600;
const batchSize = 32;
export const { training: dataset, validation, vocabulary } = await texts(all, held, batchSize);
export const fit = { epochs: 14 };
export const goal: Goal = {
  figure: "accuracy",
  atLeast: 0.806,
  baseline: { name: "PyTorch's two runs of the same program", value: 0.806 },
};
export default classifier(vocabulary.size, fit.epochs * Math.ceil((all.length - held) / batchSize));
