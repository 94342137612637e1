/** Trains the text classifier on reviews of films, restaurants and products: `wasmith train models/text-rnn`. */

import { lines, texts } from "./data.js";
import { classifier } from "./program.js";

const all = await lines(new URL("./data/sentences.tsv.gz", import.meta.url), ([, label]) => Number(label), 1);
export const { training: dataset, validation, vocabulary } = await texts(all, 600, 32);
export const fit = { epochs: 14 };
export default classifier(vocabulary.size);
