/** Trains the text classifier to find spam: `wasmith train models/text-rnn/sms-spam.ts`. */

import type { Goal } from "wasmith";
import { lines, texts } from "./data.js";
import { classifier } from "./program.js";

const all = await lines(new URL("./data/sms.tsv.gz", import.meta.url), ([label]) => (label === "spam" ? 1 : 0));
const held = 1074;
const batchSize = 32;
export const { training: dataset, validation, vocabulary } = await texts(all, held, batchSize);
export const fit = { epochs: 8 };
export const goal: Goal = {
  figure: "accuracy",
  atLeast: 0.98,
  baseline: { name: "naive Bayes over words", value: 0.99 },
};
export default classifier(vocabulary.size, fit.epochs * Math.ceil((all.length - held) / batchSize));
